"""What the author of a `CNPGPlugin` may try to obtain on the real cluster: tokens, calls, the node.

All specs that have to be refused are created at once.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from cnpg_plugin_operator.desired.sidecars import Gate, Place, build_sidecar, build_template
from tests.support.e2e.accounts import holds_token, the_pod
from tests.support.e2e.api import ApiError, Object
from tests.support.e2e.operator import Operator
from tests.support.e2e.plugins import Plugins, collection
from tests.support.e2e.rolls import CNPG
from tests.support.pod_security import REFUSED
from tests.support.resources import IMAGE, NAMESPACE, Manifest, plugin
from tests.support.unit.cnpg_pods import sidecar_spec

pytestmark = pytest.mark.cnpg("untouched")

WEB = "e2e-web"
"""A Deployment with CloudNativePG's label that runs something else, and its Service."""

RENAMED = "e2e-webhook"
"""A Service like that of CloudNativePG's webhooks with Helm's nameOverride pg-operator."""

METRICS = "e2e-metrics"
SELECTORS = {
    WEB: {"app": "web", "tier": "front"},
    RENAMED: {"app.kubernetes.io/name": "pg-operator"},
    METRICS: {"cnpgplugin.dev/name": "lp-token-null"},
}


def deployment(name: str) -> Manifest:
    labels = {"app.kubernetes.io/name": "cloudnative-pg"}
    container = {"name": "manager", "image": "localhost/web:1"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [container]},
            },
        },
    }


def service(name: str, selector: dict[str, str]) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"selector": selector, "ports": [{"port": 9090}]},
    }


def labelled(**labels: str) -> dict[str, Any]:
    return {"podTemplate": {"metadata": {"labels": labels}}}


def projected(source: str, **fields: object) -> dict[str, Any]:
    return {"volumes": [{"name": "proof", "projected": {"sources": [{source: fields}]}}]}


TOKEN = projected("serviceAccountToken", path="token")
ATTEMPTS: dict[str, tuple[dict[str, Any], str, str]] = {
    **{name: (spec, "InvalidSpec", says) for t in REFUSED.values() for name, spec, says in t},
    "token-projected": (TOKEN, "InvalidSpec", "so volume proof cannot hold its token"),
    "token-by-template": (
        {"podTemplate": {"spec": {**TOKEN, "automountServiceAccountToken": None}}},
        "InvalidSpec", "so volume proof cannot hold its token",
    ),
    "certificate-projected": (
        projected("podCertificate", signerName="example.com/x", keyType="ED25519"),
        "InvalidSpec", "so volume proof cannot hold its token",
    ),
    "calls-of-a-service": (
        {"podLabels": {"app": "web"}, **labelled(tier="front")}, "InvalidSpec",
        f"Service {WEB} selects pods by app=web, tier=front",
    ),
    "calls-of-the-webhooks": (
        labelled(**{"app.kubernetes.io/name": "pg-operator"}), "InvalidSpec", f"Service {RENAMED}",
    ),
    "pg-operator": ({}, "InvalidSpec", "choose another metadata.name"),
    "calls-of-a-database": (
        {"podLabels": {"cnpg.io/cluster": "db", "cnpg.io/instanceRole": "primary"}},
        "InvalidSpec", "spec.podLabels: cnpg.io/cluster is reserved for CloudNativePG",
    ),
    "keys-by-annotation": (
        {"podTemplate": {"metadata": {"annotations": {"cnpg.io/pluginPort": "1"}}}},
        "InvalidSpec", "cnpg.io/pluginPort is reserved for CloudNativePG",
    ),
    "foreign-cnpg": (
        {"cnpg": {"deploymentName": WEB}}, "CNPGNotFound",
        f"Deployment {NAMESPACE}/{WEB}, which spec.cnpg.deploymentName names, is not",
    ),
    "foreign-host": (
        {"mode": "Sidecar", "cnpg": {"deploymentName": WEB}}, "CNPGNotFound",
        f"Deployment {NAMESPACE}/{WEB}, which spec.cnpg.deploymentName names, is not",
    ),
}  # fmt: skip
"""By the name of the resource: spec, reason, words of the message."""

NULL = {"podTemplate": {"spec": {"automountServiceAccountToken": None}}}


@pytest.fixture(scope="module")
def scene(operator: Operator, module_plugins: Plugins) -> Plugins:
    """All attempts, made at once, and their targets."""
    module_plugins.apply(
        deployment(WEB), *(service(name, selector) for name, selector in SELECTORS.items())
    )
    specs = {name: spec for name, (spec, _, _) in ATTEMPTS.items()} | {"token-null": NULL}
    for name, spec in specs.items():
        called = name if name == "pg-operator" else f"lp-{name}"
        module_plugins.made["CNPGPlugin", NAMESPACE, called] = None
        # As `kubectl create` does: nulls are kept.
        module_plugins.api.create(collection("CNPGPlugin"), plugin(called, **spec))
    return module_plugins


@pytest.mark.parametrize("name", ATTEMPTS)
def test_a_forbidden_spec_is_refused_with_its_reason(scene: Plugins, name: str) -> None:
    _, reason, words = ATTEMPTS[name]
    called = name if name == "pg-operator" else f"lp-{name}"
    found = scene.until_condition(called, "Accepted", reason, within=60)

    assert found["status"] == "False"
    assert words in found["message"]
    assert len(found["message"]) < 1024
    assert scene.find("Deployment", called) is None


def test_a_deployment_that_only_resembles_cloudnativepg_is_not_changed(scene: Plugins) -> None:
    scene.until_condition("lp-foreign-host", "Accepted", "CNPGNotFound", within=60)
    live = scene.get("Deployment", WEB)

    assert live["spec"]["template"] == {
        **live["spec"]["template"],
        "metadata": {"labels": {"app": WEB}, **_created(live)},
    }
    assert [c["name"] for c in live["spec"]["template"]["spec"]["containers"]] == ["manager"]
    assert "initContainers" not in live["spec"]["template"]["spec"]
    assert live["metadata"]["generation"] == 1


def _created(live: Object) -> dict[str, Any]:
    """What the API server adds to the metadata of a pod template, by version."""
    metadata = live["spec"]["template"]["metadata"]
    return {key: metadata[key] for key in ("creationTimestamp",) if key in metadata}


def test_null_does_not_override_the_decision_about_the_token(scene: Plugins) -> None:
    """The plugin's own Service for metrics, which selects by the plugin's name, is no obstacle."""
    name = "lp-token-null"
    scene.until_ready(name)
    pod = the_pod(scene, name)

    assert scene.plugin(name)["spec"]["podTemplate"]["spec"] == {
        "automountServiceAccountToken": None
    }
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert not holds_token(pod)


@pytest.fixture
def restricted(operator: Operator) -> Iterator[None]:
    """CloudNativePG's namespace with the label that the chart's notes recommend."""
    path = f"/api/v1/namespaces/{NAMESPACE}"
    key = "pod-security.kubernetes.io/enforce"
    operator.api.patch(path, {"metadata": {"labels": {key: "restricted"}}})
    yield
    operator.api.patch(path, {"metadata": {"labels": {key: None}}})


@pytest.mark.usefixtures("restricted")
def test_cloudnativepg_and_its_plugins_run_under_the_recommended_pod_security_level(
    operator: Operator, plugins: Plugins
) -> None:
    name = "lp-restricted"
    plugins.apply(plugin(name))
    plugins.until_ready(name)

    cnpg = plugins.get("Deployment", CNPG)["spec"]["template"]
    place = Place("/plugins", {"runAsUser": 10001, "runAsGroup": 10001})
    part = build_template([build_sidecar(sidecar_spec(), place)], place, Gate(image=IMAGE), {})
    spec = {
        **cnpg["spec"],
        "initContainers": [
            *cnpg["spec"].get("initContainers", []),
            *part["spec"]["initContainers"],
        ],
        "volumes": [*cnpg["spec"]["volumes"], *part["spec"]["volumes"]],
    }
    tried = f"{collection('Pod')}?dryRun=All"
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "lp-dry"}, "spec": spec}
    assert operator.api.create(tried, pod)["metadata"]["name"] == "lp-dry"

    spec["hostNetwork"] = True
    with pytest.raises(ApiError, match="violates PodSecurity"):
        operator.api.create(tried, pod)
