"""When the set of sidecars is applied: once for all changes that occur together, and safely.

Applying it rolls CloudNativePG. So it waits while CloudNativePG or a Cluster is busy, unless a
sidecar may be the cause: a change or removal of that sidecar is applied at once.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from cnpg_plugin_operator.decide import first
from cnpg_plugin_operator.decide.facts.cnpg import CNPGFacts
from cnpg_plugin_operator.decide.registration.obstacles import LOOK_AGAIN, find_obstacle
from cnpg_plugin_operator.decide.registration.restart import Pace, find_pause


class Roll(StrEnum):
    """What to do about the set of sidecars now."""

    NOTHING = "Nothing"
    FORBIDDEN = "Forbidden"
    WAIT = "Wait"
    APPLY = "Apply"


@dataclass(frozen=True, slots=True)
class RolloutInput:
    """The input of the decision."""

    differs: bool
    """Whether the Deployment differs from the desired set."""
    forbidden: bool
    """Whether no resource that wants a change allows CloudNativePG to be rolled."""
    unblocking: bool
    """Whether CloudNativePG's newest pod is not ready, or cannot be created, and this changes or
    removes a sidecar that may be the cause."""
    cnpg: CNPGFacts
    busy: tuple[str, ...]
    """The Clusters that are failing over, switching over or upgrading."""
    first: datetime
    """When the Deployment was first seen to differ."""
    last: datetime
    """When the difference last changed."""
    pace: Pace
    now: datetime


@dataclass(frozen=True, slots=True)
class Rollout:
    """A decision with its reason, and when to decide again."""

    action: Roll
    reason: str = ""
    after: timedelta = field(default=timedelta(0), compare=False)


def decide_rollout(given: RolloutInput) -> Rollout:
    """Decide whether the set of sidecars is applied now."""
    return first(CHECKS, given) or Rollout(Roll.APPLY)


def _nothing_differs(given: RolloutInput) -> Rollout | None:
    """The Deployment equals the desired set."""
    return None if given.differs else Rollout(Roll.NOTHING)


def _forbidden(given: RolloutInput) -> Rollout | None:
    """Every resource that would change forbids it."""
    if not given.forbidden:
        return None
    return Rollout(Roll.FORBIDDEN, "cnpg.restartPolicy is Never")


def _unblocking(given: RolloutInput) -> Rollout | None:
    """CloudNativePG's new pod is not ready anyway: a roll cannot make it worse."""
    return Rollout(Roll.APPLY) if given.unblocking else None


def _resting(given: RolloutInput) -> Rollout | None:
    """CloudNativePG is scaled down: nothing rolls."""
    return Rollout(Roll.APPLY) if given.cnpg.replicas == 0 else None


def _obstructed(given: RolloutInput) -> Rollout | None:
    """A rollout is in progress, or a Cluster is busy."""
    obstacle = find_obstacle(given.cnpg, given.busy)
    return Rollout(Roll.WAIT, obstacle.reason, obstacle.after) if obstacle else None


def _cooling_down(given: RolloutInput) -> Rollout | None:
    """This operator rolled CloudNativePG a short time ago."""
    pause = find_pause(given.cnpg, given.pace, given.now)
    return Rollout(Roll.WAIT, pause.reason, pause.after) if pause is not None else None


def _settling(given: RolloutInput) -> Rollout | None:
    """Another sidecar has just changed; more may follow."""
    due = min(given.last + given.pace.settle, given.first + given.pace.settle_max)
    if due <= given.now:
        return None
    left = due - given.now
    return Rollout(Roll.WAIT, "other sidecars may change as well", min(left, LOOK_AGAIN))


CHECKS: Final = (
    _nothing_differs,
    _forbidden,
    _unblocking,
    _resting,
    _obstructed,
    _cooling_down,
    _settling,
)
"""In this order: whether there is anything to do, what forbids, what unblocks, what waits."""
