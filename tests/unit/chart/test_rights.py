"""The operator's rights: as few as its work needs, and none that lead to more."""

from typing import Any

import pytest

from tests.unit.chart.rendering import (
    FULLNAME,
    NAMESPACE,
    Manifest,
    Values,
    of_kind,
    one,
    render,
)
from tests.unit.chart.test_rendering import MATRIX

Rule = dict[str, Any]
WRITING = {"create", "update", "patch", "delete", "deletecollection"}
CLUSTER_ROLE = f"{NAMESPACE}:{FULLNAME}"


def own_rules(objects: list[Manifest]) -> list[tuple[str, Rule]]:
    """The rules that the operator itself is bound to, with the kind of their role."""
    bound = {
        (binding["roleRef"]["kind"], binding["roleRef"]["name"])
        for kind in ("RoleBinding", "ClusterRoleBinding")
        for binding in of_kind(objects, kind)
    }
    return [
        (kind, rule)
        for kind in ("Role", "ClusterRole")
        for role in of_kind(objects, kind)
        if (kind, role["metadata"]["name"]) in bound
        for rule in role["rules"]
    ]


def verbs(rules: list[Rule], group: str, resource: str) -> set[str]:
    """What the rules let one do with a kind."""
    return {
        verb
        for rule in rules
        if group in rule["apiGroups"] and resource in rule["resources"]
        for verb in rule["verbs"]
    }


def role_rules(values: Values | None = None, kind: str = "Role") -> list[Rule]:
    name = FULLNAME if kind == "Role" else CLUSTER_ROLE
    rules: list[Rule] = one(render(values), kind, name)["rules"]
    return rules


@pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX.keys())
def test_no_rule_is_open_ended_or_leads_to_more_rights(values: Values) -> None:
    objects = render(values)
    for role in of_kind(objects, "Role") + of_kind(objects, "ClusterRole"):
        for rule in role["rules"]:
            assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
            assert not {"escalate", "impersonate"} & set(rule["verbs"])
            assert "nonResourceURLs" not in rule
            if "bind" in rule["verbs"]:
                assert rule["resourceNames"]


@pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX.keys())
def test_cluster_wide_nothing_is_written_but_status_and_allowed_bindings(values: Values) -> None:
    for kind, rule in own_rules(render(values)):
        if kind == "ClusterRole" and WRITING & set(rule["verbs"]):
            asked_for = {
                "cnpgplugins/status": True,
                "clusterrolebindings": values.get("allowedClusterRoles"),
                "clusters": values.get("nudgeClusters"),
            }
            assert all(asked_for.get(resource) for resource in rule["resources"])


def test_secrets_are_never_written_and_nowhere_seen_but_where_cloudnative_pg_runs() -> None:
    assert verbs(role_rules(), "", "secrets") == {"get", "list", "watch", "delete"}
    assert verbs(role_rules(kind="ClusterRole"), "", "secrets") == set()


def test_pods_cannot_be_entered() -> None:
    for _, rule in own_rules(render()):
        assert not {"pods/exec", "pods/attach", "pods/portforward"} & set(rule["resources"])


@pytest.mark.parametrize(
    ("group", "resource", "expected"),
    [
        ("cnpgplugin.dev", "cnpgplugins", {"get", "list", "watch", "patch", "update"}),
        ("cnpgplugin.dev", "cnpgplugins/status", {"get", "patch", "update"}),
        ("cnpgplugin.dev", "cnpgplugins/finalizers", {"update"}),
        ("apps", "deployments", {"get", "list", "watch", "create", "patch", "delete"}),
        ("apps", "replicasets", {"get", "list"}),
        ("", "services", {"get", "list", "watch", "create", "patch", "delete"}),
        ("", "serviceaccounts", {"get", "list", "watch", "create", "patch", "delete"}),
        ("", "pods", {"get", "list", "watch", "delete"}),
        ("", "events", {"get", "list", "watch", "create", "patch"}),
        (
            "cert-manager.io",
            "certificates",
            {"get", "list", "watch", "create", "patch", "delete"},
        ),
        ("cert-manager.io", "issuers", {"get", "list", "watch", "create", "patch", "delete"}),
        ("coordination.k8s.io", "leases", {"get", "list"}),
        (
            "rbac.authorization.k8s.io",
            "rolebindings",
            {"get", "list", "watch", "create", "patch", "delete"},
        ),
        ("rbac.authorization.k8s.io", "roles", set()),
    ],
)
def test_the_role_grants_what_the_work_needs(group: str, resource: str, expected: set[str]) -> None:
    assert verbs(role_rules(), group, resource) == expected


@pytest.mark.parametrize(
    ("group", "resource", "expected"),
    [
        ("cnpgplugin.dev", "cnpgplugins", {"get", "list", "watch"}),
        ("cnpgplugin.dev", "cnpgplugins/status", {"patch"}),
        ("postgresql.cnpg.io", "clusters", {"get", "list", "watch"}),
        ("cert-manager.io", "clusterissuers", {"get", "list", "watch"}),
        ("rbac.authorization.k8s.io", "clusterrolebindings", set()),
        ("rbac.authorization.k8s.io", "clusterroles", set()),
        ("", "namespaces", set()),
    ],
)
def test_the_cluster_role_is_the_smallest(group: str, resource: str, expected: set[str]) -> None:
    assert verbs(role_rules(kind="ClusterRole"), group, resource) == expected


def test_clusters_can_be_annotated_only_where_nudging_is_allowed() -> None:
    rules = role_rules({"nudgeClusters": True}, "ClusterRole")
    assert verbs(rules, "postgresql.cnpg.io", "clusters") == {"get", "list", "watch", "patch"}
    assert (
        verbs(role_rules(kind="ClusterRole"), "postgresql.cnpg.io", "clusters") & WRITING == set()
    )


def test_only_allowed_roles_can_be_bound() -> None:
    values = {"allowedClusterRoles": ["a", "system:b"], "allowedRoles": ["c"]}
    [namespaced] = [rule for rule in role_rules(values) if "bind" in rule["verbs"]]
    assert namespaced["resources"] == ["roles"]
    assert namespaced["resourceNames"] == ["c"]
    [wide] = [rule for rule in role_rules(values, "ClusterRole") if "bind" in rule["verbs"]]
    assert wide["resources"] == ["clusterroles"]
    assert wide["resourceNames"] == ["a", "system:b"]
    assert verbs(
        role_rules(values, "ClusterRole"), "rbac.authorization.k8s.io", "clusterrolebindings"
    ) == {"get", "list", "create", "patch", "delete"}


def test_every_namespace_of_cloudnative_pg_gets_a_role_and_no_other_does() -> None:
    objects = render({"cnpg": {"namespaces": ["one", "two"]}})
    for kind in ("Role", "RoleBinding"):
        assert [item["metadata"]["namespace"] for item in of_kind(objects, kind)] == ["one", "two"]


def test_roles_for_people_are_aggregated() -> None:
    objects = render()
    view = one(objects, "ClusterRole", f"{CLUSTER_ROLE}-view")
    edit = one(objects, "ClusterRole", f"{CLUSTER_ROLE}-edit")
    prefix = "rbac.authorization.k8s.io/aggregate-to-"
    assert {key for key in view["metadata"]["labels"] if key.startswith(prefix)} == {
        f"{prefix}view",
        f"{prefix}edit",
        f"{prefix}admin",
    }
    assert {key for key in edit["metadata"]["labels"] if key.startswith(prefix)} == {
        f"{prefix}edit",
        f"{prefix}admin",
    }
    assert not {verb for rule in view["rules"] for verb in rule["verbs"]} & WRITING
    assert all(rule["apiGroups"] == ["cnpgplugin.dev"] for rule in view["rules"] + edit["rules"])
    assert all(rule["resources"] == ["cnpgplugins"] for rule in edit["rules"])


def test_without_rbac_no_role_is_made() -> None:
    kinds = {item["kind"] for item in render({"rbac": {"create": False}})}
    assert not {"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"} & kinds
