from typing import Any

import pytest

from cnpg_plugin_operator.api.conditions import Reason
from cnpg_plugin_operator.decide.acceptance.cnpg_installation import LocatingInput, decide_locating
from cnpg_plugin_operator.decide.facts.cnpg import CNPGFacts
from tests.support.unit.builders import cnpg, plugin


def locating(
    *found: CNPGFacts, elsewhere: tuple[str, ...] = (), exists: bool = False, **spec: Any
) -> LocatingInput:
    return LocatingInput(
        plugin=plugin(**spec),
        managed_namespaces=("cnpg-system", "databases"),
        found=found,
        elsewhere=elsewhere,
        reference_exists=exists,
    )


ROWS = [
    pytest.param(locating(), Reason.CNPG_NOT_FOUND, "Install it there", id="nowhere"),
    pytest.param(
        locating(elsewhere=("databases",)), Reason.CNPG_NOT_FOUND, "it runs in databases",
        id="in another namespace",
    ),
    pytest.param(
        locating(cnpg={"deploymentName": "gone"}), Reason.CNPG_NOT_FOUND,
        "Deployment cnpg-system/gone, which spec.cnpg.deploymentName names, does not exist",
        id="not under the name that the resource gives",
    ),
    pytest.param(
        locating(cnpg={"deploymentName": "web"}, exists=True), Reason.CNPG_NOT_FOUND,
        "Deployment cnpg-system/web, which spec.cnpg.deploymentName names, is not CloudNativePG's",
        id="something else under the name that the resource gives",
    ),
    pytest.param(
        locating(cnpg(deployment="b"), cnpg(deployment="a")), Reason.CNPG_AMBIGUOUS,
        "several CloudNativePG Deployments: a, b. Name one in spec.cnpg.deploymentName",
        id="two in one namespace",
    ),
    pytest.param(
        locating(cnpg(watches=("app", "other"))), Reason.CNPG_NOT_WATCHING,
        "watches only app, other",
        id="one that watches other namespaces only",
    ),
    pytest.param(
        locating(cnpg(watches=("app",), olm="cloudnative-pg.v1.30.0")), Reason.CNPG_NOT_WATCHING,
        "targetNamespaces of its OperatorGroup",
        id="one whose OperatorGroup leaves its namespace out",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("given", "reason", "words"), ROWS)
def test_a_problem_with_cloudnativepgs_installation_is_reported(
    given: LocatingInput, reason: Reason, words: str
) -> None:
    verdict = decide_locating(given)

    assert verdict is not None
    assert verdict.reason is reason
    assert words in verdict.message


@pytest.mark.parametrize("watches", [(), ("cnpg-system",), ("app", "cnpg-system")])
def test_a_cloudnativepg_that_watches_its_own_namespace_is_accepted(
    watches: tuple[str, ...],
) -> None:
    assert decide_locating(locating(cnpg(watches=watches))) is None


def test_a_reference_that_is_found_is_enough() -> None:
    assert decide_locating(locating(cnpg(deployment="two"), cnpg={"deploymentName": "two"})) is None
