"""`make alerts` was run with every alert of the chart, and the documentation says with what."""

import ast
from collections.abc import Iterator

import pytest

from tests.alerts import causes, everyday
from tests.alerts.live import AFTER
from tests.support import outcomes
from tests.support.chart.rendering import ROOT

FOLDER = ROOT / "tests" / "alerts"
PAGE = ROOT / "docs" / "operate" / "monitoring.md"

ROWS = {
    "test_no_alert_fires_for": everyday.EVERYDAY,
    "test_an_alert_fires_for": causes.TOGETHER,
    "test_an_alert_resolves_after": causes.TOGETHER,
    "test_an_alert_fires_and_resolves": causes.ALONE,
}
"""The tests with parameters."""


def runs() -> Iterator[str]:
    """The name of every test, with its row."""
    for module in FOLDER.glob("test_*.py"):
        for node in ast.parse(module.read_text()).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                rows = ROWS.get(node.name)
                yield from [node.name] if rows is None else [f"{node.name}[{row}]" for row in rows]


def test_every_test_was_run_and_passed() -> None:
    assert outcomes.read(FOLDER) == dict.fromkeys(runs(), "passed")


def test_each_alert_of_the_chart_has_a_cause() -> None:
    assert sorted(AFTER) == sorted(cause.alert for cause in causes.CAUSES)


@pytest.mark.parametrize("written", [causes.page(), everyday.page()], ids=["causes", "everyday"])
def test_the_documentation_has_it(written: str) -> None:
    assert written in PAGE.read_text()
