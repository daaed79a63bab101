"""Deleted or edited objects are restored; what the spec no longer requests is deleted."""

from typing import Any

import pytest

from tests.e2e.names import SHARED
from tests.support import wait
from tests.support.e2e.api import RBAC
from tests.support.e2e.installation import ALLOWED_ROLE
from tests.support.e2e.operator import Operator
from tests.support.e2e.plugins import Plugins, collection, is_ready
from tests.support.resources import IMAGE, NAMESPACE, Manifest, plugin, plugin_name

pytestmark = pytest.mark.cnpg("untouched")

SECONDS_TO_RETURN = 20


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("Deployment", SHARED),
        ("Service", SHARED),
        ("Certificate", f"{SHARED}-server-tls"),
        ("Certificate", "cnpg-plugins"),
        ("Issuer", "cnpg-plugins"),
        ("Secret", f"{SHARED}-client-tls"),
        ("Secret", f"{SHARED}-trust"),
    ],
    ids=lambda value: value,
)
def test_a_deleted_object_is_recreated(shared: Plugins, kind: str, name: str) -> None:
    before = shared.get(kind, name)["metadata"]["uid"]
    shared.delete(kind, name)

    def another() -> bool:
        found = shared.find(kind, name)
        return found is not None and found["metadata"]["uid"] != before

    wait.until(
        f"{kind} {name} is there again",
        another,
        within=SECONDS_TO_RETURN,
        explain=lambda: shared.explain(SHARED),
    )
    settle(shared)


def settle(shared: Plugins) -> None:
    """Wait until the plugin is Ready and published again, for the next test."""
    wait.until(
        "the plugin is Ready and published again",
        lambda: is_ready(shared.plugin(SHARED)) and shared.labelled(SHARED),
        within=45,
        explain=lambda: shared.explain(SHARED),
    )


def at(body: Manifest, path: str) -> Any:
    value: Any = body
    for part in path.split("/"):
        value = value[int(part)] if part.isdigit() else (value or {}).get(part.replace("~", "/"))
    return value


PORTS = [{"name": "grpc", "port": 9090, "targetPort": 1234, "protocol": "TCP"}]
RENUMBERED = [{"name": "grpc", "port": 9091, "targetPort": 9090, "protocol": "TCP"}]
CONTAINERS = [{"name": "plugin", "image": "localhost/sample-plugin:0.2.0"}]


@pytest.mark.parametrize(
    ("kind", "edit", "path"),
    [
        pytest.param("Service", {"spec": {"ports": PORTS}}, "spec/ports/0/targetPort", id="port"),
        pytest.param(
            "Service", {"spec": {"ports": RENUMBERED}}, "spec/ports/0/port", id="number of the port"
        ),
        pytest.param(
            "Service",
            {"metadata": {"labels": {"cnpg.io/pluginName": "other.example.com"}}},
            "metadata/labels/cnpg.io~pluginName",
            id="CloudNativePG's label with another name",
        ),
        pytest.param(
            "Service",
            {"metadata": {"labels": {"cnpg.io/pluginName": None}}},
            "metadata/labels/cnpg.io~pluginName",
            id="CloudNativePG's label taken away",
        ),
        pytest.param(
            "Service",
            {"metadata": {"annotations": {"cnpg.io/pluginServerSecret": "other"}}},
            "metadata/annotations/cnpg.io~pluginServerSecret",
            id="annotation",
        ),
        pytest.param(
            "Service",
            {"spec": {"selector": {"cnpgplugin.dev/name": "other"}}},
            "spec/selector/cnpgplugin.dev~name",
            id="selector",
        ),
        pytest.param(
            "Deployment", {"spec": {"replicas": 0}}, "spec/replicas", id="number of replicas"
        ),
    ],
)
def test_an_edited_field_is_restored(
    shared: Plugins, kind: str, edit: dict[str, Any], path: str
) -> None:
    wanted = at(shared.get(kind, SHARED), path)
    edited = shared.api.patch(f"{collection(kind)}/{SHARED}", edit)
    assert at(edited, path) != wanted
    wait.until(
        f"{path} of the {kind} is {wanted!r} again",
        lambda: at(shared.get(kind, SHARED), path) == wanted,
        within=SECONDS_TO_RETURN,
        explain=lambda: shared.explain(SHARED),
    )
    settle(shared)


def test_an_edited_image_is_restored(shared: Plugins) -> None:
    path = f"{collection('Deployment')}/{SHARED}"
    template = shared.get("Deployment", SHARED)["spec"]["template"]
    template["spec"]["containers"][0]["image"] = CONTAINERS[0]["image"]
    shared.api.patch(path, {"spec": {"template": template}})

    def image() -> str:
        containers = shared.get("Deployment", SHARED)["spec"]["template"]["spec"]["containers"]
        return str(containers[0]["image"])

    wait.until(
        "the wanted image is back",
        lambda: image() == IMAGE,
        within=SECONDS_TO_RETURN,
        explain=lambda: shared.explain(SHARED),
    )
    settle(shared)


def test_fields_that_others_add_are_kept(shared: Plugins) -> None:
    path = f"{collection('Service')}/{SHARED}"
    shared.api.patch(path, {"metadata": {"annotations": {"example.com/ours": "kept"}}})
    shared.operator.writes_until_calm(shared.operator.audit.mark())
    found = shared.get("Service", SHARED)["metadata"]["annotations"]
    assert found["example.com/ours"] == "kept"


def test_a_new_service_name_registers_the_new_service_and_removes_the_old(
    plugins: Plugins,
) -> None:
    name, other = "renamed", "renamed-elsewhere"
    plugins.apply(plugin(name))
    plugins.until_ready(name)
    plugins.patch(name, service={"name": other})
    plugins.until_gone("Service", name, within=60)
    plugins.until_ready(name)
    assert plugins.labelled(other)
    assert plugins.get("Service", other)["metadata"]["labels"]["cnpg.io/pluginName"] == (
        plugin_name(name)
    )


ROLE: Manifest = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "Role",
    "metadata": {"name": ALLOWED_ROLE, "namespace": NAMESPACE},
    "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}],
}
CLUSTER_ROLE: Manifest = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRole",
    "metadata": {"name": ALLOWED_ROLE},
    "rules": [{"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get"]}],
}


def cluster_bindings(operator: Operator, name: str) -> list[str]:
    found = operator.api.list(
        f"{RBAC}/clusterrolebindings", labelSelector=f"cnpgplugin.dev/name={name}"
    )
    return [item["metadata"]["name"] for item in found]


def test_roles_are_bound_and_unbound_as_the_spec_says(operator: Operator, plugins: Plugins) -> None:
    name = "with-roles"
    plugins.apply(ROLE)
    operator.api.apply(f"{RBAC}/clusterroles/{ALLOWED_ROLE}", CLUSTER_ROLE, "e2e", force=True)
    try:
        both = {"roles": [ALLOWED_ROLE], "clusterRoles": [ALLOWED_ROLE]}
        plugins.apply(plugin(name, **both))
        plugins.until_ready(name)
        account = plugins.get("Deployment", name)["spec"]["template"]["spec"]["serviceAccountName"]
        subject = [{"kind": "ServiceAccount", "name": account, "namespace": NAMESPACE}]
        binding = plugins.get("RoleBinding", f"{name}-{ALLOWED_ROLE}")
        assert binding["subjects"] == subject
        assert len(cluster_bindings(operator, name)) == 1

        plugins.patch(name, clusterRoles=None, roles=None)
        plugins.until_gone("RoleBinding", f"{name}-{ALLOWED_ROLE}", within=60)
        plugins.until_gone("ServiceAccount", account, within=60)
        plugins.until_ready(name)
        assert cluster_bindings(operator, name) == []

        plugins.patch(name, **both)
        plugins.until_ready(name)
        assert len(cluster_bindings(operator, name)) == 1
        plugins.remove(name)
        assert cluster_bindings(operator, name) == []
    finally:
        operator.api.delete(f"{RBAC}/clusterroles/{ALLOWED_ROLE}")
