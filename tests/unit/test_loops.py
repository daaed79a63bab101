import asyncio
from collections.abc import Callable

import pytest

from cnpg_plugin_operator import errors
from cnpg_plugin_operator.loops import Loops
from cnpg_plugin_operator.reconciler import Requeue
from cnpg_plugin_operator.telemetry import Metrics

KEY = ("cnpg-system", "hello")
OTHER = ("cnpg-system", "other")


class Recorder:
    """A reconciler that notes its passes and does as it is told in each."""

    def __init__(self, *results: Requeue | Exception) -> None:
        self.passes: list[tuple[str, str]] = []
        self.running: set[tuple[str, str]] = set()
        self.overlapped = False
        self.gate = asyncio.Event()
        self.gate.set()
        self._results = list(results)
        self._changed = asyncio.Condition()

    async def reconcile(self, namespace: str, name: str) -> Requeue:
        key = (namespace, name)
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


async def test_a_pass_comes_back_when_it_asked_to() -> None:
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
async def test_a_failing_pass_is_repeated_and_harms_no_other(failure: Exception) -> None:
    recorder = Recorder(failure)
    subject = loops(recorder)
    subject.wake(KEY)
    await recorder.until(lambda: KEY in recorder.passes)
    subject.wake(OTHER)
    await recorder.until(lambda: OTHER in recorder.passes)
    await recorder.until(lambda: recorder.passes.count(KEY) == 2)
    await subject.stop()


async def test_a_resource_that_is_gone_has_no_loop_until_it_is_back() -> None:
    recorder = Recorder(Requeue(None))
    subject = loops(recorder)
    subject.wake(KEY)
    await recorder.until(lambda: len(recorder.passes) == 1)
    subject.wake_where(lambda *_: True)
    subject.wake(OTHER)
    await recorder.until(lambda: OTHER in recorder.passes)
    subject.wake(KEY)
    await recorder.until(lambda: recorder.passes.count(KEY) == 2)
    await subject.stop()


async def test_a_cluster_wakes_the_plugins_that_it_names() -> None:
    recorder = Recorder()
    subject = loops(recorder)
    for key, plugin in ((KEY, "hello.example.org"), (OTHER, "other.example.org")):
        subject.wake(key)
        subject.learn(key, frozenset({plugin}))
    await recorder.until(lambda: len(recorder.passes) == 2)
    subject.wake_where(lambda _, marks: "hello.example.org" in marks)
    await recorder.until(lambda: len(recorder.passes) == 3)
    await subject.stop()

    assert recorder.passes.count(KEY) == 2
