"""The watches: whatever the API server answers, they begin again and the process goes on."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from cnpg_plugin_operator import errors, names
from cnpg_plugin_operator.reconcile.plugin import Requeue
from cnpg_plugin_operator.telemetry import Metrics, Readiness
from cnpg_plugin_operator.watch import handlers
from cnpg_plugin_operator.watch.handlers import Watches, owners_of
from cnpg_plugin_operator.watch.loops import Key, Loops

Served = Callable[[str], Awaitable[frozenset[str]]]


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handlers, "LONGEST_PAUSE", 0.01)
    monkeypatch.setattr(handlers, "KINDS_INTERVAL", 0.01)


async def nothing(_: Key) -> Requeue:
    return Requeue(None)


class Running:
    """Watches that run, and what /readyz would say of them."""

    def __init__(self, served: Served) -> None:
        self.stop = asyncio.Event()
        self.readiness = Readiness()
        watches = Watches(Loops(nothing, Metrics()), ("cnpg-system",), served)
        self.task = asyncio.create_task(watches.run(self.stop, self.readiness))

    async def until(self, lack: str) -> None:
        """Wait until something is lacking, or nothing for an empty text."""
        async with asyncio.timeout(5):
            while lack not in self.readiness.lack or bool(lack) != bool(self.readiness.lack):
                assert not self.task.done()
                await asyncio.sleep(0.005)

    async def end(self) -> None:
        self.stop.set()
        async with asyncio.timeout(5):
            await self.task


async def test_an_api_server_that_is_down_is_asked_again_until_it_answers() -> None:
    down = asyncio.Event()
    down.set()

    async def served(_group: str) -> frozenset[str]:
        if down.is_set():
            raise errors.UnavailableError("get API group: connection refused")
        return frozenset()

    running = Running(served)
    await running.until("connection refused")
    down.clear()
    await running.until("CustomResourceDefinition cnpgplugins is not installed")
    await running.end()


@pytest.mark.parametrize(
    "failure",
    [
        pytest.param(PermissionError("services is forbidden"), id="a right is missing"),
        pytest.param(ConnectionError("reset by peer"), id="the connection broke"),
    ],
)
async def test_a_watch_that_ends_begins_again(
    monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    broken = asyncio.Event()
    broken.set()

    async def served(_group: str) -> frozenset[str]:
        return frozenset({names.resource.PLURAL})

    async def operate(
        _registry: Any, stop: asyncio.Event, started: asyncio.Event, _namespaces: Any
    ) -> None:
        if broken.is_set():
            raise failure
        started.set()
        await stop.wait()

    monkeypatch.setattr(handlers, "_operate", operate)
    running = Running(served)
    await running.until(str(failure))
    broken.clear()
    await running.until("")
    await running.end()


async def test_an_error_at_the_moment_when_other_kinds_are_served_ends_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = [frozenset({names.resource.PLURAL}), frozenset({names.resource.PLURAL}), None]

    async def served(group: str) -> frozenset[str]:
        if group != handlers.RESOURCE[0]:
            return frozenset()
        answer = answers.pop(0) if answers else frozenset()
        if answer is None:
            raise errors.UnavailableError("the API server restarts")
        return answer

    async def operate(_registry: Any, stop: asyncio.Event, *_: Any) -> None:
        await asyncio.wait_for(stop.wait(), 0.005)

    monkeypatch.setattr(handlers, "_operate", operate)
    running = Running(served)
    await running.until("CustomResourceDefinition cnpgplugins is not installed")
    await running.end()


@pytest.mark.parametrize(
    ("metadata", "owners"),
    [
        ({"labels": {names.labels.PLUGIN: "a"}}, {"a"}),
        ({"ownerReferences": [{"kind": "CNPGPlugin", "name": "a"}]}, {"a"}),
        ({"ownerReferences": [{"kind": "Deployment", "name": "a"}]}, set()),
        ({"labels": None, "ownerReferences": None}, set()),
    ],
    ids=["its label", "its owner reference", "another owner", "nothing"],
)
def test_an_object_is_found_again_by(metadata: dict[str, Any], owners: set[str]) -> None:
    assert owners_of(metadata) == owners
