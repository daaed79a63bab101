"""When CloudNativePG is restarted: once for all plugins that became ready together.

A restart reads every published Service anew, whoever asked for it; so it is noted as being for all
of them, and the waiting looks at all of them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from cnpg_plugin_operator.decide.facts import Announcement, CNPGFacts
from cnpg_plugin_operator.decide.registration import is_covered

LOOK_AGAIN: Final = timedelta(seconds=2)
"""At the latest, while it is waited for others: they may be ready, or given up, at any time."""


class Action(StrEnum):
    """What to do about CloudNativePG now."""

    NOTHING = "Nothing"
    WAIT = "Wait"
    RESTART = "Restart"


@dataclass(frozen=True, slots=True)
class Pace:
    """How restarts are spaced; all are settings of the operator."""

    settle: timedelta = timedelta(seconds=10)
    """Wait until no further plugin became ready for so long."""
    settle_max: timedelta = timedelta(seconds=60)
    """But never longer than this after the first."""
    cooldown: timedelta = timedelta(minutes=5)
    """Between two restarts."""


@dataclass(frozen=True, slots=True)
class RestartInput:
    """What the decision is made from."""

    cnpg: CNPGFacts
    published: Mapping[str, Announcement]
    """Every published plugin of the namespace, by the name of its `CNPGPlugin`."""
    coming: int
    """How many others of the namespace are on their way to being published."""
    pace: Pace
    now: datetime
    known: frozenset[str] = frozenset()
    """Plugins whose announced revision was seen registered: they need nothing."""


@dataclass(frozen=True, slots=True)
class RestartDecision:
    """An action with its reason, and when to decide again."""

    action: Action
    reason: str
    after: timedelta = timedelta(0)
    revisions: Mapping[str, str] = field(default_factory=dict)
    """What the restart is for: plugin → revision."""


Check = Callable[[RestartInput], RestartDecision | None]


def decide_restart(given: RestartInput) -> RestartDecision:
    """Decide for a namespace in which at least one plugin needs CloudNativePG restarted."""
    return next(decision for check in CHECKS if (decision := check(given)) is not None)


def _uncovered(given: RestartInput) -> list[Announcement]:
    return [
        announcement
        for name, announcement in given.published.items()
        if name not in given.known
        and not is_covered(name, announcement, given.cnpg)
        and given.cnpg.restarted_for.get(name) != announcement.revision
    ]


def _nothing_left(given: RestartInput) -> RestartDecision | None:
    """Every announcement was read, or the restart that will read it is under way."""
    if _uncovered(given):
        return None
    return RestartDecision(Action.NOTHING, "every announced revision is covered")


def _rolling(given: RestartInput) -> RestartDecision | None:
    """A rollout is under way: never start another on top of it."""
    if given.cnpg.rolling or not given.cnpg.available or given.cnpg.leader is None:
        return RestartDecision(
            Action.WAIT, "CloudNativePG is being rolled out", timedelta(seconds=2)
        )
    return None


def _cooling_down(given: RestartInput) -> RestartDecision | None:
    """The last restart was a short while ago."""
    last = given.cnpg.restarted_at
    if last is None or last + given.pace.cooldown <= given.now:
        return None
    left = last + given.pace.cooldown - given.now
    return RestartDecision(Action.WAIT, f"the last restart was at {last:%H:%M:%S} UTC", left)


def _settling(given: RestartInput) -> RestartDecision | None:
    """Another plugin became ready just now, or is about to; more may follow."""
    times = sorted(announcement.announced_at for announcement in _uncovered(given))
    latest = times[0] + given.pace.settle_max
    due = latest if given.coming else min(times[-1] + given.pace.settle, latest)
    if due <= given.now:
        return None
    return RestartDecision(
        Action.WAIT,
        f"{len(times)} plugins became ready, {given.coming} more are on their way",
        min(due - given.now, LOOK_AGAIN),
    )


def _restart(given: RestartInput) -> RestartDecision | None:
    """Restart for everything that is published."""
    return RestartDecision(
        Action.RESTART,
        f"{len(_uncovered(given))} announced revisions are new to CloudNativePG",
        revisions={name: a.revision for name, a in sorted(given.published.items())},
    )


CHECKS: Final[tuple[Check, ...]] = (
    _nothing_left,
    _rolling,
    _cooling_down,
    _settling,
    _restart,
)
