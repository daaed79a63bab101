"""The table of known problems was run as it is, and is what the documentation shows."""

import re
from pathlib import Path

import pytest

from cnpg_plugin_operator.api.conditions import SUMMED_UP, Reason
from tests.problems import faults, results
from tests.problems.rows import ROWS, Row
from tests.support.screen import LINES

RECORDED = results.read()
EACH = pytest.mark.parametrize("row", ROWS, ids=str)


@EACH
def test_each_problem_was_reproduced_named_and_remedied(row: Row) -> None:
    """Not necessarily with the present commit; `make problems` runs a new row."""
    found = RECORDED[row.name]
    assert found.outcome == "passed"
    assert re.search(row.says, found.message)
    asked = {"status", "diagnose", "diagnose in the pod", "status once it is remedied"}
    assert found.lines.keys() == asked
    assert max(found.lines.values()) <= LINES


@EACH
def test_each_problem_has_a_known_name(row: Row) -> None:
    assert row.reason in {"", *Reason}
    assert row.condition in {"", *SUMMED_UP}
    assert bool(row.reason) == bool(row.condition)


def test_each_row_is_reproduced_by_a_function_of_its_name() -> None:
    own = {
        name
        for name, each in vars(faults).items()
        if getattr(each, "__module__", "") == faults.__name__ and name[0].islower()
    }
    assert own == {row.name for row in ROWS if not row.test}


@pytest.mark.parametrize("row", [row for row in ROWS if row.test], ids=str)
def test_each_named_test_exists(row: Row) -> None:
    module, _, name = row.test.partition("::")
    text = (Path(results.__file__).parents[1] / "e2e" / module).read_text()
    assert f"\ndef {name}(" in text
    assert f'"{row.name}"' in text


def test_most_problems_need_no_person() -> None:
    assert len(ROWS) >= 22
    assert sum(row.automatic for row in ROWS) >= 15
