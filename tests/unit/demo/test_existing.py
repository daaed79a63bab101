"""The demo on an existing cluster: what it says before it installs, and when it refuses."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.errors import ClusterError
from tests.demo import existing
from tests.demo.existing import Existing, Options, loader, look, plan, remove, show, split_image
from tests.demo.installing import ROOT

IMAGE = "registry.example.com/team/operator:1.2.3"
CNPG = "/clusters.postgresql.cnpg.io\n"
CERT_MANAGER = "/certificates.cert-manager.io\n"
DEFAULT = {"metadata": {"annotations": {existing.DEFAULT_CLASS: "true"}}}


class Told(Existing):
    """A cluster that answers as it is told to, and changes nothing."""

    def __init__(self, types: str = "", deployments: str = "", releases: str = "") -> None:
        self.classes: list[dict[str, Any]] = [DEFAULT]
        self.changes: list[str] = []
        self._types, self._deployments, self._releases = types, deployments, releases

    def kubectl(self, *arguments: str, input: str | None = None) -> str:  # noqa: A002
        match arguments:
            case ("config", *_):
                return "kind-here\n"
            case ("version", *_):
                return json.dumps({"serverVersion": {"gitVersion": "v1.34.3"}})
            case ("get", "crd", *_):
                return self._types
            case ("get", "deployments", *_):
                return self._deployments
            case ("get", "storageclass", *_):
                return json.dumps({"items": self.classes})
            case _:
                self.changes.append(" ".join(["kubectl", *arguments]))
                return ""

    def helm(self, *arguments: str) -> str:
        if arguments[0] == "list":
            return self._releases
        self.changes.append(" ".join(["helm", *arguments]))
        return ""


def said(cluster: Told) -> str:
    return plan(look(cluster), Options(IMAGE))


def test_on_a_bare_cluster_it_installs_everything_but_cert_manager() -> None:
    words = said(Told())
    assert "context kind-here, Kubernetes v1.34.3" in words
    assert f"CloudNativePG in cnpg-system, from {existing.CNPG_MANIFEST}" in words
    assert "issues the certificates itself" in words
    assert (
        f"Helm release cnpg-plugin-operator in cnpg-plugin-operator, with the image {IMAGE}"
        in words
    )
    assert "plugin-barman-cloud" in words
    assert "barman-db in default" in words


def test_it_uses_what_is_there() -> None:
    cluster = Told(CNPG + CERT_MANAGER, "deployment.apps/cnpg", "cnpg-plugin-operator\n")
    words = said(cluster)
    assert "CloudNativePG in" not in words
    assert "certificates itself" not in words
    assert "the new values and image of cnpg-plugin-operator" in words


def test_cloudnativepg_elsewhere_is_refused() -> None:
    with pytest.raises(ClusterError, match="installed, but not in cnpg-system"):
        look(Told(CNPG))


@pytest.mark.parametrize("classes", [[], [{"metadata": {"name": "slow"}}]])
def test_a_cluster_without_default_storage_is_refused(classes: list[dict[str, Any]]) -> None:
    cluster = Told()
    cluster.classes = classes
    with pytest.raises(ClusterError, match="no StorageClass is the default"):
        look(cluster)


def test_without_an_image_it_says_how_to_get_one_and_asks_nothing() -> None:
    with pytest.raises(ClusterError, match="make demo IMAGE="):
        show(Told(), Options(), lambda _: pytest.fail("asked"))


def test_without_consent_nothing_changes() -> None:
    cluster = Told()
    assert show(cluster, Options(IMAGE), lambda _: False) == "nothing was installed"
    assert remove(cluster, lambda _: False) == "nothing was removed"
    assert cluster.changes == []


def test_the_database_goes_before_the_plugin_and_the_operator_last() -> None:
    cluster = Told()
    remove(cluster, lambda _: True)
    assert [change.split(" --")[0].rpartition("/")[2] for change in cluster.changes] == [
        "barman-db.yaml",
        "barman-cloud",
        "helm uninstall cnpg-plugin-operator",
    ]


@pytest.mark.parametrize(
    ("image", "parts"),
    [
        (IMAGE, ("registry.example.com/team/operator", "1.2.3", "")),
        ("registry.example.com:5000/operator", ("registry.example.com:5000/operator", "", "")),
        ("localhost:5000/a:1@sha256:0f", ("localhost:5000/a", "1", "sha256:0f")),
        ("a@sha256:0f", ("a", "", "sha256:0f")),
    ],
)
def test_an_image_becomes_values_of_the_chart(image: str, parts: tuple[str, str, str]) -> None:
    assert split_image(image) == parts


@pytest.mark.parametrize(
    ("context", "command"),
    [
        ("kind-here", f"kind load docker-image {IMAGE} --name here"),
        ("k3d-here", f"k3d image import {IMAGE} --cluster here"),
        ("minikube", f"minikube image load {IMAGE}"),
        ("production", None),
    ],
)
def test_a_cluster_of_this_machine_loads_the_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, context: str, command: str | None
) -> None:
    for program in ("kind", "k3d", "minikube"):
        (tmp_path / program).touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert loader(context, IMAGE) == (command.split() if command else None)
    monkeypatch.setenv("PATH", "")
    assert loader(context, IMAGE) is None


def test_a_missing_program_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ClusterError, match="kubectl is not installed"):
        look(Existing())


@pytest.mark.parametrize("page", ["README.md", "docs/quick-start.md"])
def test_the_documentation_installs_the_same_cloudnativepg(page: str) -> None:
    assert existing.CNPG_MANIFEST in (ROOT / page).read_text()


KUBECTL = f"""#!{sys.executable}
import json, os, sys
words = sys.argv[1:]
with open(os.environ["SAID"], "a") as said:
    text = sys.stdin.read() if words[-1] == "-" else ""
    print(json.dumps([os.path.basename(sys.argv[0]), *words, text]), file=said)
ready = {{"type": "Ready", "status": "True", "reason": "Ready", "message": "It answers."}}
plugin = {{"metadata": {{}}, "status": {{"conditions": [ready]}}}}
used = {{"name": "{existing.PLUGIN_NAME}", "version": "0.14.0"}}
lease = {{"holderIdentity": "operator-1_uid", "acquireTime": "2026-01-01T00:00:00Z"}}
database = {{"metadata": {{}}, "status": {{"phase": "Cluster in healthy state",
    "readyInstances": 1, "pluginStatus": [used]}}}}
answers = {{
    "config": "kind-here",
    "version": json.dumps({{"serverVersion": {{"gitVersion": "v1.34.3"}}}}),
    "get storageclass": json.dumps({{"items": [{json.dumps(DEFAULT)}]}}),
    "get pods": "pod/operator-1",
    "get lease": json.dumps({{"spec": lease}}),
    "get cnpgplugins.cnpgplugin.dev": json.dumps(plugin, indent=4),
    "get clusters.postgresql.cnpg.io": json.dumps(database, indent=4),
    "kustomize": "image: {existing.PUBLISHED}plugin-barman-cloud:v0.14.0",
}}
for start, answer in answers.items():
    if " ".join(words).startswith(start):
        print(answer)
"""


def test_it_installs_in_order_from_the_mirror(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for program in ("kubectl", "helm"):
        (tmp_path / program).write_text(KUBECTL)
        (tmp_path / program).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("SAID", str(tmp_path / "said"))
    described = show(Existing(), Options(IMAGE, "mirror.example.com/", "cnpg.yaml"), lambda _: True)
    assert '"version": "0.14.0"' in described
    said = [json.loads(line) for line in (tmp_path / "said").read_text().splitlines()]
    changes = [each for each in said if {"apply", "upgrade"} & {*each}]
    assert [each[0] for each in changes] == ["kubectl", "helm", "kubectl", "kubectl"]
    cnpg, operator, plugin, database = changes
    assert cnpg[-2] == "cnpg.yaml"
    assert "image.tag=1.2.3" in operator
    assert "defaults.tlsProvider=SelfManaged" in operator
    assert plugin[-1] == "image: mirror.example.com/plugin-barman-cloud:v0.14.0\n"
    assert "imageName: mirror.example.com/postgresql:17" in database[-1]
