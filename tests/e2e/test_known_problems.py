"""Each known problem is reproduced, named, shown by the commands on one screen, and remedied.

The table is in `tests/problems/rows.py`; `make problems` runs all of it and records the results,
other runs take a sample.
"""

from contextlib import contextmanager

import pytest

from tests.problems import faults, results
from tests.problems.rows import ROWS, Row
from tests.problems.world import World
from tests.support.e2e.operator import Operator
from tests.support.e2e.plugins import Plugins
from tests.support.thorough import THOROUGH, rows

HERE = tuple(row for row in ROWS if not row.test)
SAMPLE = tuple(row for row in ROWS if row.name == "doubled")

pytestmark = [
    pytest.mark.cnpg("sidecars" if THOROUGH else "untouched"),
    pytest.mark.usefixtures("leaving_cnpg_as_found"),
]


@pytest.mark.parametrize("row", rows(HERE, SAMPLE), ids=str)
def test_a_known_problem_is_named_and_remedied(
    row: Row, operator: Operator, plugins: Plugins
) -> None:
    world = World(operator, plugins, row)
    with results.recorded(row, kept=THOROUGH) as result:
        with contextmanager(getattr(faults, row.name))(world):
            result.message = world.until_named()
            world.look(result)
            for command in row.commands:
                world.run(command)
        result.lines["status once it is remedied"] = world.until_over()
