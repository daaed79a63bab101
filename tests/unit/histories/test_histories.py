"""Whatever happened before: once nothing disturbs any more, all is as if nothing had happened."""

import copy
from typing import Any

from hypothesis import HealthCheck, example, given, settings

from cnpg_plugin_operator.cluster import kinds
from tests.support.thorough import times
from tests.unit.histories.stage import MOST_ROLLS, PRIVATE, HistoryStage
from tests.unit.histories.steps import Step
from tests.unit.histories.telling import HISTORIES

Specs = dict[str, dict[str, Any]]


async def undisturbed(specs: Specs) -> dict[str, Any]:
    """What the same resources are on a cluster without a history."""
    stage = HistoryStage()
    for name, spec in specs.items():
        stage.create(name, **copy.deepcopy(spec))
    await stage.converge()
    return stage.end_state()


@settings(
    max_examples=times(thorough=1000, usual=10),
    suppress_health_check=[HealthCheck.too_slow],
)
@given(HISTORIES)
@example([Step("create", ("a", 0), 2), Step("edit", ("a", 9), 2), Step("restart_cnpg", (), 3)])
@example([Step("create", ("a", 0), 2), Step("damage", ("a", 9), 0)])
@example([Step("create", ("a", 2), 2), Step("answer", ("a", 1), 0), Step("restart_cnpg", (), 3)])
@example([Step("create", ("a", 0), 2), Step("edit", ("a", 2), 0)])
async def test_every_history_ends_as_if_nothing_had_happened(history: list[Step]) -> None:
    stage = HistoryStage()
    for step in history:
        await step.run(stage)
    await stage.heal()
    before = stage.applies
    await stage.converge()

    assert stage.applies - before <= MOST_ROLLS
    specs = {name: stage.client.the(kinds.PLUGIN, name)["spec"] for name in stage.kept()}
    assert stage.end_state() == await undisturbed(specs)
    assert PRIVATE not in stage.public_text()
