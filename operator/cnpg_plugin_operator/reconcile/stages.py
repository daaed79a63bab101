"""How a pass goes through its stages, one per condition, and when the next one is due."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from cnpg_plugin_operator.api.conditions import Type, Verdict
from cnpg_plugin_operator.reconcile.environment import FALLBACK_RETRY, RETRY

Stage = Callable[[], Awaitable[Verdict]]
"""Does what a condition needs, then judges it."""


@dataclass(frozen=True, slots=True)
class Requeue:
    """When to come back, should nothing happen before."""

    after: float | None
    """Seconds; None where nothing but an event of the resource changes anything: it is gone, or in
    a namespace that is not managed."""
    error: Exception | None = None
    """What the pass failed with: it is repeated ever more seldom instead."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An error that ended a stage before it came to a verdict."""

    condition: Type
    """The stage's."""
    error: Exception


async def walk(stages: Mapping[Type, Stage], verdicts: dict[Type, Verdict]) -> Failure | None:
    """Go through the stages until one is not True, and note the verdict of each.

    Returns the error that a stage ended in, whatever it is: what the stages before it did and found
    is not lost with it.
    """
    for kind, stage in stages.items():
        try:
            verdicts[kind] = verdict = await stage()
        except Exception as error:  # noqa: BLE001 - it becomes the stage's verdict
            return Failure(kind, error)
        if not verdict.is_true:
            return None
    return None


def next_look(
    verdicts: Mapping[Type, Verdict],
    wake: Iterable[datetime],
    now: datetime,
    *,
    overdue: bool = False,
) -> float:
    """Say in how many seconds the next pass is due, should nothing wake it earlier.

    `overdue` tells that what the pass waits for takes longer than it should, so that it is checked
    seldom.
    """
    times = [max((moment - now).total_seconds(), 0.1) for moment in wake]
    last = next(reversed(list(verdicts.values())), None)
    if overdue:
        times.append(FALLBACK_RETRY)
    elif last is not None and not last.is_true:
        times.append(RETRY.get(last.reason, FALLBACK_RETRY))
    return min(times, default=FALLBACK_RETRY)
