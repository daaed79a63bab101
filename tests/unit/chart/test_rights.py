"""The operator's rights: as few as its work needs, and none that lead to more."""

from typing import Any

import pytest

from cnpg_plugin_operator import names
from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.cluster.kinds import Kind
from cnpg_plugin_operator.watch.kinds import EVERYWHERE, MANAGED
from tests.support.chart.rendering import (
    CHART,
    FULLNAME,
    NAMESPACE,
    Manifest,
    RenderError,
    Values,
    environment,
    of_kind,
    one,
    render,
)
from tests.support.chart.value_sets import MATRIX

Rule = dict[str, Any]
WRITING = {"create", "update", "patch", "delete", "deletecollection"}
LOOKED_AT = {"get", "list", "watch"}
KEPT = LOOKED_AT | {"create", "patch", "delete"}
"""The kinds whose objects the operator creates, restores and deletes."""
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
    """The verbs that the rules allow for a kind."""
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
def test_no_rule_has_a_wildcard_or_allows_escalation(values: Values) -> None:
    objects = render(values)
    for role in of_kind(objects, "Role") + of_kind(objects, "ClusterRole"):
        for rule in role["rules"]:
            if "nonResourceURLs" in rule:
                assert rule == {"nonResourceURLs": ["/metrics"], "verbs": ["get"]}
                continue
            assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
            assert not {"escalate", "impersonate"} & set(rule["verbs"])
            if "bind" in rule["verbs"]:
                assert rule["resourceNames"]


@pytest.mark.parametrize(
    ("name", "count"), [("role.yaml", 9), ("clusterrole.yaml", 5), ("leader-election.yaml", 2)]
)
def test_every_right_has_a_reason_beside_it(name: str, count: int) -> None:
    lines = (CHART / "templates" / name).read_text().splitlines()
    rules = [number for number, line in enumerate(lines) if line.startswith("  - apiGroups:")]
    assert len(rules) >= count
    bare = [lines[number + 1].strip() for number in rules if "  # " not in lines[number - 1]]
    assert bare == []


@pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX.keys())
def test_only_status_and_allowed_bindings_are_written_cluster_wide(values: Values) -> None:
    for kind, rule in own_rules(render(values)):
        if kind == "ClusterRole" and WRITING & set(rule["verbs"]):
            asked_for = {
                "cnpgplugins/status": True,
                "clusterrolebindings": values.get("allowedClusterRoles"),
                "clusters": values.get("clusterRefresh", {}).get("allowed"),
                "tokenreviews": "secure" in values.get("metrics", {}),
                "subjectaccessreviews": "secure" in values.get("metrics", {}),
            }
            assert all(asked_for.get(resource) for resource in rule["resources"])


@pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX.keys())
@pytest.mark.parametrize("resource", ["secrets", "pods"])
def test_secrets_and_pods_are_readable_only_where_cloudnative_pg_runs(
    resource: str, values: Values
) -> None:
    for kind, rule in own_rules(render(values)):
        assert kind == "Role" or resource not in rule["resources"]


def test_pods_can_be_neither_created_nor_entered() -> None:
    assert verbs(role_rules(), "", "pods") & WRITING == {"patch"}
    for _, rule in own_rules(render()):
        assert not [name for name in rule["resources"] if name.startswith("pods/")]


def test_pods_can_be_deleted_only_where_olm_owns_cloudnative_pg() -> None:
    assert verbs(role_rules({"cnpg": {"olm": True}}), "", "pods") & WRITING == {"patch", "delete"}


def group_of(kind: Kind) -> str:
    return kind.api_version.rpartition("/")[0]


@pytest.mark.parametrize("kind", MANAGED, ids=lambda kind: kind.kind)
def test_watched_kinds_may_be_watched(kind: Kind) -> None:
    assert verbs(role_rules(), group_of(kind), kind.plural) >= {"list", "watch"}


@pytest.mark.parametrize("kind", [*EVERYWHERE, kinds.CLUSTER], ids=lambda kind: kind.kind)
def test_kinds_watched_cluster_wide_may_be_watched_cluster_wide(kind: Kind) -> None:
    rules = role_rules(kind="ClusterRole")
    assert verbs(rules, group_of(kind), kind.plural) >= {"list", "watch"}


MADE = {kind for kind in kinds._BY_NAME.values() if kind.namespaced} - {kinds.PLUGIN}
"""The kinds of the desired objects."""


@pytest.mark.parametrize("kind", sorted(MADE, key=str), ids=lambda kind: kind.kind)
def test_kinds_that_the_operator_creates_may_be_patched_and_deleted(kind: Kind) -> None:
    assert verbs(role_rules(), group_of(kind), kind.plural) == KEPT


def test_kinds_that_the_operator_does_not_create_may_not_be_created_or_deleted() -> None:
    made = {(group_of(kind), kind.plural) for kind in MADE}
    made.add(("coordination.k8s.io", "leases"))
    for _, rule in own_rules(render()):
        named = {(group, name) for group in rule["apiGroups"] for name in rule["resources"]}
        if named - made - {("", "events"), ("", "pods")}:
            assert not {"create", "delete", "deletecollection"} & set(rule["verbs"]), rule


@pytest.mark.parametrize(
    ("group", "resource", "expected"),
    [
        ("cnpgplugin.dev", "cnpgplugins", {"patch"}),
        ("cnpgplugin.dev", "cnpgplugins/status", set()),
        ("cnpgplugin.dev", "cnpgplugins/finalizers", {"update"}),
        ("apps", "deployments", KEPT),
        ("apps", "replicasets", {"get"}),
        ("", "services", KEPT),
        ("", "serviceaccounts", KEPT),
        ("", "secrets", KEPT),
        ("", "pods", LOOKED_AT | {"patch"}),
        ("", "events", {"list", "watch", "create", "patch"}),
        ("cert-manager.io", "certificates", KEPT),
        ("cert-manager.io", "issuers", KEPT),
        ("policy", "poddisruptionbudgets", KEPT),
        ("networking.k8s.io", "networkpolicies", KEPT),
        ("coordination.k8s.io", "leases", LOOKED_AT),
        ("rbac.authorization.k8s.io", "rolebindings", KEPT),
        ("rbac.authorization.k8s.io", "roles", set()),
    ],
)
def test_the_role_grants_what_the_operator_needs(
    group: str, resource: str, expected: set[str]
) -> None:
    assert verbs(role_rules(), group, resource) == expected


def test_only_the_operators_own_lease_may_be_written() -> None:
    rules = one(render(), "Role", f"{FULLNAME}-leader-election")["rules"]
    assert [(rule.get("resourceNames"), set(rule["verbs"])) for rule in rules] == [
        (None, {"create"}),
        ([FULLNAME], {"get", "update", "watch"}),
    ]
    assert all(rule["resources"] == ["leases"] for rule in rules)
    variables = environment(render())
    assert variables["CNPGP_LEASE"] == f"{NAMESPACE}/{FULLNAME}"


def test_only_cloudnativepgs_lease_may_be_got_and_watched() -> None:
    rules = [rule for rule in role_rules() if "leases" in rule["resources"]]
    assert [rule["verbs"] for rule in rules if "resourceNames" not in rule] == [["list"]]
    assert {name for rule in rules for name in rule.get("resourceNames", ())} == {names.cnpg.LEASE}


@pytest.mark.parametrize(
    ("group", "resource", "expected"),
    [
        ("cnpgplugin.dev", "cnpgplugins", LOOKED_AT),
        ("cnpgplugin.dev", "cnpgplugins/status", {"patch"}),
        ("postgresql.cnpg.io", "clusters", {"list", "watch"}),
        ("cert-manager.io", "clusterissuers", {"get", "list"}),
        ("rbac.authorization.k8s.io", "clusterrolebindings", set()),
        ("rbac.authorization.k8s.io", "clusterroles", set()),
        ("", "namespaces", set()),
    ],
)
def test_the_cluster_role_is_minimal(group: str, resource: str, expected: set[str]) -> None:
    assert verbs(role_rules(kind="ClusterRole"), group, resource) == expected


def test_clusters_can_be_annotated_only_where_nudging_is_allowed() -> None:
    rules = role_rules({"clusterRefresh": {"allowed": True}}, "ClusterRole")
    assert verbs(rules, "postgresql.cnpg.io", "clusters") == {"list", "watch", "patch"}
    assert (
        verbs(role_rules(kind="ClusterRole"), "postgresql.cnpg.io", "clusters") & WRITING == set()
    )


def test_only_allowed_roles_can_be_bound() -> None:
    values = {"allowedClusterRoles": ["a", "system:b"], "allowedRoles": ["c"]}
    [namespaced] = [rule for rule in role_rules(values) if "bind" in rule["verbs"]]
    assert namespaced["resources"] == ["roles"]
    assert namespaced["resourceNames"] == ["c"]
    wide = [rule for _, rule in own_rules(render(values)) if rule["resources"] == ["clusterroles"]]
    assert [rule["resourceNames"] for rule in wide if rule["verbs"] == ["bind"]] == [
        ["a"],
        ["system:b"],
    ]
    assert verbs(
        role_rules(values, "ClusterRole"), "rbac.authorization.k8s.io", "clusterrolebindings"
    ) == {"get", "list", "create", "patch", "delete"}


LONG = "long:" + "x" * 240


@pytest.mark.parametrize("role", ["viewer", "system:b", "a.b_c", LONG, f"{LONG}y"])
def test_each_allowed_cluster_role_has_an_object_that_the_operator_finds(role: str) -> None:
    """It owns bindings: if the chart drops it, they are deleted."""
    objects = render({"allowedClusterRoles": [role]})
    prefix = environment(objects)["CNPGP_CLUSTER_ROLE_GRANT_PREFIX"]
    name = names.children.grant(prefix, role)

    assert len(name) <= 253
    [rule] = one(objects, "ClusterRole", name)["rules"]
    assert (rule["resourceNames"], rule["verbs"]) == ([role], ["bind"])
    assert one(objects, "ClusterRoleBinding", name)["roleRef"]["name"] == name
    [readable] = [
        rule
        for rule in one(objects, "ClusterRole", CLUSTER_ROLE)["rules"]
        if rule["resources"] == ["clusterroles"]
    ]
    assert (readable["resourceNames"], readable["verbs"]) == ([name], ["get"])


def test_removing_a_role_from_the_list_removes_its_object() -> None:
    def granting(*roles: str) -> set[str]:
        objects = render({"allowedClusterRoles": list(roles)})
        kinds = ("ClusterRole", "ClusterRoleBinding")
        found = [item["metadata"] for kind in kinds for item in of_kind(objects, kind)]
        assert not any("helm.sh/resource-policy" in m.get("annotations", {}) for m in found)
        return {m["name"].rpartition("-allows-")[2] for m in found if "-allows-" in m["name"]}

    assert granting("a", "b") == {"a", "b"}
    assert granting("a") == {"a"}
    assert granting() == set()


def test_without_rbac_the_operator_expects_no_object_of_the_chart() -> None:
    objects = render({"rbac": {"create": False}, "allowedClusterRoles": ["a"]})
    assert "CNPGP_CLUSTER_ROLE_GRANT_PREFIX" not in environment(objects)


@pytest.mark.parametrize("name", ["", "default"])
def test_the_default_account_gets_no_rights(name: str) -> None:
    account = {"create": False, "name": name}
    with pytest.raises(RenderError, match=r"Set serviceAccount\.name"):
        render({"serviceAccount": account})
    without = render({"serviceAccount": account, "rbac": {"create": False}})
    assert one(without, "Deployment")["spec"]["template"]["spec"]["serviceAccountName"] == "default"


def test_every_namespace_of_cloudnative_pg_gets_a_role_and_no_other_does() -> None:
    objects = render({"cnpg": {"namespaces": ["one", "two"]}})
    for kind in ("Role", "RoleBinding"):
        found = {
            (i["metadata"]["namespace"], i["metadata"]["name"]) for i in of_kind(objects, kind)
        }
        election = (NAMESPACE, f"{FULLNAME}-leader-election")
        assert found == {("one", FULLNAME), ("two", FULLNAME), election}


NARROW: Values = {
    "cnpg": {"namespaces": ["one", "two"]},
    "rbac": {"clusterWide": False, "clusterNamespaces": ["app", "two"]},
}


def test_an_operator_without_cluster_wide_rights_has_no_cluster_role() -> None:
    objects = render(NARROW)
    assert of_kind(objects, "ClusterRole") + of_kind(objects, "ClusterRoleBinding") == []
    assert environment(objects)["CNPGP_CLUSTER_NAMESPACES"] == "one,two,app"
    assert "CNPGP_CLUSTER_ROLE_GRANT_PREFIX" not in environment(objects)
    assert "CNPGP_CLUSTER_NAMESPACES" not in environment(render())


def test_it_reads_plugins_where_it_manages_and_clusters_where_they_are() -> None:
    objects = render(NARROW)
    for role in of_kind(objects, "Role"):
        namespace, name = role["metadata"]["namespace"], role["metadata"]["name"]
        if name == FULLNAME:
            assert namespace in {"one", "two"}
            assert verbs(role["rules"], "cnpgplugin.dev", "cnpgplugins") == LOOKED_AT | {"patch"}
            assert verbs(role["rules"], "cnpgplugin.dev", "cnpgplugins/status") == {"patch"}
        elif name == f"{FULLNAME}-clusters":
            assert verbs(role["rules"], "postgresql.cnpg.io", "clusters") == {"list", "watch"}
    named = [item["metadata"] for item in of_kind(objects, "Role") if "-clusters" in str(item)]
    assert [each["namespace"] for each in named] == ["one", "two", "app"]


def test_it_annotates_clusters_only_if_allowed() -> None:
    objects = render({**NARROW, "clusterRefresh": {"allowed": True}})
    roles = [i for i in of_kind(objects, "Role") if i["metadata"]["name"].endswith("-clusters")]
    for role in roles:
        assert verbs(role["rules"], "postgresql.cnpg.io", "clusters") & WRITING == {"patch"}


def test_it_cannot_bind_cluster_roles() -> None:
    with pytest.raises(RenderError, match=r"rbac\.clusterWide is false"):
        render({**NARROW, "allowedClusterRoles": ["barman-cloud"]})


def test_roles_for_users_are_aggregated() -> None:
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


def test_without_rbac_no_role_is_created() -> None:
    kinds = {item["kind"] for item in render({"rbac": {"create": False}})}
    assert not {"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"} & kinds
