"""The operator's requests in the API server's audit log."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.demo import installing

USER = f"system:serviceaccount:{installing.NAMESPACE}:{installing.RELEASE}"
WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})


@dataclass(frozen=True)
class Request:
    """One request of the operator."""

    verb: str
    path: str
    """Without the query."""
    subject: str
    """Resource, subresource and name, for display."""
    begun: datetime
    """When the API server received it."""
    at: datetime
    """When the response, or the stream of a watch, began."""

    @property
    def writes(self) -> bool:
        return self.verb in WRITES


class AuditLog:
    """The part of the log after an offset; `restart` moves the offset to the end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = path.stat().st_size

    def restart(self) -> None:
        self._offset = self._path.stat().st_size

    def requests(self) -> list[Request]:
        """Each request after the offset, once; a watch counts when it begins, not when it ends."""
        with self._path.open("rb") as log:
            log.seek(self._offset)
            lines = [line for line in log if USER.encode() in line and line.endswith(b"\n")]
        events = (json.loads(line) for line in lines)
        return [
            _request(event)
            for event in events
            if event["user"]["username"] == USER
            and not _renews(event)
            and (event["stage"] == "ResponseStarted") == (event["verb"] == "watch")
        ]

    def writes(self) -> list[Request]:
        return [request for request in self.requests() if request.writes]


def _renews(event: dict[str, Any]) -> bool:
    """Whether it is about the operator's own Lease, which costs a request every two seconds."""
    target = event.get("objectRef") or {}
    return target.get("resource") == "leases" and target.get("namespace") == installing.NAMESPACE


def _request(event: dict[str, object]) -> Request:
    reference = event.get("objectRef") or {}
    assert isinstance(reference, dict)
    parts = [str(reference.get(key, "")) for key in ("resource", "subresource", "name")]
    return Request(
        verb=str(event["verb"]),
        path=str(event["requestURI"]).partition("?")[0],
        subject="/".join(part for part in parts if part),
        begun=datetime.fromisoformat(str(event["requestReceivedTimestamp"])),
        at=datetime.fromisoformat(str(event["stageTimestamp"])),
    )


def counted(requests: Iterable[Request]) -> str:
    """Count the requests by kind, for display: `3 patch certificates, …`."""
    kinds: dict[str, int] = {}
    for request in requests:
        kind = f"{request.verb} {'/'.join(request.subject.split('/')[:-1]) or request.subject}"
        kinds[kind] = kinds.get(kind, 0) + 1
    return ", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items()))
