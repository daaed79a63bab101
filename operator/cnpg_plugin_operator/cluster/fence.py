"""Lets a process write only while it leads: each write is bound to the leadership that decided it.

A process that was paused does not know it. So the time that remains is asked for twice, by a clock
that also counts while the machine sleeps: before a write, and when it has a connection, right
before its first byte is sent. No write is sent once the Lease should have been renewed, and none
may take longer than others keep away from the Lease: a request that is not answered until then is
cut off.

What remains is a write that the API server has received, or that is on its way in the network, when
its sender is paused or cut off. It was decided while this process led, and what it depends on goes
with it: the uid of the owner, the resourceVersion where an object is read and changed, and the
fields of this operator's own managers, which the next leader applies again if they differ.

This module must not know who leads or why.
"""

import time
from collections.abc import Callable
from types import SimpleNamespace

import aiohttp

from cnpg_plugin_operator import errors
from cnpg_plugin_operator.decide.leadership import LeaseTimes


def boot_time() -> float:
    """Return the seconds since the machine started, with those in which it slept."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Fence:
    """What remains of a leadership."""

    def __init__(
        self,
        times: LeaseTimes,
        clock: Callable[[], float] = boot_time,
        refused: Callable[[], None] = lambda: None,
    ) -> None:
        self._times, self._clock = times, clock
        self._refused = refused
        """Is called when a write was refused: this process no longer leads."""
        self._renewed = float("-inf")

    def extend(self, renewed: float) -> None:
        """Allow writes since the Lease was renewed, at the start of that request."""
        self._renewed = renewed

    def close(self) -> None:
        """Allow no more write."""
        self._renewed = float("-inf")

    def admit(self) -> float:
        """Return the seconds that a write may take. Raises `LeadershipLostError`."""
        past = self._clock() - self._renewed
        if past >= self._times.deadline:
            self._refused()
            raise errors.LeadershipLostError("this process no longer leads, and must not write")
        return self._times.lease - past

    def trace(self) -> aiohttp.TraceConfig:
        """Build what asks once more when a request has its connection."""

        async def begin(
            _: aiohttp.ClientSession,
            context: SimpleNamespace,
            request: aiohttp.TraceRequestStartParams,
        ) -> None:
            context.writes = request.method != "GET"

        async def connected(_: aiohttp.ClientSession, context: SimpleNamespace, __: object) -> None:
            if context.writes:
                self.admit()

        trace = aiohttp.TraceConfig()
        trace.on_request_start.append(begin)
        trace.on_connection_create_end.append(connected)
        trace.on_connection_reuseconn.append(connected)
        return trace
