"""Since when sidecars are to change, and which the API server refuses: what is kept in memory.

A new process finds out both again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from cnpg_plugin_operator.api.conditions import Verdict

Refusals = Mapping[str, Mapping[str, Verdict]]
"""Why the API server does not take a sidecar: by resource and revision."""

FIRST_PAUSE: Final = timedelta(seconds=30)
"""After which a sidecar that was refused is tried again; doubled each time."""

LONGEST_PAUSE: Final = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class _Change:
    """A set of sidecars that is wanted and not there yet."""

    wanted: str
    """Digest of the set."""
    first: datetime
    """When a difference was first seen."""
    last: datetime
    """When it last changed."""


@dataclass(frozen=True, slots=True)
class _Refused:
    """A sidecar that the API server did not take."""

    revision: str
    verdict: Verdict
    until: datetime
    """When it is tried again, unless its spec changes."""
    times: int


@dataclass(slots=True)
class Pending:
    """Since when sidecars are to change, by Deployment of CloudNativePG.

    Only the pause before a roll depends on it: a new process waits once more.
    """

    _pending: dict[str, _Change] = field(default_factory=dict)
    _refused: dict[tuple[str, str], _Refused] = field(default_factory=dict)
    """By Deployment and resource."""

    def refuse(
        self, deployment: str, name: str, revision: str, verdict: Verdict, now: datetime
    ) -> None:
        """Note that the API server does not take a sidecar, each time for longer."""
        known = self._refused.get((deployment, name))
        times = known.times + 1 if known is not None and known.revision == revision else 1
        pause = min(FIRST_PAUSE * (1 << min(times - 1, 16)), LONGEST_PAUSE)
        self._refused[deployment, name] = _Refused(revision, verdict, now + pause, times)

    def refused(self, deployment: str, now: datetime) -> Refusals:
        """Say which sidecars are not tried now."""
        return {
            name: {each.revision: each.verdict}
            for (where, name), each in self._refused.items()
            if where == deployment and now < each.until
        }

    def last_refusals(self, deployment: str) -> Mapping[tuple[str, str], Verdict]:
        """Say why sidecars were refused at their last try, by resource and revision.

        They may be due again.
        """
        return {
            (name, each.revision): each.verdict
            for (where, name), each in self._refused.items()
            if where == deployment
        }

    def accept(self, deployment: str, name: str) -> None:
        """Note that a sidecar got in, or went."""
        self._refused.pop((deployment, name), None)

    def note(self, deployment: str, wanted: str, now: datetime) -> tuple[datetime, datetime]:
        """Note that a set is wanted; say since when any is, and since when this one."""
        known = self._pending.get(deployment) or _Change(wanted, now, now)
        last = known.last if known.wanted == wanted else now
        self._pending[deployment] = _Change(wanted, known.first, last)
        return known.first, last

    def settle(self, deployment: str) -> None:
        """Note that nothing is to change any more."""
        self._pending.pop(deployment, None)
