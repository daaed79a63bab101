"""The operator is upgraded from an earlier state of this project, and back, while plugins are used.

Earlier states are built from the history of this repository, so it has to be complete. Standalone
plugins with certificates of each kind are called four times a second with CloudNativePG's rules;
their pods overlap, so that a change of what the pods should be fails no call either.
"""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.cluster import Cluster
from tests.support import wait
from tests.support.e2e.api import Api
from tests.support.e2e.cnpg_install import restore_cnpg
from tests.support.e2e.earlier import Earlier, remove_release
from tests.support.e2e.installation import ROOT, install_operator
from tests.support.e2e.issuers import TLS, client_pair, secret, server_pair
from tests.support.e2e.operator import Operator
from tests.support.e2e.plugins import Plugins, collection
from tests.support.e2e.probe import Probe
from tests.support.e2e.sidecars import Host, sidecar, template, until_rolled
from tests.support.e2e.sidecars import until_ready as until_all_ready
from tests.support.resources import (
    IMAGE_VERSION,
    NAMESPACE,
    Manifest,
    plugin,
    plugin_name,
    postgres,
)
from tests.support.tls.certificates import authority

ONE_PROCESS: Final = "2d3b7b5602616a5b92378f85cab3d67ac4b07103"
"""The last commit without leader election. From the first tag on, this is the previous tag."""
V1ALPHA1: Final = "bf57780c8203c022789b0f8a77113fc4ef5f8c0a"
"""The last commit whose resource is `v1alpha1`."""

CRD: Final = "cnpgplugins.cnpgplugin.dev"
PAGE: Final = ROOT / "docs" / "install" / "index.md"
USER: Final = "user-of-upgraded"
PROVIDERS: Final = ("CertManager", "SelfManaged", "Secrets")
NAMES: Final = tuple(f"upgraded-{provider.lower()}" for provider in PROVIDERS)
SIDECAR: Final = "upgraded-sidecar"
MINUTE: Final = 60.0

OVERLAPPING: Final[dict[str, Any]] = {
    "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
    "podTemplate": {
        "spec": {
            "containers": [{"name": "plugin", "lifecycle": {"preStop": {"sleep": {"seconds": 5}}}}]
        }
    },
}


@pytest.fixture
def plugins(cluster: Cluster, api: Api) -> Iterator[Plugins]:
    """A cluster without an operator; at the end it has the present one, and no plugin."""
    restore_cnpg(cluster)
    remove_release(cluster, CRD)
    original = template(api)["spec"]
    found = Plugins(Operator(cluster, api))
    yield found
    install_operator(cluster)
    found.clean_up()
    until_rolled(found)
    assert template(api)["spec"] == original


def standalone(provider: str) -> list[Manifest]:
    """A plugin with certificates of one kind, and what its user provides."""
    name = f"upgraded-{provider.lower()}"
    if provider != "Secrets":
        return [plugin(name, tls={"provider": provider}, **OVERLAPPING)]
    issuer = authority("issuer-of-upgraded", authority("root-of-upgraded"))
    secrets = {"server": f"{name}-server", "client": f"{name}-client"}
    return [
        secret(secrets["server"], server_pair(issuer, name).secret, TLS),
        secret(secrets["client"], client_pair(issuer).secret, TLS),
        plugin(name, tls={"provider": provider, "secrets": secrets}, **OVERLAPPING),
    ]


def start(plugins: Plugins, resources: list[Manifest]) -> None:
    """Create plugins and a Cluster that uses all of them, until CloudNativePG has called them.

    kubectl waits, because it knows every version of the resource.
    """
    plugins.apply(*resources)
    names = [each["metadata"]["name"] for each in resources if each["kind"] == "CNPGPlugin"]
    wait_for = ("--namespace", NAMESPACE, "--for=condition=Ready", "--timeout=180s")
    plugins.kubectl("wait", "cnpgplugins", *names, *wait_for)
    user = postgres(USER, *map(plugin_name, names), imageName="localhost/none:17")
    plugins.apply(user)
    for name in names:
        plugins.until_reported(name, USER, IMAGE_VERSION, within=2 * MINUTE)


def pods(plugins: Plugins) -> dict[str, str]:
    """The pods of the standalone plugins by their uid."""
    found = plugins.api.list(collection("Pod"), labelSelector="cnpgplugin.dev/name")
    return {
        pod["metadata"]["uid"]: pod["metadata"]["labels"]["cnpgplugin.dev/name"] for pod in found
    }


def until_settled(plugins: Plugins, interval: str) -> None:
    """Wait until the operator that runs now has done all that it wants.

    Another interval of handshakes changes nothing else, but is another generation: a plugin is
    Ready only after a whole pass of this operator.
    """
    names = (*NAMES, SIDECAR)
    for name in names:
        plugins.patch(name, handshake={"interval": interval})
    until_all_ready(plugins, *names, within=3 * MINUTE)
    plugins.operator.writes_until_calm(plugins.operator.audit.mark())
    until_rolled(plugins)
    until_all_ready(plugins, *names, within=3 * MINUTE)


def test_an_upgrade_and_the_way_back_fail_no_call(
    cluster: Cluster, plugins: Plugins, tmp_path: Path
) -> None:
    earlier = Earlier.check_out(ONE_PROCESS, directory(tmp_path, "earlier"))
    earlier.provide(cluster)
    earlier.install(cluster)
    resources = [each for provider in PROVIDERS for each in standalone(provider)]
    start(plugins, [*resources, sidecar(SIDECAR)])
    before = pods(plugins)
    with (
        Host(plugins.api) as host,
        Probe(cluster, directory(tmp_path, "probe"), NAMES) as probe,
    ):
        rolls: list[int] = []
        kept: list[int] = []
        for install, interval in ((install_operator, "6m"), (earlier.install, "7m")):
            install(cluster)
            until_settled(plugins, interval)
            probe.until_answered(*NAMES)
            rolls.append(host.rolls - sum(rolls))
            kept.append(len(before.keys() & pods(plugins).keys()))
    for name in NAMES:
        print(probe.calls(name))
    print(f"CloudNativePG was rolled {rolls} times, {kept} of {len(before)} pods are the same")
    assert [each for name in NAMES for each in probe.calls(name).failed] == []
    assert rolls == [0, 0]


def directory(parent: Path, name: str) -> Path:
    """Make a directory."""
    made = parent / name
    made.mkdir()
    return made


def read_commands() -> list[list[str]]:
    """Read the commands of the documentation that move from v1alpha1, as words, in their order."""
    section = PAGE.read_text().partition("### From v1alpha1\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"^ +```sh\n(.*?)^ +```$", section, re.MULTILINE | re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [shlex.split(line) for line in lines]


def rewrite(saved: Manifest) -> Manifest:
    """Write a saved resource as v1beta1, as the table in the changelog says."""
    spec = dict(saved["spec"])
    moved: dict[str, Any] = {}
    if "restartPolicy" in spec:
        moved["cnpg"] = {"restartPolicy": spec.pop("restartPolicy")}
    spec.pop("nudgeClusters", None)
    moved["deletionPolicy"] = "WaitForClusters" if spec.pop("deletionProtection") else "Delete"
    tls = dict(spec.get("tls") or {})
    trust = {"tls.crt": "Chain", "ca.crt": "Root"}[tls.pop("clientCA", "tls.crt")]
    mounts = tls.pop("mounts", {})
    files = {role: {"directory": mounts[role]} for role in mounts}
    moved["tls"] = {**tls, "clientTrust": trust, **({"files": files} if files else {})}
    metadata = {key: saved["metadata"][key] for key in ("name", "namespace")}
    return {
        "apiVersion": "cnpgplugin.dev/v1beta1",
        "kind": "CNPGPlugin",
        "metadata": metadata,
        "spec": {**spec, **moved},
    }


def move(cluster: Cluster, plugins: Plugins) -> None:
    """Run the documented commands, with the chart's upgrade and the new resources in between."""
    saved: list[Manifest] = []
    for words in read_commands():
        assert words[0] == "kubectl"
        if words[-2] == ">":
            saved = yaml.safe_load(cluster.kubectl(*words[1:-2]))["items"]
        elif "NAME" in words:
            for each in saved:
                name = each["metadata"]["name"]
                cluster.kubectl(*[name if word == "NAME" else word for word in words[1:]])
        elif words[1] == "apply":
            install_operator(cluster)
            plugins.apply(*map(rewrite, saved))
        else:
            cluster.kubectl(*words[1:])


def test_the_documented_commands_move_from_v1alpha1_and_fail_no_call(
    cluster: Cluster, plugins: Plugins, tmp_path: Path
) -> None:
    earlier = Earlier.check_out(V1ALPHA1, directory(tmp_path, "earlier"))
    earlier.provide(cluster)
    earlier.install(cluster)
    resources = [each for provider in PROVIDERS for each in standalone(provider)]
    old = [
        {**each, "apiVersion": each["apiVersion"].replace("v1beta1", "v1alpha1")}
        for each in [*resources, sidecar(SIDECAR)]
    ]
    start(plugins, old)
    before = pods(plugins)
    with (
        Host(plugins.api) as host,
        Probe(cluster, directory(tmp_path, "probe"), NAMES) as probe,
    ):
        move(cluster, plugins)
        until_settled(plugins, "6m")
        probe.until_answered(*NAMES)
        rolls = host.rolls
    for name in NAMES:
        print(probe.calls(name))
    same = len(before.keys() & pods(plugins).keys())
    print(f"CloudNativePG was rolled {rolls} times, {same} of {len(before)} pods are the same")
    assert [each for name in NAMES for each in probe.calls(name).failed] == []
    assert rolls == 2, "the sidecars go with their resources, and come with the new ones"
    wait.until(
        "nothing is orphaned any more",
        lambda: (
            not cluster.kubectl(
                *("get", "deployments,services,certificates,serviceaccounts,rolebindings"),
                *("--all-namespaces", "--selector=cnpgplugin.dev/orphaned", "--output=name"),
            )
        ),
        within=MINUTE,
    )
