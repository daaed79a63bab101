"""What the fault proxy does to one request, or to the watches of one kind.

Every answer is one that an API server, or what is before it, gives. Messages contain what must not
be printed.
"""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from tests.campaign.calls import Call
from tests.campaign.proxy import Answer, CutError, Disturber, Forward, Say

REASONS: Final = {
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    410: "Expired",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
}
RESET, TIMEOUT = "reset", "timeout"

_FOREVER: Final = 600.0
"""Longer than any client waits."""

_NASTY: Final = "campaign: no \x1b[31mred\x1b[0m \u202etxet\u202c, no \0, no end: " + "x" * 4000


def refusal(code: int) -> web.Response:
    """Build the API server's answer."""
    status = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "message": _NASTY,
        "reason": REASONS[code],
        "code": code,
    }
    headers = {"Retry-After": "1"} if code in (429, 503) else {}
    return web.json_response(status, status=code, headers=headers)


class AtRequest(Disturber):
    """Disturbs one request, before the API server has got it or after it has done it."""

    position: str
    after: bool
    reached: asyncio.Event

    async def answer(self, call: Call, request: web.Request, forward: Forward) -> Answer | None:
        if call.position != self.position or self.reached.is_set():
            return None
        if self.after:
            await forward()
        self.reached.set()
        return await self.strike()

    async def strike(self) -> Answer:
        """Give the answer. Raises `CutError` for none."""
        raise NotImplementedError


@dataclass
class OneRequest(AtRequest):
    """Answers one request with a failure."""

    position: str
    what: str
    """A status code, `reset` or `timeout`."""
    after: bool = False
    reached: asyncio.Event = field(default_factory=asyncio.Event)

    async def strike(self) -> Answer:
        return await fail(self.what)


async def fail(what: str) -> Answer:
    """Answer with a failure. Raises `CutError` where it is none."""
    if what == RESET:
        raise CutError
    if what == TIMEOUT:
        await asyncio.sleep(_FOREVER)
        raise CutError
    return refusal(int(what))


@dataclass
class EveryWrite(Disturber):
    """Refuses every write of one kind."""

    resource: str
    what: str
    reached: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, call: Call, request: web.Request, forward: Forward) -> Answer | None:
        if not call.writes or call.resource != self.resource:
            return None
        self.reached.set()
        return await fail(self.what)


@dataclass
class Killing(AtRequest):
    """Kills the operator before the API server has got a request, or before the answer arrives."""

    position: str
    after: bool
    kill: Callable[[], None]
    reached: asyncio.Event = field(default_factory=asyncio.Event)

    async def strike(self) -> Answer:
        self.kill()
        raise CutError


@dataclass
class Away(Disturber):
    """There is no API server."""

    async def answer(self, call: Call, request: web.Request, forward: Forward) -> Answer | None:
        raise CutError

    async def begin(self, call: Call) -> web.Response | None:
        raise CutError

    async def event(self, call: Call, line: bytes, say: Say) -> None:
        raise CutError


@dataclass
class Rotated(Disturber):
    """The token has expired, for requests that still have it."""

    stale: str
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    first: float = 0.0
    last: float = 0.0
    """When the token was refused first and last, in monotonic seconds."""

    async def answer(self, call: Call, request: web.Request, forward: Forward) -> Answer | None:
        _, _, token = request.headers.get("Authorization", "").partition(" ")
        if token != self.stale:  # Clients write the scheme in capitals, or not (RFC 9110).
            return None
        self.last = time.monotonic()
        self.first = self.first or self.last
        self.reached.set()
        return refusal(401)


@dataclass
class OneWatch(Disturber):
    """Disturbs the watches of one kind until `over`; the subclasses say how."""

    resource: str
    reached: asyncio.Event = field(default_factory=asyncio.Event)

    async def event(self, call: Call, line: bytes, say: Say) -> None:
        event = json.loads(line)
        if call.resource != self.resource or event["type"] == "BOOKMARK":
            await say(line)
            return
        self.reached.set()
        await self.disturb(line, say)

    async def disturb(self, line: bytes, say: Say) -> None:
        """Pass on one event of that kind."""
        raise NotImplementedError


class HalfOpen(OneWatch):
    """Nothing arrives any more, not even a bookmark, until the operator gives up."""

    async def event(self, call: Call, line: bytes, say: Say) -> None:
        if call.resource == self.resource:
            self.reached.set()
            await asyncio.sleep(_FOREVER)
        await say(line)


class Silent(OneWatch):
    """Each watch ends at its next event, and a new one gets no answer for ten seconds."""

    async def begin(self, call: Call) -> web.Response | None:
        if call.resource == self.resource and self.reached.is_set():
            await asyncio.sleep(10)
        return None

    async def disturb(self, line: bytes, say: Say) -> None:
        raise CutError


class Lagging(OneWatch):
    """Each event arrives two seconds late, and later where many do."""

    async def disturb(self, line: bytes, say: Say) -> None:
        await asyncio.sleep(2)
        await say(line)


class Duplicated(OneWatch):
    """Each event arrives twice."""

    async def disturb(self, line: bytes, say: Say) -> None:
        await say(line)
        await say(line)


@dataclass
class Reordered(OneWatch):
    """Each event arrives after the next one of another object, or after two seconds."""

    waiting: set[asyncio.Task[None]] = field(default_factory=set)

    async def disturb(self, line: bytes, say: Say) -> None:
        before = list(self.waiting)
        name = _name_of(line)

        async def later() -> None:
            if any(task.get_name() == name for task in before):
                await asyncio.wait(before)
            else:
                await asyncio.sleep(2)
            await say(line)

        task = asyncio.create_task(later(), name=name)
        self.waiting.add(task)
        task.add_done_callback(self.waiting.discard)


class Dropped(OneWatch):
    """Events are lost; three seconds later, the watch turns out to be too old."""

    async def disturb(self, line: bytes, say: Say) -> None:
        await asyncio.sleep(3)
        await say(_expired())
        raise CutError


class Expired(OneWatch):
    """Each event says that the watch is too old, three times in a row."""

    times = 0

    async def disturb(self, line: bytes, say: Say) -> None:
        self.times += 1
        if self.times > 3:
            await say(line)
            return
        await say(_expired())
        raise CutError


class Refused(OneWatch):
    """Each watch ends at its next event, and cannot begin again for some seconds."""

    times = 0

    async def begin(self, call: Call) -> web.Response | None:
        if call.resource != self.resource or not self.reached.is_set() or self.times >= 3:
            return None
        self.times += 1
        return refusal(403 if self.times == 1 else 500)

    async def disturb(self, line: bytes, say: Say) -> None:
        if self.times < 3:
            raise CutError
        await say(line)


WATCH_FAULTS: Final[dict[str, type[OneWatch]]] = {
    "half-open": HalfOpen,
    "silent": Silent,
    "lagging": Lagging,
    "duplicated": Duplicated,
    "reordered": Reordered,
    "dropped": Dropped,
    "410": Expired,
    "refused": Refused,
}


def _name_of(line: bytes) -> str:
    return str(json.loads(line)["object"]["metadata"].get("name"))


def _expired() -> bytes:
    status = {"kind": "Status", "code": 410, "reason": "Expired", "message": _NASTY}
    return json.dumps({"type": "ERROR", "object": status}).encode() + b"\n"


WRITE_FAULTS: Final = ("409", "403", "404", "422", "429", "500", "503", RESET, TIMEOUT)
READ_FAULTS: Final = ("403", "404", "429", "500", "503", RESET, TIMEOUT)
