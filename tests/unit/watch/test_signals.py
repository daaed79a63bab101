"""Signals: where their watches begin and go on, what they pass on, and what /readyz says."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from cnpg_plugin_operator import errors
from cnpg_plugin_operator.cluster.kinds import LEASE, Kind
from cnpg_plugin_operator.telemetry import Readiness
from cnpg_plugin_operator.watch import feeds, signals
from cnpg_plugin_operator.watch.signals import Signal, build_signals, count

NAMESPACE = "cnpg-system"


class Api:
    """Tells its version, and watches as it is told to."""

    def __init__(self) -> None:
        self.version = "10"
        self.refusal: errors.ClusterError | None = None
        self.watched: list[tuple[str, str | None, str | None]] = []
        """From which version, in which namespace, by which fields."""
        self.events: asyncio.Queue[dict[str, Any] | Exception | None] = asyncio.Queue()

    async def newest(self, kind: Kind, namespace: str) -> str:
        assert (kind, namespace) == (LEASE, NAMESPACE)
        if self.refusal is not None:
            raise self.refusal
        return self.version

    @asynccontextmanager
    async def follow(
        self,
        kind: Kind,
        version: str,
        seconds: int,
        *,
        namespace: str | None = None,
        fields: str | None = None,
    ) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        assert kind == LEASE
        assert seconds > 0
        self.watched.append((version, namespace, fields))
        yield self._read()

    async def _read(self) -> AsyncIterator[dict[str, Any]]:
        while (event := await self.events.get()) is not None:
            if isinstance(event, Exception):
                raise event
            yield event


class Running:
    """A signal that runs."""

    def __init__(self) -> None:
        self.api, self.readiness = Api(), Readiness()
        self.readiness.gain()
        self.taken: list[str] = []
        client: Any = self.api
        self.signal = Signal(client, NAMESPACE, self.readiness, self._take)
        self.task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self.task = asyncio.create_task(self.signal.run())

    async def until(self, condition: Any) -> None:
        async with asyncio.timeout(5):
            while not condition():
                assert self.task is None or not self.task.done()
                await asyncio.sleep(0.001)

    def versions(self) -> list[str]:
        return [version for version, _, _ in self.api.watched]

    def _take(self, body: Mapping[str, Any]) -> None:
        self.taken.append(body["metadata"]["name"])


@pytest.fixture
async def running(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    monkeypatch.setattr(feeds, "LONGEST_PAUSE", 0.001)
    monkeypatch.setattr(signals, "REOPENING", (0.0, 0.0))
    running = Running()
    yield running
    if running.task is not None:
        running.task.cancel()
        await asyncio.gather(running.task, return_exceptions=True)


def change(kind: str, name: str, version: int) -> dict[str, Any]:
    return {"type": kind, "object": {"metadata": {"name": name, "resourceVersion": str(version)}}}


async def test_what_changes_from_now_on_is_passed_on(running: Running) -> None:
    assert "not listed yet" in running.readiness.lack
    running.start()
    await running.until(lambda: not running.readiness.lack)
    assert running.api.watched == [("10", NAMESPACE, "metadata.name=db9c8771.cnpg.io")]
    for each in (change("ADDED", "a", 11), change("MODIFIED", "a", 12), change("ADDED", "b", 13)):
        running.api.events.put_nowait(each)
    await running.until(lambda: running.taken == ["a", "a", "b"])


async def test_a_watch_that_ends_or_breaks_goes_on_where_it_was(running: Running) -> None:
    running.start()
    bookmark = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "40"}}}
    broken = errors.UnavailableError("the connection broke")
    for each in (change("ADDED", "a", 11), None, bookmark, broken, change("ADDED", "b", 41)):
        running.api.events.put_nowait(each)
    await running.until(lambda: running.taken == ["a", "b"])
    assert running.versions() == ["10", "11", "40"]
    assert not running.readiness.lack


async def test_a_version_that_is_too_old_is_no_failure(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    running.start()
    await running.until(lambda: running.versions() == ["10"])
    running.api.version = "90"
    running.api.events.put_nowait(errors.ExpiredError("too old"))
    await running.until(lambda: running.versions() == ["10", "90"])
    assert not running.readiness.lack
    assert caplog.text == ""


async def test_a_missing_right_is_reported_and_may_be_given_later(running: Running) -> None:
    running.api.refusal = errors.ForbiddenError("no right")
    running.start()
    await running.until(lambda: "no right" in running.readiness.lack)
    running.api.refusal = None
    await running.until(lambda: not running.readiness.lack)


async def test_an_object_that_cannot_be_read_does_not_end_a_signal(running: Running) -> None:
    running.start()
    running.api.events.put_nowait({"type": "ADDED", "object": "what no API server sends"})
    running.api.events.put_nowait(change("ADDED", "a", 11))
    await running.until(lambda: running.taken == ["a"])


def test_each_managed_namespace_has_its_signals() -> None:
    nothing: Any = None
    readiness, namespaces = Readiness(), ("cnpg-system", "second")
    readiness.gain()
    found = build_signals(nothing, namespaces, readiness, nothing)
    assert len(found) == count(namespaces) == 2
    for namespace in namespaces:
        assert LEASE.path(namespace) in readiness.lack
