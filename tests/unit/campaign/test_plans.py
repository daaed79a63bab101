"""The enumeration of plans from recordings: every class has plans, and each has its own name."""

from collections import Counter

import pytest

from tests.campaign.classes import CLASSES
from tests.campaign.lane import CNPG
from tests.campaign.mutants import MUTANTS
from tests.campaign.plans import Plan, Recording, spread
from tests.campaign.workloads import WORKLOADS

CALLS = [
    ("patch-services-p-1", "patch", "services"),
    ("get-cnpgplugins-p-1", "get", "cnpgplugins"),
    ("list-pods-1", "list", "pods"),
    ("watch-pods-1", "watch", "pods"),
]
OWN = {"app.kubernetes.io/managed-by": "cnpg-plugin-operator"}
STATE = {
    "services/p": {"labels": OWN, "spec": {"ports": [{"port": 1}]}},
    "secrets/foreign": {"labels": {}, "data": ["tls.crt"]},
    "deployments/p": {"labels": OWN, "spec": {"replicas": 1, "template": {"dnsPolicy": "Default"}}},
    f"deployments/{CNPG}": {"labels": {"a": "b"}, "spec": {"replicas": 1}},
}
RECORDINGS = {name: Recording(name, STATE, [], CALLS, 4, 0) for name in WORKLOADS}


@pytest.fixture(scope="module")
def plans() -> list[Plan]:
    return [plan for build in CLASSES.values() for plan in build(RECORDINGS)]


def test_each_class_has_plans_under_its_name() -> None:
    for group, build in CLASSES.items():
        assert {plan.group for plan in build(RECORDINGS)} == {group}
        assert not list(build({}))


def test_a_name_is_that_of_one_plan(plans: list[Plan]) -> None:
    names = Counter(plan.name for plan in plans)
    assert [name for name, count in names.items() if count > 1] == []


def test_every_write_meets_every_fault_before_and_after(plans: list[Plan]) -> None:
    at = [plan.what for plan in plans if plan.name.startswith("create/patch-services-p-1/")]
    assert len(at) == 9 * 2 + 2
    assert {"patch-services-p-1/409-after", "patch-services-p-1/kill-before"} <= set(at)


def test_only_children_are_mutated_for_good(plans: list[Plan]) -> None:
    mutated = {plan.what.partition("/")[0] for plan in plans if plan.group == "mutation"}
    assert mutated == {"services.p", "deployments.p", f"deployments.{CNPG}", "cnpgplugins.p"}


def test_what_the_operator_leaves_to_the_api_server_is_not_mutated(plans: list[Plan]) -> None:
    fields = {plan.what.partition("/")[2] for plan in plans if "deployments.p/" in plan.what}
    assert "spec.replicas" in fields
    assert "spec.template.dnsPolicy" not in fields


def test_each_mutant_names_workloads_that_there_are() -> None:
    for mutant in MUTANTS:
        for pattern in mutant.plans:
            assert pattern.partition("/")[0] in {*WORKLOADS, "*"}


@pytest.mark.parametrize("count", [1, 20, 100, 10_000])
def test_a_sample_has_small_classes_whole_and_shares_of_others(
    plans: list[Plan], count: int
) -> None:
    chosen = spread(plans, count)
    assert len(chosen) == min(count, len(plans))
    assert len({plan.name for plan in chosen}) == len(chosen)
    sizes = Counter(plan.group for plan in plans)
    found = Counter(plan.group for plan in chosen)
    whole = [group for group in sizes if found[group] == sizes[group]]
    assert all(found[group] + 1 >= max(found.values()) for group in sizes if group not in whole)
