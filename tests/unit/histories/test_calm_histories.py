"""What users may do to their resources at any time, and what fails beside it: no call fails."""

from datetime import timedelta

from hypothesis import HealthCheck, example, given, settings

from tests.support.thorough import times
from tests.unit.histories.stage import PLUGINS, HistoryStage
from tests.unit.histories.steps import SPECS, TO_AN_ISSUER, Step
from tests.unit.histories.telling import CALM_HISTORIES


@settings(
    max_examples=times(thorough=1000, usual=6),
    suppress_health_check=[HealthCheck.too_slow],
)
@given(CALM_HISTORIES)
@example([Step("slow_down", (0, 0), 0), Step("edit", ("a", TO_AN_ISSUER), 3)])
@example([Step("slow_down", (90, 20), 0), Step("edit", ("a", TO_AN_ISSUER), 3)])
async def test_no_call_fails_in_a_history_without_damage(history: list[Step]) -> None:
    stage = HistoryStage()
    for name, number in zip(PLUGINS, (0, 1, 1), strict=True):
        stage.create(name, **SPECS[number])
    await stage.converge()
    stage.kubelet.refreshes, stage.kubelet.lag = False, timedelta(seconds=30)
    stage.client.watch = stage.kubelet.follows = stage.kubelet.complain
    for step in history:
        await step.run(stage)
    await stage.heal()
    await stage.converge()
