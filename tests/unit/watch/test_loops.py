import asyncio
from collections.abc import Callable
from contextvars import Context
from functools import partial
from itertools import pairwise

import pytest

from cnpg_plugin_operator import errors
from cnpg_plugin_operator.reconcile.shared import Key
from cnpg_plugin_operator.reconcile.stages import Requeue
from cnpg_plugin_operator.reconcile.workers import Lane, Slots
from cnpg_plugin_operator.telemetry import Metrics
from cnpg_plugin_operator.watch.loops import Loops

KEY = ("cnpg-system", "hello")
OTHER = ("cnpg-system", "other")


class Recorder:
    """A reconciler that records its passes and does in each what the test sets."""

    def __init__(self, *results: Requeue | Exception) -> None:
        self.passes: list[Key] = []
        self.running: set[Key] = set()
        self.overlapped = False
        self.gate = asyncio.Event()
        self.gate.set()
        self._results = list(results)
        self._changed = asyncio.Condition()

    async def reconcile(self, key: Key) -> Requeue:
        self.overlapped |= key in self.running
        self.running.add(key)
        async with self._changed:
            self.passes.append(key)
            self._changed.notify_all()
        await self.gate.wait()
        self.running.discard(key)
        result = self._results.pop(0) if self._results else Requeue(600.0)
        if isinstance(result, Exception):
            raise result
        return result

    def has_run(self, passes: int) -> bool:
        return len(self.passes) == passes

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(5), self._changed:
            await self._changed.wait_for(condition)


def loops(recorder: Recorder) -> Loops:
    return Loops(recorder.reconcile, Metrics())


async def test_wakes_during_a_pass_coalesce_into_one_more() -> None:
    recorder = Recorder()
    subject = loops(recorder)
    recorder.gate.clear()
    subject.wake(KEY)
    await recorder.until(lambda: len(recorder.passes) == 1)
    for _ in range(5):
        subject.wake(KEY)
    recorder.gate.set()
    await recorder.until(lambda: len(recorder.passes) == 2)
    subject.wake(OTHER)
    await recorder.until(lambda: OTHER in recorder.passes)
    await subject.stop()

    assert recorder.passes.count(KEY) == 2
    assert not recorder.overlapped


async def test_a_namespace_has_its_own_loop() -> None:
    recorder, metrics = Recorder(), Metrics()
    subject = Loops(recorder.reconcile, metrics)
    for key in (KEY, KEY[:1], KEY[:1]):
        subject.wake(key)
    await recorder.until(lambda: len(recorder.passes) == 2)
    subject.wake(KEY[:1])
    await recorder.until(lambda: len(recorder.passes) == 3)
    await subject.stop()

    assert recorder.passes == [KEY, KEY[:1], KEY[:1]]
    # The last pass may have been cancelled before it was counted.
    assert passes_of(metrics, "cnpgplugins") == 1
    assert passes_of(metrics, "namespaces") >= 1


def passes_of(metrics: Metrics, controller: str) -> float:
    labels = {"controller": controller, "result": "success"}
    return metrics.registry.get_sample_value("controller_runtime_reconcile_total", labels) or 0.0


async def test_the_queue_and_failed_passes_are_measured() -> None:
    recorder, metrics = Recorder(errors.UnavailableError("no")), Metrics()
    subject = Loops(recorder.reconcile, metrics)
    recorder.gate.clear()
    for _ in range(3):
        subject.wake(KEY)
    read = partial(metrics.registry.get_sample_value, labels={"name": "cnpgplugins"})
    assert (read("workqueue_adds_total"), read("workqueue_depth")) == (1, 1)
    await recorder.until(lambda: len(recorder.passes) == 1)
    assert (read("workqueue_depth"), read("workqueue_queue_duration_seconds_count")) == (0, 1)
    subject.wake(KEY)
    assert read("workqueue_depth") == 1
    recorder.gate.set()
    await recorder.until(lambda: len(recorder.passes) == 2)
    await subject.stop()

    failed = {"controller": "cnpgplugins"}
    name = "controller_runtime_reconcile_errors_total"
    assert metrics.registry.get_sample_value(name, failed) == 1
    assert read("workqueue_retries_total") == 1
    assert read("workqueue_work_duration_seconds_count") == 2


async def test_a_pass_is_requeued_as_it_requested() -> None:
    recorder = Recorder(Requeue(0.01))
    subject = loops(recorder)
    subject.wake(KEY)
    await recorder.until(lambda: len(recorder.passes) == 2)
    await subject.stop()


@pytest.mark.parametrize(
    "failure",
    [
        pytest.param(errors.UnavailableError("no route"), id="the API server is away"),
        pytest.param(KeyError("metadata"), id="an object without what every object has"),
    ],
)
async def test_a_failing_pass_is_repeated_and_affects_no_other(failure: Exception) -> None:
    recorder = Recorder(failure)
    subject = loops(recorder)
    subject.wake(KEY)
    await recorder.until(lambda: KEY in recorder.passes)
    subject.wake(OTHER)
    await recorder.until(lambda: OTHER in recorder.passes)
    await recorder.until(lambda: recorder.passes.count(KEY) == 2)
    await subject.stop()


async def test_a_deleted_resource_has_no_loop_until_it_returns() -> None:
    recorder = Recorder(Requeue(None))
    subject = loops(recorder)
    subject.wake(KEY)
    await recorder.until(lambda: len(recorder.passes) == 1)
    subject.wake(OTHER)
    await recorder.until(lambda: OTHER in recorder.passes)
    subject.wake(KEY)
    await recorder.until(lambda: recorder.passes.count(KEY) == 2)
    await subject.stop()


async def test_no_pass_begins_before_its_facts_are_known() -> None:
    recorder, settled = Recorder(), asyncio.Event()
    subject = Loops(recorder.reconcile, Metrics(), settled=settled)
    subject.wake(KEY)
    subject.wake(KEY)
    await asyncio.sleep(0)
    assert recorder.passes == []
    settled.set()
    await recorder.until(lambda: recorder.passes == [KEY])
    subject.wake(OTHER)
    await recorder.until(lambda: OTHER in recorder.passes)
    await subject.stop()

    assert recorder.passes == [KEY, OTHER]


async def test_a_change_by_others_during_a_pass_is_followed_by_one_more() -> None:
    recorder = Recorder()

    async def reconcile(key: Key) -> Requeue:
        if not recorder.passes:
            subject.wake(key, by_others=True)
        return await recorder.reconcile(key)

    subject = Loops(reconcile, Metrics())
    subject.wake(KEY)
    await recorder.until(lambda: recorder.has_run(2))
    await subject.stop()


async def test_a_resource_is_reconciled_again_without_an_event(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cnpg_plugin_operator.watch.loops.RESYNC", (0.01, 0.02))
    recorder = Recorder()
    subject = loops(recorder)
    subject.wake(KEY)
    await recorder.until(lambda: len(recorder.passes) == 3)
    await subject.stop()


async def test_all_keys_are_looked_at_while_not_everything_is_watched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cnpg_plugin_operator.watch.loops.PICK_UP", (0.001, 0.002))
    watching, recorder = [True], Recorder(Requeue(600.0))
    subject = loops(recorder)
    picking_up = asyncio.create_task(subject.pick_up(lambda: [KEY], lambda: watching[0]))
    await recorder.until(lambda: recorder.passes == [KEY])
    watching[0] = False
    await recorder.until(lambda: len(recorder.passes) > 2)
    picking_up.cancel()
    await subject.stop()


async def test_a_pass_does_not_wake_itself() -> None:
    recorder = Recorder()

    async def reconcile(key: Key) -> Requeue:
        subject.wake(key)
        subject.wake(OTHER)
        return await recorder.reconcile(key)

    subject = Loops(reconcile, Metrics())
    subject.wake(KEY)
    await recorder.until(lambda: OTHER in recorder.passes)
    await subject.stop()

    assert recorder.passes == [KEY, OTHER]


async def test_a_burst_is_gathered_while_many_keys_are_busy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cnpg_plugin_operator.watch.loops.GATHERING", 0.02)
    recorder = Recorder()
    subject = loops(recorder)
    others = [(KEY[0], f"busy-{number}") for number in range(11)]
    for key in others:
        subject.wake(key)
    await recorder.until(lambda: len(recorder.passes) == 11)
    begun = asyncio.get_running_loop().time()
    for passes in (12, 13):
        subject.wake(KEY)
        await recorder.until(partial(recorder.has_run, passes))
    await subject.stop()

    assert asyncio.get_running_loop().time() - begun > 0.19


async def test_a_resource_without_a_loop_is_picked_up_also_while_the_facts_are_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cnpg_plugin_operator.watch.loops.PICK_UP", (0.01, 0.02))
    answers: list[list[Key] | Exception] = [errors.UnavailableError("away"), [KEY]]

    def name_keys() -> list[Key]:
        answer = answers.pop(0) if answers else []
        if isinstance(answer, Exception):
            raise answer
        return answer

    recorder = Recorder(Requeue(None))
    subject = loops(recorder)
    picking_up = asyncio.create_task(subject.pick_up(name_keys, lambda: True))
    await recorder.until(lambda: recorder.passes == [KEY])
    picking_up.cancel()
    await subject.stop()


async def test_resources_of_other_namespaces_occupy_no_worker_of_the_managed_ones() -> None:
    recorder = Recorder()
    subject = Loops(recorder.reconcile, Metrics(), is_managed=lambda name: name == KEY[0])
    recorder.gate.clear()
    for number in range(50):
        subject.wake(("elsewhere", f"flood-{number}"))
    await recorder.until(lambda: len(recorder.passes) == 1)
    subject.wake(KEY)
    await recorder.until(lambda: len(recorder.passes) == 2)

    assert recorder.passes == [("elsewhere", "flood-0"), KEY]
    recorder.gate.set()
    await subject.stop()


@pytest.mark.parametrize("lane", list(Lane))
async def test_a_pass_that_waits_occupies_no_worker(lane: Lane) -> None:
    slots, gate, seen = Slots(2), asyncio.Event(), Recorder()

    async def reconcile(key: Key) -> Requeue:
        if key[1].startswith("slow"):
            async with slots.aside(lane):
                await gate.wait()
        return await seen.reconcile(key)

    subject = Loops(reconcile, Metrics(), slots=slots)
    for number in range(lane.width + 3):
        subject.wake((KEY[0], f"slow-{number}"))
    subject.wake(KEY)
    await seen.until(lambda: seen.passes == [KEY])
    gate.set()
    await seen.until(lambda: len(seen.passes) == lane.width + 4)
    await subject.stop()


async def test_at_most_as_many_passes_as_slots_run_at_a_time() -> None:
    slots, working, most, left, done = Slots(2), 0, 0, 10, asyncio.Event()

    async def reconcile(_: Key) -> Requeue:
        nonlocal working, most, left
        async with slots.aside(Lane.PEER):
            await asyncio.sleep(0)
        working += 1
        most = max(most, working)
        await asyncio.sleep(0.001)
        working, left = working - 1, left - 1
        if not left:
            done.set()
        return Requeue(None)

    subject = Loops(reconcile, Metrics(), slots=slots)
    for number in range(10):
        subject.wake((KEY[0], f"each-{number}"))
    async with asyncio.timeout(5):
        await done.wait()
    await subject.stop()

    assert most == 2


async def test_a_constantly_woken_resource_pauses_between_its_passes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cnpg_plugin_operator.watch.loops.MOST_PASSES", 5)
    monkeypatch.setattr("cnpg_plugin_operator.watch.loops.REST", 0.05)
    times: list[float] = []

    async def reconcile(key: Key) -> Requeue:
        times.append(asyncio.get_running_loop().time())
        if len(times) < 8:
            asyncio.get_running_loop().call_soon(subject.wake, key, context=Context())
        return await seen.reconcile(key)

    seen, subject = Recorder(), Loops(reconcile, Metrics())
    begun = asyncio.get_running_loop().time()
    subject.wake(KEY)
    await seen.until(lambda: len(seen.passes) == 8)
    await subject.stop()

    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert min(pauses[:4]) < 0.04
    # A busy machine may delay a pass, but never start it early: three pauses precede the last one.
    assert times[-1] - begun > 0.149
