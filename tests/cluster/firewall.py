"""Enforces NetworkPolicies, on request: kube-router with its firewall only.

The cluster's network is a bridge, which admits every packet. kube-router writes rules for iptables
and ipset inside the cluster's network namespace; it is built and started only on request.
"""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from tests.cluster import builds, machine
from tests.cluster.cgroups import create as create_cgroups
from tests.cluster.network import SERVICE_NETWORK, inside
from tests.cluster.paths import Layout
from tests.cluster.pki import NODE_NAME
from tests.cluster.processes import Command, Supervisor

NAME = "kube-router"

CLEANUP = """
for each in iptables ip6tables; do
    $each-save -t filter | grep -vE 'KUBE-(ROUTER|POD-FW|NWPLCY)' | $each-restore -T filter
done
ipset destroy
"""
"""Removes its chains and sets; the program's own --cleanup-config panics without its proxy."""


@contextmanager
def enforcing(layout: Layout) -> Iterator[None]:
    """Enforce NetworkPolicies meanwhile, from some seconds after the beginning on."""
    machine.install_debian_packages({"ipset": "ipset"})
    builds.build([builds.KUBE_ROUTER])
    program = str(builds.KUBE_ROUTER.binary)
    flags = [
        f"--kubeconfig={layout.kubeconfig()}",
        f"--hostname-override={NODE_NAME}",
        f"--service-cluster-ip-range={SERVICE_NETWORK}",
        "--run-firewall",
        "--run-router=false",
        "--run-service-proxy=false",
        "--enable-cni=false",
    ]
    supervisor = Supervisor(layout, create_cgroups(layout))
    supervisor.start(NAME, Command(inside(layout, [program, *flags])))
    try:
        yield
        supervisor.require_running()
    finally:
        supervisor.stop(NAME)
        cleanup = inside(layout, ["sh", "-ec", CLEANUP])
        subprocess.run(cleanup, capture_output=True, text=True, check=True)
