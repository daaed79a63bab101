"""A plan: one line of the table, `workload/position/fault`, which replays it.

A class of plans is a module in `classes/` with a generator that enumerates its plans from the
recordings of the undisturbed runs, and a row in `classes/__init__.py`.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

from tests.campaign.calls import WRITES
from tests.campaign.lane import Lane
from tests.campaign.oracle import State
from tests.campaign.workloads import WORKLOADS, Workload

Disturb = Callable[[Lane], AbstractAsyncContextManager[asyncio.Event]]
"""Begins before the user acts; ends when nothing disturbs any more. Its event says that the
disturbance has happened."""


class RefusedError(Exception):
    """The API server refuses the disturbance: nothing has happened."""


class UnpreparedError(TimeoutError):
    """The plan could not begin, because of what happened before it."""


@dataclass(frozen=True)
class Plan:
    """A workload, and what disturbs it."""

    group: str
    """Its class."""
    workload: Workload
    what: str
    """The rest of its name: position and fault."""
    disturb: Disturb
    interrupts: bool = False
    """Whether calls of the plugin may fail because of the disturbance itself."""
    rolls: int = 0
    """How often CloudNativePG may be rolled beside the rolls of the undisturbed run."""
    requests: int = 0
    """How many requests the disturbance explains, beside the usual bound."""
    recounts: bool = False
    """Whether CloudNativePG's Deployment is another one then, whose count of rolls begins again."""
    may_leave: tuple[str, ...] = ()
    """Paths in the state that may differ because of the disturbance."""
    alone: bool = False
    """Whether it disturbs the whole cluster, and so runs while no other plan does."""
    within: float = 150.0
    """Seconds until the end state is reached, once nothing disturbs any more."""

    @property
    def name(self) -> str:
        """How a person calls it."""
        return f"{self.workload.name}/{self.what}"


@dataclass(frozen=True)
class Recording:
    """An undisturbed run of a workload."""

    workload: str
    state: State
    """Its end state."""
    mask: Sequence[str]
    """Paths in the state that differ from run to run."""
    calls: Sequence[tuple[str, str, str]]
    """Position, verb and resource of each request that every run makes."""
    requests: int
    """How many there are."""
    rolls: int
    """How often CloudNativePG is rolled."""
    failed: int = 0
    """How many calls of the probe failed."""
    seconds: float = field(default=0.0)
    """How long it took until the end state."""

    @property
    def writes(self) -> list[str]:
        """The positions of its writes."""
        return [position for position, verb, _ in self.calls if verb in WRITES]

    @property
    def reads(self) -> list[str]:
        """The positions of its reads, without watches."""
        return [position for position, verb, _ in self.calls if verb in ("get", "list")]

    @property
    def about(self) -> Workload:
        """What was run."""
        return WORKLOADS[self.workload]

    def to_json(self) -> dict[str, Any]:
        """Give what is kept for the next run."""
        return dict(vars(self))


Recordings = Mapping[str, Recording]
"""By workload."""

Enumerate = Callable[[Recordings], Iterator[Plan]]
"""Gives the plans of a class, of the workloads that were recorded."""


def spread(plans: Sequence[Plan], count: int) -> list[Plan]:
    """Choose so many plans: small classes whole, as many of each other one, evenly spaced."""
    groups: dict[str, list[Plan]] = {}
    for plan in plans:
        groups.setdefault(plan.group, []).append(plan)
    chosen: list[Plan] = []
    for left, group in enumerate(sorted(groups.values(), key=len), start=-len(groups)):
        share = min(len(group), (count - len(chosen)) // -left)
        chosen += [group[index * len(group) // share] for index in range(share)]
    return sorted(chosen, key=plans.index)
