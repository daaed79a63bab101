"""Slots for passes: so many work at a time, in the order in which they came.

A pass that waits for a plugin or for a large key gives its slot to the next one meanwhile, so that
slow plugins delay only each other.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import Enum


class Lane(Enum):
    """What passes step aside for, each with how many may do so at the same time."""

    PEER = ("peer", 32)
    """A plugin's answer. A connection holds about 350 KB."""
    FAILING_PEER = ("failing peer", 8)
    """The answer of a plugin that failed last time: it may take its whole time limit again."""
    KEY = ("key", 1)
    """A large RSA key: it takes a second or more of one core."""

    @property
    def width(self) -> int:
        """How many passes."""
        return self.value[1]


class Slots:
    """Slots for passes; `async with` takes one."""

    def __init__(self, size: int) -> None:
        self._working = asyncio.Semaphore(size)
        self._aside = {lane: asyncio.Semaphore(lane.width) for lane in Lane}

    async def __aenter__(self) -> None:
        await self._working.acquire()

    async def __aexit__(self, *_: object) -> None:
        self._working.release()

    @asynccontextmanager
    async def aside(self, lane: Lane) -> AsyncIterator[None]:
        """Give the slot back for as long as the body takes."""
        self._working.release()
        try:
            async with self._aside[lane]:
                yield
        finally:
            await self._working.acquire()
