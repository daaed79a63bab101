"""The page about CloudNativePG's versions shows the recorded results."""

import ast
from pathlib import Path

import pytest

from cnpg_plugin_operator.decide.facts.cnpg_versions import Fact
from tests.matrix import results
from tests.matrix.page import FACTS, PAGE, fill
from tests.matrix.results import Result
from tests.matrix.rows import COLUMNS, ROWS, Column

TESTS = Path(results.__file__).with_name("test_versions.py")


def test_the_page_is_current() -> None:
    page = PAGE.read_text()
    assert page == fill(page, results.read())


@pytest.mark.parametrize("column", COLUMNS, ids=str)
def test_every_cell_was_run_and_passed(column: Column) -> None:
    """Not necessarily with the present commit; a new row has to be run in all columns."""
    found = results.read().get(str(column), {})
    assert list(found) == list(ROWS)
    for test, result in found.items():
        assert result.outcome == "passed", test
        assert result.rolls in ROWS[test].allowed(column.cnpg), test


def test_the_page_explains_every_fact() -> None:
    assert list(FACTS) == list(Fact)


def test_each_row_is_a_test_and_each_test_is_a_row() -> None:
    tree = ast.parse(TESTS.read_text())
    functions = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    assert sorted(name for name in functions if name.startswith("test_")) == sorted(ROWS)


def test_a_failed_or_missing_cell_is_shown() -> None:
    first, second = list(ROWS)[:2]
    tests = {first: Result("failed", 0, "v1.34.3"), second: Result("passed", 1, "v1.34.3")}
    shown = fill(PAGE.read_text(), {str(COLUMNS[0]): tests})
    assert f"| {ROWS[first].title} | **failed** | not run |" in shown
    assert f"| {ROWS[second].title} | ✓ (1) | not run |" in shown
