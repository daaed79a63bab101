"""How the comparison of granted and used rights reads the audit log."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from tests.e2e import conftest
from tests.support.rights import Granted, Refusal, Right, expand, read_uses

ROOT = Path(__file__).resolve().parents[2]
USER = "system:serviceaccount:operators:operator"
ROLE = 'RoleBinding "operator/cnpg-system"'
CLUSTER_ROLE = 'ClusterRoleBinding "operator"'


def entry(
    verb: str, target: dict[str, str], binding: str = ROLE, code: int = 200, user: str = USER
) -> dict[str, Any]:
    reason = f'RBAC: allowed by {binding} of Role "operator" to ServiceAccount "operator/operators"'
    decision = "allow" if binding else "forbid"
    return {
        "user": {"username": user},
        "verb": verb,
        "objectRef": target,
        "responseStatus": {"code": code},
        "annotations": {
            "authorization.k8s.io/decision": decision,
            "authorization.k8s.io/reason": reason if binding else "",
        },
    }


PODS = {"resource": "pods", "namespace": "cnpg-system"}
BINDINGS = {"resource": "rolebindings", "apiGroup": "rbac.authorization.k8s.io"}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    lines = [
        entry("delete", PODS),
        entry("get", PODS, CLUSTER_ROLE),
        entry("list", PODS, user=USER + "s"),
        entry("patch", {**PODS, "subresource": "status"}),
        entry("patch", BINDINGS, code=201),
        entry("patch", {"resource": "services"}, code=422),
        entry("create", {"resource": "secrets", "namespace": "app"}, binding="", code=403),
        {"user": {"username": USER}, "verb": "get", "requestURI": "/version"},
    ]
    path = tmp_path / "audit.log"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"cut off')
    return path


def test_each_use_counts_for_the_binding_that_allowed_it(log: Path) -> None:
    group = BINDINGS["apiGroup"]
    assert read_uses(log, USER, 0).granted == {
        Granted(Right("", "pods", "delete"), ROLE),
        Granted(Right("", "pods", "get"), CLUSTER_ROLE),
        Granted(Right("", "pods/status", "patch"), ROLE),
        Granted(Right("", "services", "patch"), ROLE),
        Granted(Right(group, "rolebindings", "patch"), ROLE),
        Granted(Right(group, "rolebindings", "create"), ROLE),
        Granted(Right(group, "roles", "bind"), ROLE),
    }


def test_unused_rights_are_found_for_each_binding(log: Path) -> None:
    group, uses = BINDINGS["apiGroup"], read_uses(log, USER, 0)
    bind = Granted(Right(group, "roles", "bind"), CLUSTER_ROLE)
    other = Granted(Right(group, "clusterroles", "bind"), CLUSTER_ROLE)
    idle = Granted(Right("", "pods", "delete"), CLUSTER_ROLE)

    assert uses.find_unused({bind, other, idle, *uses.granted}) == {other, idle}


def test_a_forbidden_request_is_distinguished_from_a_failed_one(log: Path) -> None:
    assert read_uses(log, USER, 0).refused == {Refusal(Right("", "secrets", "create"), "app")}


def test_a_right_in_one_namespace_allows_nothing_in_another() -> None:
    right = Right("", "secrets", "create")
    places = ("cnpg-system", "app", "")
    narrow, wide = Granted(right, ROLE), Granted(right, CLUSTER_ROLE)
    assert [narrow.covers(Refusal(right, place)) for place in places] == [True, False, False]
    assert [wide.covers(Refusal(right, place)) for place in places] == [True, True, True]
    assert not wide.covers(Refusal(Right("", "secrets", "get"), "app"))


def test_requests_before_the_run_do_not_count(log: Path) -> None:
    first = log.read_bytes().index(b"\n") + 1
    uses = read_uses(log, USER, first).granted
    assert Granted(Right("", "pods", "delete"), ROLE) not in uses
    assert Granted(Right("", "pods", "get"), CLUSTER_ROLE) in uses


def test_a_rule_has_one_right_for_each_combination() -> None:
    rule = {"apiGroups": ["", "apps"], "resources": ["a", "b/status"], "verbs": ["get", "list"]}
    rights = set(expand([rule, rule]))
    assert len(rights) == 8
    assert str(Right("apps", "b/status", "get")) == "get b.apps/status"
    assert Right("apps", "b/status", "get") in rights


E2E = Path(conftest.__file__).parent
COMPARISON = E2E / "test_rights_used.py"
ALL = sorted(E2E.glob("test_*.py"))


def item_of(module: Path) -> SimpleNamespace:
    """A test of a module, reduced to what determines its place in the order."""
    marks = {"cnpg": pytest.mark.cnpg("any" if module == COMPARISON else "untouched").mark}
    return SimpleNamespace(path=module, get_closest_marker=marks.get)


@pytest.mark.parametrize(
    ("chosen", "compared"),
    [
        pytest.param(ALL, [COMPARISON], id="all modules"),
        pytest.param([ROOT / "tests" / "unit" / "test_a.py", *ALL], [COMPARISON], id="all tests"),
        pytest.param(ALL[1:], [], id="one module less"),
        pytest.param([COMPARISON], [], id="it alone"),
    ],
)
def test_the_comparison_runs_last_or_not_at_all(chosen: list[Path], compared: list[Path]) -> None:
    items: list[Any] = [item_of(path) for path in chosen]
    config: Any = Mock()
    conftest.pytest_collection_modifyitems(config, items)
    left = [item.path for item in items]
    assert left[len(left) - len(compared) :] == compared
    assert left.count(COMPARISON) == len(compared)
    assert len(left) == len(chosen) - (not compared)
    assert config.hook.pytest_deselected.called == (not compared)
