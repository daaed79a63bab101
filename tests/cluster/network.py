"""The network namespace that contains the whole cluster, and ways to enter it.

Every address of the cluster exists only inside, so clusters never conflict with each other or the
host. Programs enter with `nsenter` and not with `ip netns exec`: the latter gives each program a
mount namespace of its own, and kubelet's mounts would no longer reach containerd.
"""

import ctypes
import os
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from tests.cluster.errors import ClusterError
from tests.cluster.paths import Layout

NODE_ADDRESS = "10.123.0.1"
NODE_INTERFACE = "node0"
POD_NETWORK = "10.244.0.0/24"
CLUSTER_NETWORK = "10.244.0.0/16"
SERVICE_NETWORK = "10.96.0.0/16"
FIRST_SERVICE_ADDRESS = "10.96.0.1"
CLUSTER_DOMAIN = "cluster.local"

UNANSWERED_SECONDS = 5
"""How long the node keeps in mind where it sent a connection that was not answered; Linux' default
is 120. If the pod is gone, a new connection from the same port is sent there as well, because
kube-proxy removes no entries of TCP: "No route to host", beside a healthy pod. CloudNativePG opens
too few connections to meet this; the tests open hundreds a minute, and Linux begins at another port
every ten seconds."""

_CLONE_NEWNET = 0x40000000

Result = TypeVar("Result")


def _run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ClusterError(f"{' '.join(argv)}: {done.stderr.strip() or done.stdout.strip()}")


def create_network(layout: Layout) -> None:
    """Create the namespace with its loopback and the bridge that has the node's address."""
    if not layout.netns.exists():
        _run("ip", "netns", "add", layout.unique)
    enter = ["nsenter", f"--net={layout.netns}"]
    _run(*enter, "ip", "link", "set", "lo", "up")
    seen = subprocess.run(
        [*enter, "ip", "link", "show", NODE_INTERFACE], capture_output=True, check=False
    )
    if seen.returncode != 0:
        _run(*enter, "ip", "link", "add", NODE_INTERFACE, "type", "bridge")
    _run(*enter, "ip", "address", "replace", f"{NODE_ADDRESS}/24", "dev", NODE_INTERFACE)
    _run(*enter, "ip", "link", "set", NODE_INTERFACE, "up")
    # kube-proxy rewrites packets to Services on their way to a route, so a route must exist.
    _run(*enter, "ip", "route", "replace", "default", "via", NODE_ADDRESS, "dev", NODE_INTERFACE)
    _run(*enter, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
    _run(*enter, "conntrack", "--count")  # It loads the module, so that the setting exists.
    setting = "/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_syn_sent"
    _run(*enter, "sh", "-c", f"echo {UNANSWERED_SECONDS} > {setting}")


def delete_network(layout: Layout) -> None:
    """Remove the namespace; processes inside keep it alive, without a name, until they end."""
    if layout.netns.exists():
        _run("ip", "netns", "delete", layout.unique)


def inside(layout: Layout, argv: list[str], *, dns: bool = False) -> list[str]:
    """Build the command line that runs argv inside; with dns, cluster names resolve as in a pod."""
    entered = ["nsenter", f"--net={layout.netns}", "--"]
    if not dns:
        return [*entered, *argv]
    script = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
    private = ["unshare", "--mount", "--propagation", "private", "--"]
    return [*entered, *private, "sh", "-c", script, str(layout.resolv_conf), *argv]


def enter_network(netns: Path) -> None:
    """Move the calling thread, and the threads and processes it starts later, into netns."""
    descriptor = os.open(netns, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if hasattr(os, "setns"):
            os.setns(descriptor, _CLONE_NEWNET)
            return
        libc = ctypes.CDLL(None, use_errno=True)  # Python 3.11 has no os.setns
        if libc.setns(descriptor, _CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(netns))
    finally:
        os.close(descriptor)


def call_inside(netns: Path, action: Callable[[], Result]) -> Result:
    """Run action in a short-lived thread inside netns; the caller does not move."""

    def body() -> Result:
        enter_network(netns)
        return action()

    with ThreadPoolExecutor(max_workers=1) as short_lived:
        return short_lived.submit(body).result()
