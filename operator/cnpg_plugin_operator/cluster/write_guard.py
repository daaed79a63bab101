"""Ends write loops: an object that is written again and again without getting anywhere.

Whatever disagrees, two parts of this operator or this operator and another controller, costs at
most a few writes a minute and is told. Must not know what is written, or decide what is.
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
"""Writes of one wanted state within that time: a person who edits an object does it less often."""

MOST_WRITES: Final = 40
"""Writes of one object within that time, whatever was wanted."""

FIRST_PAUSE: Final = 15.0
"""Seconds for which a write that goes on too often is left out; each further pause is twice as
long."""

LONGEST_PAUSE: Final = 240.0

CALM: Final = 2 * LONGEST_PAUSE
"""Seconds without a write after which an object is forgotten."""

Key = tuple[str, str, str]
"""Kind, namespace and name of an object."""


@dataclass(slots=True)
class _Record:
    """What was written of one object lately."""

    writes: deque[tuple[float, str]] = field(default_factory=deque)
    """When, and the digest of what was wanted."""
    paused_until: float = float("-inf")
    pauses: int = 0
    """In a row; after one, a single write shows whether it goes on."""

    def is_busy(self, digest: str) -> bool:
        """Whether one more write of this state would be too many."""
        same = sum(each == digest for _, each in self.writes)
        if self.pauses:
            return bool(self.writes)
        return same >= MOST_SAME or len(self.writes) >= MOST_WRITES


@dataclass(slots=True)
class WriteGuard:
    """Counts writes by object: each asks before it happens and is noted once it did."""

    stopped: Callable[[Key], None] = lambda _: None
    """Is told of each pause."""
    clock: Callable[[], float] = time.monotonic
    _records: dict[Key, _Record] = field(default_factory=dict)

    def admit(self, key: Key, digest: str, what: str, live: Mapping[str, Any] | None) -> None:
        """Let a write happen; `what` names the field that differs.

        Raises `WriteLoopError` where there were too many; the message names who else writes.
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

    def note(self, key: Key, digest: str) -> None:
        """Note a write that succeeded."""
        now = self.clock()
        self._forget(now)
        self._records.setdefault(key, _Record()).writes.append((now, digest))

    def _forget(self, now: float) -> None:
        """Drop what has been calm for long."""
        for key, record in list(self._records.items()):
            last = max([record.paused_until, *(at for at, _ in record.writes)])
            if last <= now - CALM:
                del self._records[key]


def _describe(key: Key, what: str, live: Mapping[str, Any] | None) -> str:
    kind, namespace, name = key
    by = f", last by field manager {other}" if (other := _other_manager(live)) else ""
    return (
        f"{kind} {namespace}/{name} is changed as fast as it is restored: {what}{by}. "
        "The operator now restores it ever more seldom. Stop whatever changes it."
    )


def _other_manager(live: Mapping[str, Any] | None) -> str:
    """Name who else wrote an object last."""
    entries = ((live or {}).get("metadata") or {}).get("managedFields") or []
    others: list[Mapping[str, Any]] = [
        entry
        for entry in entries
        if not str(entry.get("manager", "")).startswith(names.resource.OPERATOR)
        and entry.get("subresource") != "status"
    ]
    return str(max(others, key=lambda e: str(e.get("time", "")), default={}).get("manager", ""))
