"""One serial loop per key: wakes coalesce, failures back off, passes never overlap.

A key is a resource or a whole namespace; `reconcile` defines its pass. The content of a resource
may only affect its own loop. Events make passes prompt, but nothing depends on them: every key is
looked at now and then, and keys without a loop are picked up.
"""

import asyncio
import contextlib
import logging
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Final

from cnpg_plugin_operator import errors, names
from cnpg_plugin_operator.reconcile.shared import Key
from cnpg_plugin_operator.reconcile.stages import Requeue
from cnpg_plugin_operator.reconcile.workers import Slots
from cnpg_plugin_operator.telemetry import Metrics

logger = logging.getLogger(__name__)

CONTROLLERS: Final = {1: "namespaces", 2: names.resource.PLURAL}
"""The label `controller` of metrics, by the length of a key."""

BACKOFF_FIRST: Final = 1.0
"""Pause in seconds after the first failed pass."""

BACKOFF_MOST: Final = 60.0
"""Longest pause in seconds between failed passes."""

WORKERS: Final = 4
"""Number of passes that run at the same time: enough to overlap their waits for the API server."""

MOST_PASSES: Final = 120
"""Maximum passes of one key within a minute, however often it is woken."""

REST: Final = 2.0
"""Pause in seconds between two passes of a resource that is woken more often."""

GATHERING: Final = 0.1
"""Seconds between two passes of a key, for each other busy key: while many plugins change at once,
one pass answers several events. A plugin alone, beside its namespace, never waits."""

LONGEST_GATHERING: Final = 1.0
"""The same at most, in seconds."""

BUSY: Final = 3.0
"""Seconds for which a key counts as busy after a pass."""

PICK_UP: Final = (45.0, 60.0)
"""Seconds after which keys without a loop are looked for, and all keys are looked at while not
everything is watched; randomized."""

RESYNC: Final = (540.0, 660.0)
"""Seconds after which a key is looked at without an event, at most; randomized. Passes themselves
ask for an earlier look where no watch reports what they wait for."""


_running: ContextVar[Key | None] = ContextVar("running", default=None)
"""Whose pass the current task is a part of."""


class Loops:
    """One loop per key: wakes coalesce, passes of one key never overlap.

    Keys of unmanaged namespaces (`is_managed`) share one worker, so that they do not delay the
    others, however many there are.
    """

    def __init__(
        self,
        reconcile: Callable[[Key], Awaitable[Requeue]],
        metrics: Metrics,
        *,
        slots: Slots | None = None,
        is_managed: Callable[[str], bool] = lambda _: True,
        settled: asyncio.Event | None = None,
    ) -> None:
        self._reconcile = reconcile
        self._metrics = metrics
        self._loops: dict[Key, _Loop] = {}
        self._slots = slots or Slots(WORKERS)
        self._others = Slots(1)
        self._is_managed = is_managed
        self._settled = settled
        """Set once passes can decide; until then, none begins."""

    async def pick_up(
        self, name_keys: Callable[[], Iterable[Key]], is_watching: Callable[[], bool]
    ) -> None:
        """Ask for the keys again and again, and start loops for those that have none.

        While not everything is watched, no event may come: then all keys are looked at.
        """
        while True:
            await asyncio.sleep(spread(*PICK_UP))
            try:
                found = name_keys()
            except errors.ClusterError as error:
                logger.warning("the resources are not known: %s", error)
                continue
            for key in found:
                if key not in self._loops or not is_watching():
                    self.wake(key)

    def wake(self, key: Key, *, by_others: bool = False) -> None:
        """Run a pass of this key soon; start its loop if there is none.

        What a pass writes wakes others, not the pass itself: it knows what it wrote. But the answer
        to a write also contains what others have written before it.
        """
        if _running.get() == key and not by_others:
            return
        loop = self._loops.get(key)
        if loop is None:
            loop = self._loops[key] = _Loop()
            loop.task = asyncio.create_task(self._run(key, loop), name=f"loop {key}")
        self._queue(key, loop)

    def _queue(self, key: Key, loop: "_Loop") -> None:
        """Let a key wait for its pass, unless it does already."""
        if not loop.woken.is_set():
            loop.woken_at = time.monotonic()
            self._metrics.queue.add(CONTROLLERS[len(key)])
            loop.woken.set()

    def find_running(self) -> list["Running"]:
        """Return the passes that run now."""
        return [
            Running(key, loop.task, loop.began)
            for key, loop in self._loops.items()
            if loop.began is not None and loop.task is not None
        ]

    async def stop(self) -> None:
        """End all loops; running passes are cancelled, which any pass tolerates."""
        tasks = [loop.task for loop in self._loops.values() if loop.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, key: Key, loop: "_Loop") -> None:
        failures = 0
        _running.set(key)
        if self._settled is not None:
            await self._settled.wait()
        while True:
            await loop.woken.wait()
            await asyncio.sleep(loop.rest(time.monotonic(), self._find_pause()))
            async with self._slots if self._is_managed(key[0]) else self._others:
                loop.woken.clear()
                loop.began = time.monotonic()
                waited = loop.began - loop.woken_at
                self._metrics.queue.take(CONTROLLERS[len(key)], waited)
                pause = await self._pass(key, failures)
                loop.began = None
            failures = failures + 1 if pause.failed else 0
            if pause.after is None and not loop.woken.is_set():
                del self._loops[key]
                return
            if not loop.woken.is_set():
                after = min(pause.after or 0.0, spread(*RESYNC))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(loop.woken.wait(), after)
                self._queue(key, loop)

    def _find_pause(self) -> float:
        """Return the seconds between two passes of a key now."""
        since = time.monotonic() - BUSY
        busy = sum(bool(loop.starts) and loop.starts[-1] > since for loop in self._loops.values())
        return min(max(busy - 2, 0) * GATHERING, LONGEST_GATHERING)

    async def _pass(self, key: Key, failures: int) -> "_Pause":
        controller, metrics, begun = CONTROLLERS[len(key)], self._metrics, time.monotonic()
        with metrics.reconcile_seconds.labels(controller).time():
            result, pause = await self._guarded(key, failures)
        metrics.reconciles.labels(controller, result).inc()
        metrics.reconcile_errors.labels(controller).inc(pause.failed)
        metrics.queue.finish(controller, time.monotonic() - begun, again=pause.failed)
        return pause

    async def _guarded(self, key: Key, failures: int) -> tuple[str, "_Pause"]:
        reference = dict(zip(("namespace", "plugin"), key, strict=False))
        try:
            requeue = await self._reconcile(key)
        except errors.ClusterError as error:
            logger.warning("the pass is repeated: %s", error, extra=reference)
        except Exception:
            # The content of a resource may only affect its own loop.
            logger.exception("the pass failed unexpectedly and is repeated", extra=reference)
        else:
            if requeue.error is None:
                return "success", _Pause(requeue.after)
            logger.warning("the pass is repeated: %s", requeue.error, extra=reference)
        after = min(BACKOFF_FIRST * 2 ** min(failures, 16), BACKOFF_MOST) * spread(0.8, 1.2)
        return "error", _Pause(after, failed=True)


def spread(least: float, most: float) -> float:
    """Return a random number, so that loops that started together do not stay synchronous."""
    return random.uniform(least, most)  # noqa: S311 - protects nothing


@dataclass(frozen=True, slots=True)
class Running:
    """A pass that runs."""

    key: Key
    task: asyncio.Task[None]
    began: float
    """By the monotonic clock."""


@dataclass(slots=True)
class _Loop:
    """The state of one key's loop."""

    woken: asyncio.Event = field(default_factory=asyncio.Event)
    woken_at: float = 0.0
    task: asyncio.Task[None] | None = None
    starts: deque[float] = field(default_factory=deque)
    """Start times of the passes of the last minute."""
    began: float | None = None
    """When the pass that runs began."""

    def rest(self, now: float, pause: float) -> float:
        """Return the seconds until the next pass may begin, and record its start."""
        while self.starts and self.starts[0] <= now - 60:
            self.starts.popleft()
        tired = len(self.starts) >= MOST_PASSES
        pause = max(pause, REST) if tired else pause
        begins = max(now, self.starts[-1] + pause) if self.starts else now
        self.starts.append(begins)
        return begins - now


@dataclass(frozen=True, slots=True)
class _Pause:
    """How long a loop rests."""

    after: float | None
    failed: bool = False
