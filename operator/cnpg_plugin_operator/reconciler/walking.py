"""How a pass goes through its stages, one per condition, and when the next one is due."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime

from cnpg_plugin_operator import errors
from cnpg_plugin_operator.api.conditions import Reason, Type, Verdict, no
from cnpg_plugin_operator.reconciler.tools import FALLBACK_RETRY, RETRY

Stage = Callable[[], Awaitable[Verdict]]
"""Does what a condition needs, then judges it."""


async def walk(stages: Mapping[Type, Stage], verdicts: dict[Type, Verdict]) -> None:
    """Go through the stages until one is not True, and note the verdict of each."""
    for kind, stage in stages.items():
        try:
            verdict = await stage()
        except errors.WriteLoopError as error:
            verdict = no(Reason.WRITE_LOOP_STOPPED, str(error))
        verdicts[kind] = verdict
        if not verdict.is_true:
            return


def next_look(
    verdicts: Mapping[Type, Verdict],
    wake: Iterable[datetime],
    now: datetime,
    *,
    overdue: bool = False,
) -> float:
    """Say in how many seconds the next pass is due, should nothing wake it earlier.

    `overdue` tells that what is waited for takes longer than it should, so that it is looked at
    seldom.
    """
    times = [max((moment - now).total_seconds(), 0.1) for moment in wake]
    last = list(verdicts.values())[-1]
    if overdue:
        times.append(FALLBACK_RETRY)
    elif not last.is_true:
        times.append(RETRY.get(last.reason, FALLBACK_RETRY))
    return min(times, default=FALLBACK_RETRY)
