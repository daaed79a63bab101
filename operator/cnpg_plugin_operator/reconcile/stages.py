"""How a pass goes through its stages, one per condition, and when the next one is due.

A step of a stage only plans; what it plans is made here, before the next step.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from cnpg_plugin_operator.api.conditions import Type, Verdict
from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.reconcile.environment import FALLBACK_RETRY, RETRY, Environment
from cnpg_plugin_operator.reconcile.writes import Target, Write

logger = logging.getLogger(__name__)

LOGGED_ELSEWHERE: Final = frozenset({kinds.PLUGIN.kind, kinds.EVENT.kind})
"""Kinds whose writes say themselves what happened; the log does not list them."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What one step of a stage comes to."""

    verdict: Verdict | None = None
    """Holds once the writes are made; None where a later step of the stage judges."""
    writes: tuple[Write, ...] = ()
    """In this order."""
    looks: tuple[datetime, ...] = ()
    """Times at which the world changes by itself, so that the next pass is due."""


NOTHING: Final = Plan()
"""The plan of a step that has nothing to add."""


@dataclass(slots=True)
class Progress:
    """What one pass has done so far, and when it has to come back."""

    env: Environment
    live: dict[Target, Mapping[str, Any] | None] = field(default_factory=dict)
    """The live objects for the desired ones, updated with what this pass writes."""
    wrote: list[str] = field(default_factory=list)
    """What this pass wrote, for the log."""
    looks: list[datetime] = field(default_factory=list)
    """Times at which something changes without an event."""

    async def carry_out(self, plan: Plan) -> None:
        """Make the writes of a plan in their order; what was made is kept if one of them fails."""
        self.looks += plan.looks
        await self.make(*plan.writes)

    async def make(self, *writes: Write) -> None:
        """Make these writes in their order."""
        for write in writes:
            applied = await self.env.applier.apply(write, self.live.get(write.target))
            if applied.written and write.target[0] not in LOGGED_ELSEWHERE:
                self.wrote.append(" ".join(write.target))
            if applied.live is not None:
                self.keep(write.target, applied.live)

    def keep(self, target: Target, live: Mapping[str, Any]) -> None:
        """Keep an object as it was just written."""
        self.live[target] = live


Step = Callable[[], Awaitable[Plan]]
"""Reads what is left to be read, then plans; it writes nothing."""

Stages = Mapping[Type, Sequence[Step]]
"""The steps of each condition's stage, in order. A step sees what those before it wrote."""


@dataclass(frozen=True, slots=True)
class Requeue:
    """When to requeue, if no event happens before."""

    after: float | None
    """Seconds; None where only an event of the resource can change anything: it is gone, or in a
    namespace that is not managed."""
    error: Exception | None = None
    """The error of a failed pass, which is repeated with a back-off instead."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An error that ended a stage before it came to a verdict."""

    condition: Type
    """The stage's."""
    error: Exception


async def walk(
    stages: Stages,
    progress: Progress,
    verdicts: dict[Type, Verdict],
    reference: Mapping[str, str],
) -> Failure | None:
    """Carry out the plans of each stage until a verdict is not True; collect the verdicts.

    Returns the error that ended a stage, whatever it is, so that the results of the stages before
    it are not lost.
    """
    clock = asyncio.get_running_loop().time
    for kind, steps in stages.items():
        began = clock()
        try:
            for step in steps:
                plan = await step()
                await progress.carry_out(plan)
                if plan.verdict is not None:
                    verdicts[kind] = plan.verdict
                    _log_stage(kind, plan.verdict, clock() - began, reference)
                    if not plan.verdict.is_true:
                        return None
        except Exception as error:  # noqa: BLE001 - it becomes the stage's verdict
            return Failure(kind, error)
    return None


def _log_stage(
    condition: Type, verdict: Verdict, seconds: float, reference: Mapping[str, str]
) -> None:
    """Log how long a stage took, and what it waits for: together, a plugin's timeline."""
    logger.debug(
        "%s is %s, %s: %s",
        condition,
        verdict.status,
        verdict.reason,
        verdict.message,
        extra={**reference, "stage": condition, "seconds": round(seconds, 3)},
    )


def next_look(
    verdicts: Mapping[Type, Verdict],
    looks: Iterable[datetime],
    now: datetime,
    *,
    overdue: bool = False,
) -> float:
    """Return in how many seconds the next pass is due, if nothing wakes it earlier.

    `overdue` means that the pass waits for something that takes longer than it should, so it is
    checked rarely.
    """
    times = [max((moment - now).total_seconds(), 0.1) for moment in looks]
    last = next(reversed(list(verdicts.values())), None)
    if overdue:
        times.append(FALLBACK_RETRY)
    elif last is not None and not last.is_true:
        times.append(RETRY.get(last.reason, FALLBACK_RETRY))
    return min(times, default=FALLBACK_RETRY)
