"""Helm 4 was tried with every set of values; `make helm-4` records a new one."""

from tests.support import outcomes
from tests.support.chart.rendering import ROOT
from tests.support.chart.value_sets import VALUE_SETS

ONCE_FOR_EACH = (
    "test_helm_4_renders_what_helm_3_renders[{}]",
    "test_helm_finds_nothing_to_improve[helm-{}]",
    "test_helm_finds_nothing_to_improve[helm4-{}]",
    "test_the_api_server_accepts_what_helm_4_renders[{}]",
)


def test_helm_4_rendered_every_set_of_values() -> None:
    recorded = outcomes.read(ROOT / "tests" / "helm")
    expected = {test.format(name) for test in ONCE_FOR_EACH for name in VALUE_SETS}
    assert expected <= recorded.keys()
    assert set(recorded.values()) == {"passed"}
