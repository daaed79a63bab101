"""What the process says about itself: lag, passes that are stuck, watches that do nothing."""

import asyncio
import logging
from typing import Any

import pytest

from cnpg_plugin_operator.reconcile.shared import Key
from cnpg_plugin_operator.reconcile.stages import Requeue
from cnpg_plugin_operator.telemetry import Metrics, Readiness
from cnpg_plugin_operator.watch.loops import Loops
from cnpg_plugin_operator.watch.observation import (
    LAGS,
    LATE,
    SILENT,
    SLOW,
    STUCK,
    Observer,
)


class Clock:
    """Shows what the test says, and starts with the real time of what it observes."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return asyncio.get_running_loop().time() + self.ahead


class Quiet:
    """A watch."""

    path = "/api/v1/pods"

    def __init__(self, tried: float) -> None:
        self.tried = tried


def observer() -> tuple[Observer, Clock]:
    clock, readiness = Clock(), Readiness()
    readiness.gain()
    return Observer(Metrics(), readiness, clock), clock


def measured(observing: Observer, name: str) -> float | None:
    return observing.metrics.registry.get_sample_value(f"cnpg_plugin_operator_{name}")


async def wait_for_the_plugin(event: asyncio.Event) -> None:
    await event.wait()


async def test_a_pass_that_is_stuck_is_logged_with_its_place_and_becomes_a_fault(
    caplog: pytest.LogCaptureFixture,
) -> None:
    observing, clock = observer()
    asked, answered = asyncio.Event(), asyncio.Event()

    async def reconcile(_: Key) -> Requeue:
        asked.set()
        await wait_for_the_plugin(answered)
        return Requeue(None)

    loops = Loops(reconcile, observing.metrics)
    observing.observe(loops, ())
    loops.wake(("cnpg-system", "hello"))
    await asked.wait()
    with caplog.at_level(logging.WARNING):
        for ahead in (SLOW - 10, SLOW + 1, SLOW + 2, 2 * SLOW + 10, STUCK - 10):
            clock.ahead = ahead
            observing.look(0.0)
            assert observing.find_fault() == ""
    [first, *others] = [r for r in caplog.records if "a pass has been running" in r.message]
    assert "wait_for_the_plugin (test_observation.py:" in first.message
    assert (vars(first)["namespace"], vars(first)["plugin"]) == ("cnpg-system", "hello")
    assert len(others) == 2, "each time after twice as long"
    assert measured(observing, "stuck_passes") == 1
    clock.ahead = STUCK + 1
    assert "the pass of cnpg-system/hello has been running for 1801 s" in observing.find_fault()
    answered.set()
    while loops.find_running():  # noqa: ASYNC110 - a pass has no Event for its end
        await asyncio.sleep(0)
    observing.look(0.0)
    assert observing.find_fault() == ""
    assert measured(observing, "stuck_passes") == 0
    await loops.stop()


async def test_a_watch_that_does_nothing_is_a_fault() -> None:
    observing, clock = observer()
    watch: Any = Quiet(clock())
    observing.observe(Loops(lambda _: asyncio.sleep(0), observing.metrics), [watch])  # type: ignore[arg-type,return-value]
    clock.ahead = SILENT - 10
    assert observing.find_fault() == ""
    clock.ahead = SILENT + 1
    assert "the watch of /api/v1/pods has done nothing for 1201 s" in observing.find_fault()


async def test_the_longest_lag_of_a_minute_is_measured(caplog: pytest.LogCaptureFixture) -> None:
    observing, _ = observer()
    with caplog.at_level(logging.WARNING):
        observing.look(LATE + 1)
    assert "the event loop was blocked for 3.0 s" in caplog.text
    observing.look(0.1)
    assert measured(observing, "event_loop_lag_seconds") == LATE + 1
    for _ in range(LAGS):
        observing.look(-0.1)
    assert measured(observing, "event_loop_lag_seconds") == 0


async def test_watches_that_are_down_are_counted_and_no_fault() -> None:
    observing, _ = observer()
    observing.readiness.lose("not watched", "one")
    observing.readiness.lose("not watched", "another")
    observing.look(0.0)
    assert measured(observing, "stale_watches") == 2
    assert observing.find_fault() == ""
