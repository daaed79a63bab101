"""Since when sidecars are to change, and which the API server refuses: what is kept in memory.

A new process finds out both again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from cnpg_plugin_operator.api.conditions import Verdict

Refusals = Mapping[str, Mapping[str, Verdict]]
"""Why the API server does not take a sidecar: by resource and revision."""

FIRST_PAUSE: Final = timedelta(seconds=30)
"""After which a sidecar that was refused is tried again; doubled each time."""

LONGEST_PAUSE: Final = timedelta(minutes=15)

STALE: Final = timedelta(seconds=30)
"""After which nobody wants a change any more that was not looked at again: while one waits, it is
looked at every few seconds."""


@dataclass(frozen=True, slots=True)
class _Pending:
    """A set of sidecars that is wanted and not there yet."""

    wanted: str
    """Digest of the set."""
    first: datetime
    """When a difference was first seen."""
    last: datetime
    """When it last changed."""
    seen: datetime
    waiting: bool = False
    """Whether it will be applied once the moment has come."""


@dataclass(frozen=True, slots=True)
class _Refused:
    """A sidecar that the API server did not take."""

    revision: str
    verdict: Verdict
    until: datetime
    """When it is tried again, unless its spec changes."""
    times: int


@dataclass(slots=True)
class Placements:
    """Since when sidecars are to change, by namespace.

    Only the pause before a roll depends on it: a new process waits anew.
    """

    _pending: dict[str, _Pending] = field(default_factory=dict)
    _refused: dict[tuple[str, str], _Refused] = field(default_factory=dict)
    """By namespace and resource."""

    def refuse(
        self, namespace: str, name: str, revision: str, verdict: Verdict, now: datetime
    ) -> None:
        """Note that the API server does not take a sidecar, each time for longer."""
        known = self._refused.get((namespace, name))
        times = known.times + 1 if known is not None and known.revision == revision else 1
        pause = min(FIRST_PAUSE * (1 << min(times - 1, 16)), LONGEST_PAUSE)
        self._refused[namespace, name] = _Refused(revision, verdict, now + pause, times)

    def refused(self, namespace: str, now: datetime) -> Refusals:
        """Say which sidecars are not tried now."""
        return {
            name: {each.revision: each.verdict}
            for (where, name), each in self._refused.items()
            if where == namespace and now < each.until
        }

    def last_refusal(self, namespace: str, name: str, revision: str) -> Verdict | None:
        """Say why a sidecar did not get in at its last try; it may be due again."""
        known = self._refused.get((namespace, name))
        return known.verdict if known is not None and known.revision == revision else None

    def accept(self, namespace: str, name: str) -> None:
        """Note that a sidecar got in, or went."""
        self._refused.pop((namespace, name), None)

    def note(self, namespace: str, wanted: str, now: datetime) -> tuple[datetime, datetime]:
        """Note that a set is wanted; say since when any is, and since when this one.

        The same set goes on waiting however long a pass takes: on a slow machine it would begin to
        wait again each time.
        """
        known = self._pending.get(namespace)
        if known is None or (known.wanted != wanted and self._current(namespace, now) is None):
            known = _Pending(wanted, now, now, now)
        last = known.last if known.wanted == wanted else now
        self._pending[namespace] = replace(known, wanted=wanted, last=last, seen=now)
        return known.first, last

    def wait(self, namespace: str, *, waiting: bool) -> None:
        """Note whether the set that was noted will be applied once the moment has come."""
        self._pending[namespace] = replace(self._pending[namespace], waiting=waiting)

    def settle(self, namespace: str) -> None:
        """Note that nothing is to change any more."""
        self._pending.pop(namespace, None)

    def is_waiting(self, namespace: str, now: datetime) -> bool:
        """Whether a set of sidecars waits for its moment."""
        known = self._current(namespace, now)
        return known is not None and known.waiting

    def _current(self, namespace: str, now: datetime) -> _Pending | None:
        known = self._pending.get(namespace)
        return known if known is not None and now - known.seen < STALE else None
