"""Ends write loops: an object that is written repeatedly without effect.

A conflict between two parts of this operator, or with another controller, costs at most a few
writes a minute and is reported. This module must not know or decide what is written.
"""

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cnpg_plugin_operator import errors, names

WINDOW: Final = 60.0
"""Seconds over which writes are counted."""

MOST_SAME: Final = 10
"""Maximum writes of one desired state within that time; a user edits an object less often."""

MOST_WRITES: Final = 40
"""Maximum writes of one object within that time, whatever its desired state."""

FIRST_PAUSE: Final = 15.0
"""Seconds for which a write that is made too often is suspended; each further pause is twice as
long."""

LONGEST_PAUSE: Final = 240.0

CALM: Final = 2 * LONGEST_PAUSE
"""Seconds without a write after which the record of an object is dropped."""

Key = tuple[str, str, str]
"""Kind, namespace and name of an object."""


@dataclass(slots=True)
class _Record:
    """The recent writes of one object."""

    writes: deque[tuple[float, str]] = field(default_factory=deque)
    """The time of each write, and the digest of the desired state."""
    paused_until: float = float("-inf")
    pauses: int = 0
    """Consecutive pauses; after each, a single write shows whether the loop continues."""

    def is_busy(self, digest: str) -> bool:
        """Whether one more write of this state would be too many."""
        same = sum(each == digest for _, each in self.writes)
        if self.pauses:
            return bool(self.writes)
        return same >= MOST_SAME or len(self.writes) >= MOST_WRITES


@dataclass(slots=True)
class WriteGuard:
    """Counts writes by object: each is admitted before and recorded after it succeeded."""

    stopped: Callable[[Key], None] = lambda _: None
    """Called for each pause."""
    clock: Callable[[], float] = time.monotonic
    _records: dict[Key, _Record] = field(default_factory=dict)
    _swept: float = float("-inf")
    """When the records of calm objects were last dropped."""

    def admit(self, key: Key, digest: str, what: str, live: Mapping[str, Any] | None) -> None:
        """Admit a write; `what` is the field that differs.

        Raises `WriteLoopError` after too many writes; the message names the other writer.
        """
        now = self.clock()
        record = self._records.get(key)
        if record is None:
            return
        while record.writes and record.writes[0][0] <= now - WINDOW:
            record.writes.popleft()
        if now >= record.paused_until + WINDOW and not record.writes:
            record.pauses = 0
        if now >= record.paused_until and not record.is_busy(digest):
            return
        if now >= record.paused_until:
            record.paused_until = now + min(FIRST_PAUSE * 2**record.pauses, LONGEST_PAUSE)
            record.pauses = min(record.pauses + 1, 16)
            record.writes.clear()
            self.stopped(key)
        raise errors.WriteLoopError(_describe(key, what, live))

    def record(self, key: Key, digest: str) -> None:
        """Count a write that succeeded."""
        now = self.clock()
        self._forget(now)
        self._records.setdefault(key, _Record()).writes.append((now, digest))

    def _forget(self, now: float) -> None:
        """Drop the records of objects that were not written for a while; look for them rarely."""
        if now < self._swept + WINDOW:
            return
        self._swept = now
        for key, record in list(self._records.items()):
            last = max([record.paused_until, *(at for at, _ in record.writes)])
            if last <= now - CALM:
                del self._records[key]


def _describe(key: Key, what: str, live: Mapping[str, Any] | None) -> str:
    kind, namespace, name = key
    by = f", last by field manager {other}" if (other := _other_manager(live)) else ""
    return (
        f"{kind} {namespace}/{name} is reverted as fast as the operator writes it: {what}{by}. "
        "The operator now backs off. Stop the other writer of this field."
    )


def _other_manager(live: Mapping[str, Any] | None) -> str:
    """Return the last other writer of an object."""
    entries = ((live or {}).get("metadata") or {}).get("managedFields") or []
    others: list[Mapping[str, Any]] = [
        entry
        for entry in entries
        if not str(entry.get("manager", "")).startswith(names.resource.OPERATOR)
        and entry.get("subresource") != "status"
    ]
    return str(max(others, key=lambda e: str(e.get("time", "")), default={}).get("manager", ""))
