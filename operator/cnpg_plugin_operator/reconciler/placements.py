"""Since when sidecars are to change: the one thing about them that is kept in memory."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

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


@dataclass(slots=True)
class Placements:
    """Since when sidecars are to change, by namespace.

    Only the pause before a roll depends on it: a new process waits anew.
    """

    _pending: dict[str, _Pending] = field(default_factory=dict)

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
