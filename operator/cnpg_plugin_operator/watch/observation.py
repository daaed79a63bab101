"""How the process itself is doing: whether it is late, stuck, or has stopped to watch.

What passes by itself, such as an API server that is away, is none of this: /readyz reports that. A
fault here is a bug that only a restart ends, and which the log has to explain. No kopf.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final, NoReturn

from cnpg_plugin_operator.telemetry import Metrics, Readiness
from cnpg_plugin_operator.watch.feeds import Watch
from cnpg_plugin_operator.watch.loops import Loops, Running

logger = logging.getLogger(__name__)

INTERVAL: Final = 1.0
"""Seconds between two looks."""

LAGS: Final = 60
"""Looks over which the longest lag counts: an interval of scrapes should miss none."""

LATE: Final = 2.0
"""Seconds of lag that are logged: renewals of the Lease have about five times as long."""

SLOW: Final = 120.0
"""Seconds after which a pass is logged, and again after twice as long: a request and a handshake
take at most 20 s each, and a pass makes few of those one after the other."""

STUCK: Final = 1800.0
"""Seconds after which a pass is a fault. Some hundred plugins that do not answer can make one wait
for half of that."""

SILENT: Final = 1200.0
"""Seconds after which a watch without a new try is a fault: a try takes 660 s at most."""


class Observer:
    """Looks at the process once a second."""

    def __init__(
        self,
        metrics: Metrics,
        readiness: Readiness,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.metrics, self.readiness = metrics, readiness
        self._clock = clock
        self._loops: Loops | None = None
        self._watches: tuple[Watch, ...] = ()
        self._lags: deque[float] = deque(maxlen=LAGS)
        self._logged: dict[Running, float] = {}
        """The passes that were logged, and after how long they are logged again."""

    def observe(self, loops: Loops, watches: Iterable[Watch]) -> None:
        """Look at these, too, as soon as the process leads."""
        self._loops, self._watches = loops, tuple(watches)

    async def run(self) -> NoReturn:
        """Look again and again."""
        while True:
            due = self._clock() + INTERVAL
            await asyncio.sleep(INTERVAL)
            self.look(self._clock() - due)

    def look(self, lag: float) -> None:
        """Measure, and log what takes too long."""
        self._lags.append(max(lag, 0.0))
        if lag > LATE:
            logger.warning("the event loop was blocked for %.1f s", lag)
        self.metrics.lag.set(max(self._lags))
        self.metrics.stale_watches.set(self.readiness.count)
        slow = {each: self._clock() - each.began for each in self._find_running()}
        slow = {each: seconds for each, seconds in slow.items() if seconds > SLOW}
        self.metrics.stuck.set(len(slow))
        self._logged = {each: at for each, at in self._logged.items() if each in slow}
        for each, seconds in slow.items():
            if seconds >= self._logged.get(each, SLOW):
                self._logged[each] = 2 * seconds
                place = find_place(each.task)
                reference = dict(zip(("namespace", "plugin"), each.key, strict=False))
                logger.warning(
                    "a pass has been running for %.0f s: %s", seconds, place, extra=reference
                )

    def find_fault(self) -> str:
        """Say what only a restart repairs; empty if nothing."""
        now = self._clock()
        faults = [
            f"the pass of {'/'.join(each.key)} has been running for {now - each.began:.0f} s"
            for each in self._find_running()
            if now - each.began > STUCK
        ]
        faults += [
            f"the watch of {each.path} has done nothing for {now - each.tried:.0f} s"
            for each in self._watches
            if now - each.tried > SILENT
        ]
        return "; ".join(faults)

    def _find_running(self) -> list[Running]:
        return self._loops.find_running() if self._loops is not None else []


def find_place(task: asyncio.Task[Any]) -> str:
    """Say where a task waits: its coroutines from the outer to the inner one.

    `Task.get_stack` knows only the outermost.
    """
    places = []
    waiting: Any = task.get_coro()
    while waiting is not None:
        for prefix, awaited in (("cr", "await"), ("gi", "yieldfrom"), ("ag", "await")):
            frame = getattr(waiting, f"{prefix}_frame", None)
            if frame is not None:
                name = frame.f_code.co_qualname
                file = frame.f_code.co_filename.rpartition("/")[2]
                places.append(f"{name} ({file}:{frame.f_lineno})")
                waiting = getattr(waiting, f"{prefix}_{awaited}")
                break
        else:
            break
    return " > ".join(places)
