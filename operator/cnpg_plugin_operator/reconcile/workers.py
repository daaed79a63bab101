"""Slots for passes: a fixed number run at a time, in the order of arrival.

A pass that waits for a plugin or for a large key gives its slot to the next one, so that slow
plugins delay only each other.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import Enum


class Lane(Enum):
    """What passes give up their slot for, each with the maximum number of passes."""

    PEER = ("peer", 32)
    """A plugin's answer. A connection holds about 350 KB."""
    FAILING_PEER = ("failing peer", 8)
    """The answer of a plugin that failed last time, which may take its whole time limit again."""
    KEY = ("key", 1)
    """A large RSA key: it takes a second or more of one core."""

    @property
    def width(self) -> int:
        """The number of passes."""
        return self.value[1]


class Slots:
    """Slots for passes; `async with` occupies one."""

    def __init__(self, size: int) -> None:
        self._working = asyncio.Semaphore(size)
        self._aside = {lane: asyncio.Semaphore(lane.width) for lane in Lane}

    async def __aenter__(self) -> None:
        await self._working.acquire()

    async def __aexit__(self, *_: object) -> None:
        self._working.release()

    @asynccontextmanager
    async def aside(self, lane: Lane) -> AsyncIterator[None]:
        """Release the slot while the body runs."""
        self._working.release()
        try:
            async with self._aside[lane]:
                yield
        finally:
            await self._working.acquire()
