"""One serial loop per resource: wakes coalesce, failures back off, passes never overlap.

Whatever a resource holds, only its own loop may suffer from it.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from cnpg_plugin_operator import errors, names
from cnpg_plugin_operator.reconciler import Requeue
from cnpg_plugin_operator.telemetry import Metrics

logger = logging.getLogger(__name__)

Key = tuple[str, str]
"""Namespace and name of a resource."""

BACKOFF_FIRST: Final = 1.0
"""Seconds after the first failed pass."""

BACKOFF_MOST: Final = 60.0
"""Seconds between failed passes at most."""

WORKERS: Final = 4
"""Passes that run at the same time: enough to overlap their waiting for the API server."""


class Loops:
    """One loop per resource: wakes coalesce, passes of one resource never overlap."""

    def __init__(
        self, reconcile: Callable[[str, str], Awaitable[Requeue]], metrics: Metrics
    ) -> None:
        self._reconcile = reconcile
        self._metrics = metrics
        self._loops: dict[Key, _Loop] = {}
        self._workers = asyncio.Semaphore(WORKERS)

    def wake(self, key: Key) -> None:
        """Run a pass of this resource soon; start its loop where there is none."""
        loop = self._loops.get(key)
        if loop is None:
            loop = self._loops[key] = _Loop()
            loop.task = asyncio.create_task(self._run(key, loop), name=f"loop {key}")
        loop.woken.set()

    def wake_where(self, matches: Callable[[Key, frozenset[str]], bool]) -> None:
        """Wake the known resources that a predicate over key and marks picks."""
        for key, loop in list(self._loops.items()):
            if matches(key, loop.marks):
                loop.woken.set()

    def learn(self, key: Key, marks: frozenset[str]) -> None:
        """Note by what else a resource is known, so that what names it can wake it."""
        loop = self._loops.get(key)
        if loop is not None:
            loop.marks = marks

    async def stop(self) -> None:
        """End all loops; passes under way are cut off, which any pass can stand."""
        tasks = [loop.task for loop in self._loops.values() if loop.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, key: Key, loop: "_Loop") -> None:
        failures = 0
        while True:
            await loop.woken.wait()
            async with self._workers:
                loop.woken.clear()
                pause = await self._pass(key, failures)
            failures = failures + 1 if pause.failed else 0
            if pause.after is None and not loop.woken.is_set():
                del self._loops[key]
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(loop.woken.wait(), pause.after)
            loop.woken.set()

    async def _pass(self, key: Key, failures: int) -> "_Pause":
        controller = names.PLURAL
        with self._metrics.reconcile_seconds.labels(controller).time():
            result, pause = await self._guarded(key, failures)
        self._metrics.reconciles.labels(controller, result).inc()
        return pause

    async def _guarded(self, key: Key, failures: int) -> tuple[str, "_Pause"]:
        reference = {"namespace": key[0], "plugin": key[1]}
        try:
            requeue = await self._reconcile(*key)
        except errors.ClusterError as error:
            logger.warning("the pass is repeated: %s", error, extra=reference)
        except Exception:
            # Whatever a resource holds, only its own loop may suffer from it.
            logger.exception("the pass failed unexpectedly and is repeated", extra=reference)
        else:
            if requeue.error is None:
                return "success", _Pause(requeue.after)
            logger.warning("the pass is repeated: %s", requeue.error, extra=reference)
        jitter = random.uniform(0.8, 1.2)  # noqa: S311 - spreads retries, protects nothing
        after = min(BACKOFF_FIRST * 2 ** min(failures, 16), BACKOFF_MOST) * jitter
        return "error", _Pause(after, failed=True)


@dataclass(slots=True)
class _Loop:
    """The state of one resource's loop."""

    woken: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None
    marks: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class _Pause:
    """How long a loop rests."""

    after: float | None
    failed: bool = False
