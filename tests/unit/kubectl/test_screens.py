"""Each answer about each state of a plugin fits a screen, and says what the state is.

The states are those of the documentation's table. The known problems are asked about on a real
cluster (`make problems`).
"""

import pytest

from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.commands.diagnose import render_text
from cnpg_plugin_operator.kubectl.output import Style
from cnpg_plugin_operator.kubectl.status import (
    find_users,
    is_as_wanted,
    report,
    write_all,
    write_one,
)
from tests.support.screen import LINES, lines_of
from tests.support.unit.fake_kubectl import FakeKubectl
from tests.support.unit.stage.readings import READINGS, Reading
from tests.unit.commands.test_diagnose import diagnose

TERMINAL = 24
"""Lines of a terminal as it opens."""

PLAIN = Style(coloured=False)
EACH = pytest.mark.parametrize("reading", READINGS, ids=str)


@EACH
async def test_status_fits_a_terminal(reading: Reading) -> None:
    stage = await reading.make()
    kubectl = FakeKubectl(stage.client)
    body = kubectl.get(kinds.PLUGIN, "hello", "cnpg-system")
    told = report(body, find_users(kubectl), stage.clock())

    for answer in (write_one(told, PLAIN), write_all([told], PLAIN)):
        assert lines_of(answer) <= TERMINAL
        assert told["reason"] in answer or "Suspended" in answer
    assert is_as_wanted(told) == reading.ready


@EACH
async def test_diagnose_fits_a_screen(reading: Reading) -> None:
    stage = await reading.make()
    found = await diagnose(stage)

    assert lines_of(render_text([found])) <= LINES
    assert found.is_as_wanted == (reading.ready and reading.argo in ("Healthy", "Suspended"))
