"""Rights that the chart no longer grants are revoked, whatever the state of the resource."""

from typing import Any

import pytest

from cnpg_plugin_operator import errors, names
from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.decide.acceptance.acceptance import Grants
from cnpg_plugin_operator.reconcile.failures import REPORT_AFTER
from tests.support.unit.stage.stage import Stage
from tests.support.unit.stage.world import NAMESPACE

GRANTS = "chart-allows-"
ROLES: dict[str, Any] = {"clusterRoles": ["viewer"], "roles": ["reader"]}
WIDE = f"{NAMESPACE}-hello-viewer"
LOCAL = "hello-reader"
BOTH = {("RoleBinding", LOCAL), ("ClusterRoleBinding", WIDE)}


def granted(*, cluster_roles: str = "viewer other", roles: str = "reader") -> Grants:
    return Grants(cluster_roles=frozenset(cluster_roles.split()), roles=frozenset(roles.split()))


def bindings(stage: Stage) -> set[tuple[str, str]]:
    return {(k, name) for k, _, name in stage.client.objects if k.endswith("RoleBinding")}


def restart(stage: Stage, grants: Grants) -> None:
    """Change the chart's values, which restarts the operator."""
    stage.grants = grants
    stage.reconciler = stage.operator()


@pytest.fixture
async def stage() -> Stage:
    """A Ready plugin with one role of each kind, beside one that has the same."""
    made = Stage()
    made.grant_prefix = GRANTS
    made.client.put(kinds.CLUSTER_ROLE, {"metadata": {"name": f"{GRANTS}viewer", "uid": "grant"}})
    restart(made, granted())
    made.create(**ROLES)
    await made.settle()
    assert made.condition() == ("True", "Ready")
    assert bindings(made) == BOTH
    return made


def invalid(stage: Stage) -> None:
    stage.edit(port="none")


def impossible(stage: Stage) -> None:
    stage.edit(podTemplate={"spec": {"hostNetwork": True}})


def suspended(stage: Stage) -> None:
    stage.edit(suspend=True)


def unchanged(stage: Stage) -> None:
    """It still requests the roles, which is then refused."""


STATES = pytest.mark.parametrize("state", [unchanged, invalid, impossible, suspended])


@STATES
async def test_a_role_removed_from_the_list_is_unbound(stage: Stage, state: Any) -> None:
    state(stage)
    restart(stage, granted(cluster_roles="other", roles="another"))
    await stage.visit()

    assert bindings(stage) == set()
    assert stage.client.the(kinds.DEPLOYMENT, "hello")


@STATES
async def test_a_granted_role_stays_bound(stage: Stage, state: Any) -> None:
    state(stage)
    restart(stage, granted(roles=""))
    await stage.visit()

    assert bindings(stage) == {("ClusterRoleBinding", WIDE)}


async def test_roles_of_the_namespace_are_unbound_when_the_list_is_empty(stage: Stage) -> None:
    restart(stage, granted(cluster_roles="", roles=""))
    await stage.visit()

    # The operator then has no cluster-wide rights: the garbage collector follows the owner.
    assert bindings(stage) == {("ClusterRoleBinding", WIDE)}


async def test_a_cluster_wide_binding_is_owned_by_what_grants_its_role(stage: Stage) -> None:
    owners = stage.client.the(kinds.CLUSTER_ROLE_BINDING, WIDE)["metadata"]["ownerReferences"]

    assert owners == [
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "name": f"{GRANTS}viewer",
            "uid": "grant",
            "blockOwnerDeletion": False,
        }
    ]


async def test_without_the_object_that_grants_a_role_nothing_is_bound(stage: Stage) -> None:
    """A binding without an owner would stay when the role is removed from the list."""
    for kind, where, name in (
        ("ClusterRole", None, f"{GRANTS}viewer"),
        ("ClusterRoleBinding", None, WIDE),
    ):
        del stage.client.objects[kind, where, name]
    for _ in range(REPORT_AFTER):
        await stage.visit()

    assert stage.condition("Accepted") == ("False", "ClusterError")
    assert f"ClusterRole {GRANTS}viewer" in stage.message("Accepted")
    assert bindings(stage) == {("RoleBinding", LOCAL)}


async def test_without_the_charts_roles_a_binding_has_no_owner_and_is_pruned() -> None:
    stage = Stage()
    stage.create(**ROLES, serviceAccount={})
    restart(stage, granted())
    await stage.settle()
    assert bindings(stage) == BOTH
    assert "ownerReferences" not in stage.client.the(kinds.CLUSTER_ROLE_BINDING, WIDE)["metadata"]

    stage.edit(clusterRoles=[])
    await stage.settle()
    assert bindings(stage) == {("RoleBinding", LOCAL)}


def accounts(*names: str) -> Grants:
    return Grants(service_accounts=frozenset(names))


def pod(stage: Stage) -> dict[str, Any]:
    found: dict[str, Any] = stage.client.the(kinds.DEPLOYMENT, "hello")["spec"]["template"]["spec"]
    return found


TOKEN = {
    "name": "proof",
    "projected": {
        "defaultMode": 420,
        "sources": [{"configMap": {"name": "x"}}, {"serviceAccountToken": {"path": "token"}}],
    },
}


@pytest.mark.parametrize("state", [unchanged, invalid, suspended])
async def test_an_account_removed_from_the_list_is_no_longer_used(state: Any) -> None:
    stage = Stage()
    restart(stage, accounts("plugins"))
    stage.create(serviceAccount={"name": "plugins"}, volumes=[TOKEN])
    await stage.settle()
    assert stage.condition() == ("True", "Ready")
    assert pod(stage)["serviceAccountName"] == "plugins"

    state(stage)
    restart(stage, accounts("other"))
    await stage.visit()

    assert pod(stage)["serviceAccountName"] == "default"
    assert pod(stage)["automountServiceAccountToken"] is False
    assert "serviceAccountToken" not in str(pod(stage)["volumes"])
    assert {"configMap": {"name": "x"}} in pod(stage)["volumes"][-1]["projected"]["sources"]

    stage.edit(port=9090, suspend=False)
    restart(stage, accounts("plugins"))
    await stage.settle()
    assert pod(stage)["serviceAccountName"] == "plugins"
    assert pod(stage)["automountServiceAccountToken"] is True
    assert "serviceAccountToken" in str(pod(stage)["volumes"])


@pytest.mark.parametrize(
    "before",
    [
        pytest.param({"automountServiceAccountToken": None}, id="null for the token"),
        pytest.param({"automountServiceAccountToken": True}, id="the default account was granted"),
        pytest.param({"volumes": [TOKEN]}, id="a projected token"),
    ],
)
async def test_a_token_of_the_default_account_is_revoked(before: dict[str, Any]) -> None:
    """Pods of an earlier version of this operator may have one, and their resource is refused."""
    stage = Stage()
    stage.create(podTemplate={"spec": {"hostNetwork": True}})
    labels = {names.labels.MANAGED_BY: names.resource.OPERATOR, names.labels.PLUGIN: "hello"}
    stage.client.put(
        kinds.DEPLOYMENT,
        {
            "metadata": {
                "name": "hello",
                "namespace": NAMESPACE,
                "labels": labels,
                "ownerReferences": [{"kind": names.resource.KIND, "uid": "uid-of-hello"}],
            },
            "spec": {"template": {"spec": {"automountServiceAccountToken": False, **before}}},
        },
    )
    await stage.visit()

    assert stage.condition("Accepted") == ("False", "InvalidSpec")
    assert pod(stage)["automountServiceAccountToken"] is False
    assert "serviceAccountToken" not in str(pod(stage)["volumes"])


async def test_pods_without_a_token_are_left_alone() -> None:
    stage = Stage()
    stage.create()
    await stage.settle()
    before = len(stage.client.writes)
    restart(stage, accounts())
    await stage.visit()

    assert stage.client.writes[before:] == []


async def test_a_created_account_needs_no_grant() -> None:
    stage = Stage()
    restart(stage, accounts())
    stage.create(serviceAccount={"create": True})
    await stage.settle()
    restart(stage, accounts("other"))
    await stage.visit()

    assert pod(stage)["serviceAccountName"] == "cnpg-plugin-hello"
    assert pod(stage)["automountServiceAccountToken"] is True


async def test_bindings_of_others_are_left_alone(stage: Stage) -> None:
    reference = {"kind": "Role", "name": "admin"}
    ours = {names.labels.MANAGED_BY: names.resource.OPERATOR, names.labels.PLUGIN: "other"}
    for name, labels in (("by-hand", {names.labels.PLUGIN: "hello"}), ("of-another", ours)):
        meta = {"name": name, "namespace": NAMESPACE, "labels": labels}
        stage.client.put(kinds.ROLE_BINDING, {"metadata": meta, "roleRef": reference})
    restart(stage, granted(roles=""))
    await stage.visit()

    found = {name for kind, name in bindings(stage) if kind == "RoleBinding"}
    assert found == {"by-hand", "of-another"}


async def test_a_cluster_role_with_the_name_of_a_granted_role_is_not_granted(stage: Stage) -> None:
    """The role that another program made the binding refer to was never granted."""
    stage.client.the(kinds.ROLE_BINDING, LOCAL)["roleRef"] = {
        "kind": "ClusterRole",
        "name": "reader",
    }
    restart(stage, granted())
    await stage.visit()

    assert stage.client.the(kinds.ROLE_BINDING, LOCAL)["roleRef"]["kind"] == "Role"


async def test_bindings_are_checked_once(stage: Stage, monkeypatch: Any) -> None:
    restart(stage, granted())
    asked: list[str] = []
    listing = stage.client.list

    async def listed(kind: kinds.Kind, *arguments: Any, **options: Any) -> list[dict[str, Any]]:
        asked.append(kind.kind)
        return await listing(kind, *arguments, **options)

    monkeypatch.setattr(stage.client, "list", listed)
    await stage.visit()
    first = asked.count("RoleBinding")
    asked.clear()
    await stage.visit()

    assert first >= 1
    assert "RoleBinding" not in asked


async def test_a_resource_is_evaluated_even_where_bindings_cannot_be_listed(
    stage: Stage, monkeypatch: Any
) -> None:
    restart(stage, granted())
    listing = stage.client.list

    async def refused(kind: kinds.Kind, *arguments: Any, **options: Any) -> list[dict[str, Any]]:
        if kind is kinds.ROLE_BINDING:
            raise errors.ForbiddenError("rolebindings is forbidden")
        return await listing(kind, *arguments, **options)

    monkeypatch.setattr(stage.client, "list", refused)
    invalid(stage)
    await stage.visit()

    assert stage.condition() == ("False", "InvalidSpec")
