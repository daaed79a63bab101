"""Classes that disturb the way to the API server, and kill the operator at each write."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from tests.campaign.admin import Object
from tests.campaign.calls import WRITES
from tests.campaign.classes.mutations import child
from tests.campaign.faults import (
    READ_FAULTS,
    WATCH_FAULTS,
    WRITE_FAULTS,
    Away,
    Dropped,
    EveryWrite,
    Killing,
    OneRequest,
    OneWatch,
    Rotated,
)
from tests.campaign.lane import Lane
from tests.campaign.plans import Disturb, Plan, Recording, Recordings
from tests.campaign.proxy import Disturber
from tests.campaign.workloads import NAME
from tests.support.e2e.api import PLUGINS

WRITTEN: Final = (
    *("create", "delete", "image", "port", "create-own", "sidecar", "mode", "provider"),
    *("create-broken", "two", "renewal", "renewal-own", "take-over"),
)
"""Workloads whose every write is disturbed."""

READ: Final = ("restart", "create", "delete")
WATCHED: Final = ("create", "image", "delete")
STALE_FOR: Final = 5.0
"""Seconds for which the operator may use a token that was refused: the client's library reads its
file once a minute, which is too late."""
LOSABLE: Final = (
    ("services", NAME),
    ("deployments", NAME),
    ("certificates", f"{NAME}-server-tls"),
    ("secrets", f"{NAME}-trust"),
)
"""Children whose deletion is not shown: of which kind, and their names."""
STILL: Final = frozenset(
    {"clusters", "networkpolicies", "poddisruptionbudgets", "rolebindings", "serviceaccounts"}
)
"""Kinds of which nothing changes in those workloads: no event of theirs can be disturbed."""
AWAY: Final = (60, 300)
"""Seconds."""


@asynccontextmanager
async def disturbing(lane: Lane, disturber: Disturber) -> AsyncIterator[None]:
    """Let requests be disturbed until the end."""
    lane.proxy.disturber = disturber
    try:
        yield
    finally:
        lane.proxy.disturber = Disturber()


def _of(recordings: Recordings, names: Sequence[str]) -> Iterator[Recording]:
    return (recordings[name] for name in names if name in recordings)


def once(position: str, what: str, *, after: bool) -> Disturb:
    """Disturb one request."""

    @asynccontextmanager
    async def disturb(lane: Lane) -> AsyncIterator[asyncio.Event]:
        fault = OneRequest(position, what, after)
        async with disturbing(lane, fault):
            yield fault.reached

    return disturb


def killed(position: str, *, after: bool) -> Disturb:
    """Kill the operator at a request, and start it again."""

    @asynccontextmanager
    async def disturb(lane: Lane) -> AsyncIterator[asyncio.Event]:
        fault, started = Killing(position, after, lane.kill), asyncio.Event()

        async def start_again() -> None:
            await fault.reached.wait()
            await lane.start_again()
            started.set()

        starting = asyncio.create_task(start_again())
        try:
            async with disturbing(lane, fault):
                yield started
        finally:
            if not fault.reached.is_set():
                starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)

    return disturb


def writes(recordings: Recordings) -> Iterator[Plan]:
    """Every write, every fault, before and after the API server has done it."""
    for recording in _of(recordings, WRITTEN):
        for position in recording.writes:
            for what in WRITE_FAULTS:
                for after in (False, True):
                    name = f"{position}/{what}-{'after' if after else 'before'}"
                    disturb = once(position, what, after=after)
                    yield Plan("api-write", recording.about, name, disturb)


def reads(recordings: Recordings) -> Iterator[Plan]:
    """Every read, every fault."""
    for recording in _of(recordings, READ):
        for position in recording.reads:
            for what in READ_FAULTS:
                disturb = once(position, what, after=False)
                yield Plan("api-read", recording.about, f"{position}/{what}", disturb)


def kills(recordings: Recordings) -> Iterator[Plan]:
    """The operator dies before and after every write."""
    for recording in _of(recordings, WRITTEN):
        for position in recording.writes:
            for after in (False, True):
                name = f"{position}/kill-{'after' if after else 'before'}"
                yield Plan("kill", recording.about, name, killed(position, after=after))


def watched(resource: str, kind: type[OneWatch]) -> Disturb:
    """Disturb the watches of one kind."""

    @asynccontextmanager
    async def disturb(lane: Lane) -> AsyncIterator[asyncio.Event]:
        fault = kind(resource)
        async with disturbing(lane, fault):
            yield fault.reached
            await asyncio.sleep(5)

    return disturb


def watches(recordings: Recordings) -> Iterator[Plan]:
    """The watches of every kind, every fault."""
    watching = recordings.get("restart")
    kinds = (
        {resource for _, verb, resource in watching.calls if verb == "watch"} if watching else ()
    )
    for recording in _of(recordings, WATCHED):
        for resource in sorted(set(kinds) - STILL):
            for name, kind in WATCH_FAULTS.items():
                disturb = watched(resource, kind)
                what = f"watch-{resource}/{name}"
                yield Plan("watch", recording.about, what, disturb, within=240)

    if (steady := recordings.get("steady")) is not None:
        for resource, name in LOSABLE:
            what, disturb = f"watch-{resource}/lost-deletion", lost(resource, name)
            yield Plan("watch", steady.about, what, disturb, interrupts=True, within=240)


def lost(resource: str, name: str) -> Disturb:
    """Delete an object, and lose the event that says so."""

    @asynccontextmanager
    async def disturb(lane: Lane) -> AsyncIterator[asyncio.Event]:
        fault = Dropped(resource)
        async with disturbing(lane, fault):
            await lane.admin.delete(child(lane, resource, name))
            yield fault.reached
            await asyncio.sleep(5)

    return disturb


def away(seconds: int) -> Disturb:
    """Take the API server away for a while."""

    @asynccontextmanager
    async def disturb(lane: Lane) -> AsyncIterator[asyncio.Event]:
        reached = asyncio.Event()

        async def be_away() -> None:
            async with disturbing(lane, Away()):
                lane.proxy.cut()
                reached.set()
                await asyncio.sleep(seconds)

        # It comes back by itself: a user's act may wait for that.
        async with asyncio.TaskGroup() as group:
            group.create_task(be_away())
            yield reached

    return disturb


_RETRIES: Final = 6.0
"""Requests a second in which about fifteen watches try again, each nine times a minute at most and
twice where a connection has just ended, and passes likewise."""


def aways(recordings: Recordings) -> Iterator[Plan]:
    """The API server is away for a minute, and for five."""
    for recording in _of(recordings, ("create", "image", "delete", "steady", "restart")):
        for seconds in AWAY:
            what = f"api/away-{seconds}s"
            again = round(_RETRIES * seconds)
            disturb = away(seconds)
            yield Plan("api-away", recording.about, what, disturb, requests=again, within=240)


def refused(resource: str, code: str) -> Disturb:
    """Refuse every write of a kind until the resource says so."""

    @asynccontextmanager
    async def disturb(lane: Lane) -> AsyncIterator[asyncio.Event]:
        fault = EveryWrite(resource, code)

        async def is_said() -> bool:
            found = await lane.admin.list(lane.path("cnpgplugins", PLUGINS))
            return any(_is_said(each) for each in found)

        async with disturbing(lane, fault):
            yield fault.reached
            await lane.until(is_said, f"the status says that {resource} are refused", within=60)

    return disturb


def _is_said(resource: Object) -> bool:
    """Whether a resource says that a request was refused, in the words of the answer."""
    found = resource.get("status", {}).get("conditions") or ()
    return any(c["type"] == "Ready" and "campaign" in c["message"] for c in found)


_REFUSALS: Final = (("403", "404", "409", "500"), ("403", "409", "500"))
"""The answers to every write, and to every deletion: what is not found is deleted."""


def refusals(recordings: Recordings) -> Iterator[Plan]:
    """Every write of one kind fails until the status says so."""
    for recording in _of(recordings, ("create", "create-own", "image", "delete")):
        written = {resource for _, verb, resource in recording.calls if verb in WRITES}
        for resource in sorted(written - {"events", "cnpgplugins/status"}):
            for code in _REFUSALS[recording.workload == "delete"]:
                what = f"write-{resource.replace('/', '.')}/{code}-always"
                disturb = refused(resource, code)
                yield Plan("refusal", recording.about, what, disturb, within=240)


@asynccontextmanager
async def rotated(lane: Lane) -> AsyncIterator[asyncio.Event]:
    """Write another token; the previous one is refused from then on."""
    fault = Rotated(await lane.renew_token())
    async with disturbing(lane, fault):
        lane.proxy.cut()
        yield fault.reached
        await asyncio.sleep(2 * STALE_FOR)
    used = fault.last - fault.first
    if used > STALE_FOR:
        raise AssertionError(f"the previous token was still used {used:.0f} s after its refusal")


def tokens(recordings: Recordings) -> Iterator[Plan]:
    """The token is rotated."""
    for recording in _of(recordings, ("create", "image", "delete", "steady", "restart")):
        yield Plan("token", recording.about, "token/rotated", rotated)
