"""The CNPGPlugin as users see it: defaults, immutable fields, columns, `kubectl explain`."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.cluster.errors import ClusterError
from tests.integration.data.resource import (
    CRD,
    GROUP_PATH,
    Manifest,
    installed,
    to_text,
)
from tests.support import wait
from tests.support.crds import Kubectl

STORED = "crd-tests-stored"
SHOWN = "crd-tests-shown"


@pytest.fixture(scope="module")
def server(cluster: Kubectl) -> Iterator[Kubectl]:
    with installed(cluster) as ready:
        yield ready


@pytest.fixture
def stored(server: Kubectl) -> Iterator[Manifest]:
    """A stored resource with only a name and an image."""
    text = to_text({"name": STORED})
    made: Manifest = json.loads(server.kubectl("create", "-f", "-", "-o", "json", input=text))
    yield made
    server.kubectl("delete", "cnpgplugin", STORED, "--timeout=300s")


def test_defaults_are_filled_in(stored: Manifest) -> None:
    assert stored["spec"] == {
        "pluginName": "hello.example.com",
        "image": "example.com/hello:1",
        "mode": "Standalone",
        "serverArguments": "Machinery",
        "port": 9090,
        "replicas": 1,
        "strategy": {"type": "Recreate"},
        "tls": {
            "issuerScope": "Namespace",
            "duration": "2160h",
            "privateKey": {"algorithm": "ECDSA"},
            "files": {
                "server": {
                    "directory": "/server",
                    "certificate": "tls.crt",
                    "privateKey": "tls.key",
                },
                "client": {"directory": "/client", "trust": "tls.crt"},
            },
            "clientTrust": "Chain",
            "reload": "Auto",
        },
        "cnpg": {"clusterRefresh": "None"},
        "upgradePolicy": "Automatic",
        "handshake": {"timeout": "5s", "interval": "10m"},
        "deletionPolicy": "WaitForClusters",
        "suspend": False,
    }


def dry_run(server: Kubectl, case: dict[str, Any]) -> Manifest:
    text = to_text(case)
    out = server.kubectl("create", "--dry-run=server", "-f", "-", "-o", "json", input=text)
    created: Manifest = json.loads(out)
    return created


def test_defaults_of_an_issuer_are_filled_in(server: Kubectl) -> None:
    created = dry_run(server, {"spec": {"tls": {"issuerRef": {"name": "mine"}}}})
    assert created["spec"]["tls"]["issuerRef"] == {
        "name": "mine",
        "kind": "Issuer",
        "group": "cert-manager.io",
    }


def test_null_means_that_the_field_is_absent(server: Kubectl) -> None:
    nothing = {"tls": None, "handshake": None, "strategy": None, "replicas": None, "port": None}
    assert dry_run(server, {"spec": nothing})["spec"] == dry_run(server, {})["spec"]


@pytest.mark.parametrize(
    "part",
    [
        pytest.param({"affinity": {"nodeAffinity": {"x": [1, {"y": None}]}}}, id="affinity"),
        pytest.param({"securityContext": {"runAsUser": 5, "x": {"y": True}}}, id="container"),
        pytest.param({"podSecurityContext": {"fsGroup": 5, "x": 1}}, id="pod"),
        pytest.param({"volumes": [{"name": "a", "csi": {"x": {"y": 1}}}]}, id="volume source"),
        pytest.param({"topologySpreadConstraints": [{"maxSkew": 1, "x": "y"}]}, id="spread"),
        pytest.param(
            {"podTemplate": {"metadata": {"x": "y"}, "spec": {"containers": [{"name": "plugin"}]}}},
            id="pod template",
        ),
    ],
)
def test_fields_of_a_pod_are_kept_unchanged(server: Kubectl, part: dict[str, Any]) -> None:
    [name] = part
    assert dry_run(server, {"spec": part})["spec"][name] == part[name]


def patch(server: Kubectl, change: dict[str, Any], *flags: str) -> Manifest:
    flags = ("--type=merge", "-p", json.dumps(change), "-o", "json", *flags)
    patched: Manifest = json.loads(server.kubectl("patch", "cnpgplugin", STORED, *flags))
    return patched


@pytest.mark.usefixtures("stored")
def test_the_plugin_name_cannot_be_changed(server: Kubectl) -> None:
    with pytest.raises(ClusterError, match="pluginName cannot be changed"):
        patch(server, {"spec": {"pluginName": "other.example.com"}})


@pytest.mark.usefixtures("stored")
def test_the_plugin_name_cannot_be_removed(server: Kubectl) -> None:
    with pytest.raises(ClusterError, match="Required value"):
        patch(server, {"spec": {"pluginName": None}})


@pytest.mark.parametrize(
    "change",
    [
        {"image": "example.com/hello:2"},
        {"port": 50051},
        {"service": {"name": "other"}},
        {"tls": {"issuerRef": {"name": "mine"}}},
        {"tls": {"provider": "SelfManaged", "issuerScope": "Plugin"}},
        {"tls": {"provider": "Secrets", "secrets": {"server": "a", "client": "b"}}},
        {"suspend": True},
    ],
    ids=lambda change: next(iter(change)),
)
def test_everything_else_can_be_changed(
    server: Kubectl, stored: Manifest, change: dict[str, Any]
) -> None:
    patched = patch(server, {"spec": change}, "--dry-run=server")
    assert patched["metadata"]["generation"] == stored["metadata"]["generation"] + 1


STATUS: dict[str, Any] = {
    "observedGeneration": 1,
    "conditions": [
        {
            "type": "Ready",
            "status": "False",
            "reason": "CNPGNotFound",
            "message": "Look elsewhere.",
            "observedGeneration": 1,
            "lastTransitionTime": "2026-01-02T03:04:05Z",
        }
    ],
    "plugin": {
        "name": "hello.example.com",
        "version": "1.2.3",
        "displayName": "Hello",
        "vendor": "Example",
        "license": "Apache-2.0",
        "maturity": "alpha",
        "url": "https://example.com",
        "capabilities": ["OPERATOR_SERVICE", "WAL_SERVICE"],
    },
    "certificates": {
        "server": {
            "secretName": "hello-server-tls",
            "notAfter": "2027-01-02T03:04:05Z",
            "renewalTime": "2026-12-02T03:04:05Z",
        },
        "client": {"secretName": "hello-client-tls", "notAfter": "2027-01-02T03:04:05Z"},
    },
    "cnpg": {
        "deploymentName": "cnpg-controller-manager",
        "version": "1.30.0",
        "registeredRevision": "0123456789",
        "lastRestart": {"time": "2026-01-02T03:04:05Z", "reason": "NewPlugin"},
    },
    "clusters": {"using": 2, "unready": 1, "blocked": [{"namespace": "app", "name": "db"}]},
}


@pytest.mark.usefixtures("stored")
def test_the_status_keeps_every_field_and_is_separate_from_the_spec(server: Kubectl) -> None:
    changed = {"status": STATUS, "spec": {"port": 1}}
    patched = patch(server, changed, "--subresource=status", "--dry-run=server")
    assert patched["status"] == STATUS
    assert patched["spec"]["port"] == 9090
    assert patched["metadata"]["generation"] == 1


@pytest.mark.usefixtures("stored")
def test_the_status_cannot_be_written_with_the_spec(server: Kubectl) -> None:
    patched = patch(server, {"status": {"clusters": {"using": 7}}}, "--dry-run=server")
    assert patched.get("status", {}).get("clusters", {}).get("using") != 7


@pytest.mark.parametrize(
    ("status", "says"),
    [
        ({"conditions": [STATUS["conditions"][0] | {"status": "Yes"}]}, "Unsupported value"),
        ({"conditions": [STATUS["conditions"][0] | {"reason": "Two words"}]}, "should match"),
        ({"conditions": STATUS["conditions"] * 2}, "Duplicate value"),
        ({"certificates": {"server": {"notAfter": "soon"}}}, "must be of type date-time"),
        ({"clusters": {"using": -1}}, "greater than or equal to 0"),
    ],
    ids=["condition status", "condition reason", "one type twice", "time", "count"],
)
@pytest.mark.usefixtures("stored")
def test_a_malformed_status_is_refused(server: Kubectl, status: dict[str, Any], says: str) -> None:
    with pytest.raises(ClusterError, match=says):
        patch(server, {"status": status}, "--subresource=status", "--dry-run=server")


def cells(text: str) -> dict[str, str]:
    """The columns of kubectl's table with the values of its only row."""
    header, row = text.splitlines()
    starts = [header.index(f"{name} ") for name in header.split()[:-1]]
    starts.append(header.rindex(header.split()[-1]))
    ends = [*starts[1:], None]
    return {
        header[start:end].strip(): row[start:end].strip()
        for start, end in zip(starts, ends, strict=True)
    }


@pytest.fixture
def shown(server: Kubectl) -> Iterator[str]:
    """A resource with a full status."""
    server.kubectl("create", "-f", "-", input=to_text({"name": SHOWN}))
    change = json.dumps({"status": STATUS})
    flags = ("--type=merge", "--subresource=status", "-p", change)
    server.kubectl("patch", "cnpgplugin", SHOWN, *flags)
    yield SHOWN
    server.kubectl("delete", "cnpgplugin", SHOWN, "--timeout=300s")


def test_kubectl_get_shows_the_important_columns(server: Kubectl, shown: str) -> None:
    wide = cells(server.kubectl("get", "cnpgplugin", shown, "-o", "wide"))
    assert {**wide, "AGE": ""} == {
        "NAME": shown,
        "PLUGIN": "hello.example.com",
        "MODE": "Standalone",
        "VERSION": "1.2.3",
        "READY": "False",
        "REASON": "CNPGNotFound",
        "AGE": "",
        "CNPG": "1.30.0",
        "CERTIFICATES": "2027-01-02T03:04:05Z",
        "IMAGE": "example.com/hello:1",
        "MESSAGE": "Look elsewhere.",
    }
    plain = cells(server.kubectl("get", "cnpgp", shown))
    assert list(plain) == ["NAME", "PLUGIN", "MODE", "VERSION", "READY", "REASON", "AGE"]


def test_the_resource_belongs_to_cnpg_s_category_and_not_to_all(server: Kubectl) -> None:
    for category, expected in (("cnpg", True), ("all", False)):
        listed = server.kubectl("api-resources", f"--categories={category}", "-o", "name")
        assert ("cnpgplugins.cnpgplugin.dev" in listed.split()) is expected


@pytest.mark.usefixtures("stored")
def test_resources_are_selected_by_plugin_name_and_mode(server: Kubectl) -> None:
    for selector, expected in (
        (
            "spec.pluginName=hello.example.com,spec.mode=Standalone",
            [f"cnpgplugin.cnpgplugin.dev/{STORED}"],
        ),
        ("spec.mode=Sidecar", []),
    ):
        found = server.kubectl("get", "cnpgplugin", f"--field-selector={selector}", "-o", "name")
        assert found.split() == expected


def test_a_newborn_resource_is_not_taken_for_current(stored: Manifest) -> None:
    assert stored["status"] == {"observedGeneration": -1}


def paths(schema: dict[str, Any], at: str) -> Iterator[tuple[str, str]]:
    """Every field of a schema with its description."""
    for name, child in schema.get("properties", {}).items():
        inner = child.get("items") if child.get("type") == "array" else child
        yield f"{at}.{name}", child.get("description", "")
        if isinstance(inner, dict):
            yield from paths(inner, f"{at}.{name}")


def written() -> dict[str, str]:
    """The fields of spec and status as the CRD describes them."""
    version = yaml.safe_load(CRD.read_text())["spec"]["versions"][0]
    properties = version["schema"]["openAPIV3Schema"]["properties"]
    return {
        path: text
        for name in ("spec", "status")
        for path, text in [
            (f"cnpgplugin.{name}", properties[name]["description"]),
            *paths(properties[name], f"cnpgplugin.{name}"),
        ]
    }


def test_the_server_publishes_every_description(server: Kubectl) -> None:
    schemas = json.loads(server.kubectl("get", "--raw", GROUP_PATH))["components"]["schemas"]
    published = schemas["dev.cnpgplugin.v1beta1.CNPGPlugin"]
    found = dict(paths(published, "cnpgplugin"))
    for path, description in written().items():
        assert description, path
        assert found[path] == description


@pytest.mark.parametrize(
    "path",
    [path for path in written() if path.count(".") == 2]
    + [
        "cnpgplugin.spec.env.valueFrom.secretKeyRef.key",
        "cnpgplugin.spec.probes.readiness.httpGet.port",
        "cnpgplugin.spec.tls.issuerRef.kind",
        "cnpgplugin.spec.tls.issuerScope",
        "cnpgplugin.spec.tls.files.client.trust",
        "cnpgplugin.spec.tls.provider",
        "cnpgplugin.spec.tls.reload",
        "cnpgplugin.spec.tls.secrets.server",
        "cnpgplugin.status.certificates.client.secretName",
        "cnpgplugin.status.cnpg.lastRestart.reason",
    ],
)
def test_kubectl_explain_describes(server: Kubectl, path: str) -> None:
    def explained() -> str:
        # The API server sometimes omits a new kind from its OpenAPI document for a moment.
        with contextlib.suppress(ClusterError):
            return " ".join(server.kubectl("explain", path).split())
        return ""

    assert " ".join(written()[path].split()) in wait.until(path, explained, within=20)
