"""Since when sidecars wait for a change, and which the API server refuses: kept in memory.

A new process determines both again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from cnpg_plugin_operator.api.conditions import Verdict

Refusals = Mapping[str, Mapping[str, Verdict]]
"""Why the API server refuses a sidecar, by resource and revision."""

FIRST_PAUSE: Final = timedelta(seconds=30)
"""Time after which a refused sidecar is tried again; doubled each time."""

LONGEST_PAUSE: Final = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class _Change:
    """A desired set of sidecars that is not applied yet."""

    wanted: str
    """Digest of the set."""
    first: datetime
    """When a difference was first seen."""
    last: datetime
    """When it last changed."""


@dataclass(frozen=True, slots=True)
class _Refused:
    """A sidecar that the API server refused."""

    revision: str
    verdict: Verdict
    until: datetime
    """When it is tried again, unless its spec changes."""
    times: int


@dataclass(slots=True)
class Pending:
    """Since when sidecars wait for a change, by Deployment of CloudNativePG.

    Only the pause before a roll depends on it: a new process starts the pause again.
    """

    _pending: dict[str, _Change] = field(default_factory=dict)
    _refused: dict[tuple[str, str], _Refused] = field(default_factory=dict)
    """By Deployment and resource."""

    def refuse(
        self, deployment: str, name: str, revision: str, verdict: Verdict, now: datetime
    ) -> None:
        """Record that the API server refuses a sidecar, each time for longer."""
        known = self._refused.get((deployment, name))
        times = known.times + 1 if known is not None and known.revision == revision else 1
        pause = min(FIRST_PAUSE * (1 << min(times - 1, 16)), LONGEST_PAUSE)
        self._refused[deployment, name] = _Refused(revision, verdict, now + pause, times)

    def refused(self, deployment: str, now: datetime) -> Refusals:
        """Return which sidecars are not tried now."""
        return {
            name: {each.revision: each.verdict}
            for (where, name), each in self._refused.items()
            if where == deployment and now < each.until
        }

    def last_refusals(self, deployment: str) -> Mapping[tuple[str, str], Verdict]:
        """Return why sidecars were refused at their last attempt, by resource and revision.

        They may be due again.
        """
        return {
            (name, each.revision): each.verdict
            for (where, name), each in self._refused.items()
            if where == deployment
        }

    def accept(self, deployment: str, name: str) -> None:
        """Record that a sidecar was placed, or removed."""
        self._refused.pop((deployment, name), None)

    def record(self, deployment: str, wanted: str, now: datetime) -> tuple[datetime, datetime]:
        """Record that a set is desired; return since when any set is, and since when this one."""
        known = self._pending.get(deployment) or _Change(wanted, now, now)
        last = known.last if known.wanted == wanted else now
        self._pending[deployment] = _Change(wanted, known.first, last)
        return known.first, last

    def settle(self, deployment: str) -> None:
        """Record that no change is pending any more."""
        self._pending.pop(deployment, None)
