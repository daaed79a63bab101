"""Takes part in the leader election: sends the requests that `decide.leadership` asks for. No kopf.

It has a connection of its own, so that a renewal never waits for a pass. A watch of the Lease makes
a hand-over quick; nothing depends on it, because every write has a condition. Nothing that the API
server answers ends this: a standby waits as long as it takes.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, NoReturn

from cnpg_plugin_operator import errors
from cnpg_plugin_operator.cluster.fence import Fence, boot_time
from cnpg_plugin_operator.cluster.lease import OperatorLease
from cnpg_plugin_operator.decide import leadership
from cnpg_plugin_operator.decide.leadership import Action, Candidate, Record, Step
from cnpg_plugin_operator.telemetry import Readiness
from cnpg_plugin_operator.watch.feeds import LONGEST_PAUSE, REOPENING
from cnpg_plugin_operator.watch.loops import spread

logger = logging.getLogger(__name__)

SECONDS: Final = 300
"""Length of a watch of the Lease. A standby sees a renewal every few seconds, and without one takes
the Lease, so that a broken watch is no harm."""

FAILURES: Final = (errors.ClusterError, TimeoutError)


class Elector:
    """One process of several that want to lead."""

    def __init__(
        self,
        lease: OperatorLease,
        candidate: Candidate,
        readiness: Readiness,
        clock: Callable[[], float] = boot_time,
    ) -> None:
        self._lease, self._candidate = lease, candidate
        self._readiness, self._clock = readiness, clock
        self._changed = asyncio.Event()
        """There is something to decide before the end of the present wait."""
        self._is_doubtful = True
        """Whether the Lease has to be read before the next step."""
        self._failures = 0
        self.leading = asyncio.Event()
        self.fence = Fence(candidate.times, clock, refused=self._changed.set)
        readiness.lose("the Lease has not been read yet", _WATCHER)

    async def run(self) -> str:
        """Try to lead, and lead, until that ends; return why."""
        while True:
            if self._is_doubtful:
                await self._read()
            step = leadership.decide_step(self._candidate, self._clock())
            match step.action:
                case _ if not self._candidate.is_informed:
                    continue
                case Action.STOP:
                    self.fence.close()
                    return step.why
                case Action.WAIT:
                    await self._wait(step.until - self._clock())
                case _:
                    await self._attempt(step)

    async def follow(self) -> NoReturn:
        """Watch the Lease."""
        failures = 0
        while True:
            try:
                async for record in self._lease.follow(SECONDS):
                    failures = 0
                    self._take(record)
            except FAILURES as error:
                failures += 1
                logger.debug("the Lease is not watched: %s", error)
            pause = spread(*REOPENING) * 2.0 ** min(failures, 16)
            await asyncio.sleep(min(pause, LONGEST_PAUSE))

    async def release(self) -> None:
        """Let another process take the Lease at once; all work of this one has ended."""
        self.fence.close()
        if self.leading.is_set():
            with contextlib.suppress(*FAILURES):
                async with asyncio.timeout(self._candidate.times.deadline / 2):
                    await self._release()

    async def _release(self) -> None:
        """Release it as it is now: a renewal that was cut off may have been carried out."""
        record, identity = self._candidate.record, self._candidate.identity
        while record is not None and record.holder == identity:
            try:
                await self._lease.replace(leadership.write_release(record, _write_time()))
            except errors.ConflictError:
                record = await self._lease.read()
            else:
                logger.info("released the Lease")
                return

    def _take(self, record: Record | None) -> None:
        """Learn of a change; one that a leader did not make itself may be older than its own."""
        if self._candidate.renewed is None:
            self._see(record)
        elif record is None or record.holder != self._candidate.identity:
            self._is_doubtful = True
        else:
            return
        self._changed.set()

    async def _read(self) -> None:
        try:
            async with asyncio.timeout(self._limit()):
                record = await self._lease.read()
        except FAILURES as error:
            self._report("read", error)
            pause = self._candidate.times.retry * 2.0 ** min(self._failures - 1, 16)
            await self._wait(min(pause, LONGEST_PAUSE, self._limit()))
        else:
            self._is_doubtful = False
            self._see(record)

    async def _attempt(self, step: Step) -> None:
        """Write once; whatever else happened is to be read."""
        began = self._clock()
        self._candidate = leadership.begin(self._candidate, began)
        record = leadership.write_record(self._candidate, _write_time())
        creates = step.action is Action.CREATE
        try:
            async with asyncio.timeout(self._limit()):
                write = self._lease.create if creates else self._lease.replace
                answer = await write(record)
        except (errors.ConflictError, errors.NotFoundError):
            self._is_doubtful = True
        except FAILURES as error:
            self._is_doubtful = True
            self._report("written", error)
        else:
            claims = leadership.is_claim(self._candidate)
            self._candidate = leadership.win(self._candidate, answer, self._clock())
            self._gain()
            if claims:
                logger.log(
                    logging.INFO if creates else logging.DEBUG,
                    "created the Lease: leads once no other process can lead any more",
                )
            else:
                self.fence.extend(began)
                self.leading.set()

    def _see(self, record: Record | None) -> None:
        before = self._candidate.record
        self._candidate = leadership.see(self._candidate, record, self._clock())
        holder = record.holder if record is not None else ""
        if self._candidate.renewed is None and (before is None or before.holder != holder):
            logger.info("standby: the holder of the Lease is %s", holder or "no process")
        self._gain()

    def _limit(self) -> float:
        """Return the seconds that a request may take."""
        times, renewed = self._candidate.times, self._candidate.renewed
        if renewed is None:
            return times.deadline / 2
        # A request without an answer leaves time for another one.
        left = renewed + times.deadline - self._clock()
        return max(min(left, max(left / 2, times.retry)), 0.0)

    async def _wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        self._changed.clear()

    def _gain(self) -> None:
        self._failures = 0
        self._readiness.gain(_WATCHER)

    def _report(self, what: str, error: Exception) -> None:
        said = f"the Lease cannot be {what}: {str(error) or 'no answer in time'}"
        logger.warning("%s", said)
        self._failures += 1
        self._readiness.lose(said, _WATCHER)


_WATCHER: Final = "leader election"


def _write_time() -> str:
    """Write the time as Leases show it; no process reads it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
