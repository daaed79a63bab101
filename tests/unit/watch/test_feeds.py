"""Feeds: when they list, what they make of the API server's answers, and what /readyz says."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, NoReturn

import pytest

from cnpg_plugin_operator import errors
from cnpg_plugin_operator.cluster.client import Page
from cnpg_plugin_operator.cluster.kinds import CLUSTER, ISSUER, PLUGIN, SERVICE, Kind
from cnpg_plugin_operator.cluster.scope import ALL_NAMESPACES, Places, Scope
from cnpg_plugin_operator.telemetry import Readiness
from cnpg_plugin_operator.watch import feeds
from cnpg_plugin_operator.watch.facts import FactStore
from cnpg_plugin_operator.watch.feeds import (
    EventFeed,
    Feed,
    Feeds,
    FollowingFeed,
    ObjectFeed,
    PluginFeed,
)
from cnpg_plugin_operator.watch.objects import OWN_LABEL, ObjectStore

SELECTED = "involvedObject.kind=Service,source=cloudnative-pg-plugin"
"""CloudNativePG's Events on Services."""

Event = dict[str, Any] | Exception | None
"""An event of a watch, what it ends with, or its end."""


class Api:
    """Lists what it holds, and watches as it is told to."""

    def __init__(self) -> None:
        self.objects: list[dict[str, Any]] = []
        self.version = 10
        self.refusal: errors.ClusterError | None = None
        self.listed = 0
        self.where: tuple[str | None, ...] = ()
        """Namespace and selectors of the last list, or watch."""
        self.places: list[str | None] = []
        """The namespaces of all lists."""
        self.watched: list[str] = []
        """The versions that watches began at."""
        self.watched_places: list[str | None] = []
        """Their namespaces."""
        self.events: asyncio.Queue[Event] = asyncio.Queue()

    async def pages(
        self,
        _: Kind,
        namespace: str | None = None,
        labels: str | None = None,
        fields: str | None = None,
    ) -> AsyncIterator[Page]:
        self.listed += 1
        self.where = (namespace, labels, fields)
        self.places.append(namespace)
        for body in self.objects:
            yield Page(str(self.version), (body,))
        if self.refusal is not None:
            raise self.refusal
        yield Page(str(self.version), ())

    @asynccontextmanager
    async def follow(
        self,
        _: Kind,
        version: str,
        seconds: int,
        *,
        namespace: str | None = None,
        fields: str | None = None,
    ) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        assert seconds > 0
        assert namespace in self.places
        assert fields == self.where[2]
        self.watched.append(version)
        self.watched_places.append(namespace)
        yield self._read()

    async def _read(self) -> AsyncIterator[dict[str, Any]]:
        while (event := await self.events.get()) is not None:
            if isinstance(event, Exception):
                raise event
            yield event


def body(name: str, version: int, **more: Any) -> dict[str, Any]:
    metadata = {"namespace": "app", "name": name, "resourceVersion": str(version)}
    return {"metadata": metadata, **more}


def event(kind: str, name: str, version: int) -> dict[str, Any]:
    return {"type": kind, "object": body(name, version)}


class Running:
    """A feed that runs."""

    def __init__(self, make: Callable[[Any, FactStore, Readiness], Feed]) -> None:
        self.api, self.facts, self.readiness = Api(), FactStore(), Readiness()
        self.readiness.gain()
        self.feed = make(self.api, self.facts, self.readiness)
        self.task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self.task = asyncio.create_task(self.feed.run())

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not condition():
                assert self.task is None or not self.task.done()
                await asyncio.sleep(0.001)

    def numbers(self) -> list[int] | None:
        """Give the versions of the Events that are known."""
        known = self.facts.events("app")
        return [each.number for each in known] if known is not None else None

    def names(self) -> list[str]:
        return [record.name for record in self.facts.clusters()]


@pytest.fixture(name="pauses", autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "LONGEST_PAUSE", 0.001)
    monkeypatch.setattr(feeds, "NOT_SERVED", 0.001)
    monkeypatch.setattr(feeds, "REOPENING", (0.0, 0.0))


async def run(make: Callable[[Any, FactStore, Readiness], Feed]) -> AsyncIterator[Running]:
    running = Running(make)
    yield running
    if running.task is not None:
        running.task.cancel()
        await asyncio.gather(running.task, return_exceptions=True)


def follow_clusters(
    client: Any, facts: FactStore, readiness: Readiness, places: Places
) -> FollowingFeed:
    return FollowingFeed(client, facts, facts.fleet, readiness, places)


@pytest.fixture
async def clusters() -> AsyncIterator[Running]:
    async for running in run(partial(follow_clusters, places=ALL_NAMESPACES)):
        yield running


@pytest.fixture
async def plugins() -> AsyncIterator[Running]:
    async for running in run(partial(PluginFeed, places=ALL_NAMESPACES)):
        yield running


@pytest.fixture
async def events() -> AsyncIterator[Running]:
    def make(client: Any, facts: FactStore, readiness: Readiness) -> Feed:
        return EventFeed(client, facts, readiness, "app")

    async for running in run(make):
        yield running


async def test_clusters_are_watched_from_where_their_list_ends(clusters: Running) -> None:
    clusters.api.objects = [body("a", 3), body("b", 4)]
    assert "not listed yet" in clusters.readiness.lack
    clusters.start()
    await clusters.until(lambda: not clusters.readiness.lack)
    assert clusters.names() == ["a", "b"]
    assert clusters.api.watched == ["10"]

    clusters.api.events.put_nowait(event("ADDED", "c", 11))
    clusters.api.events.put_nowait(event("DELETED", "a", 12))
    await clusters.until(lambda: clusters.names() == ["b", "c"])


@pytest.fixture
async def scattered() -> AsyncIterator[Running]:
    async for running in run(partial(follow_clusters, places=("app", "shop"))):
        yield running


async def test_clusters_of_some_namespaces_have_a_watch_in_each(scattered: Running) -> None:
    scattered.api.objects = [body("a", 3)]
    assert scattered.feed.path == f"{CLUSTER.path('app')}, {CLUSTER.path('shop')}"
    scattered.start()
    await scattered.until(lambda: len(scattered.api.watched) == 2)
    assert scattered.api.places == scattered.api.watched_places == ["app", "shop"]
    assert scattered.api.watched == ["10", "10"]
    assert scattered.names() == ["a"]
    assert not scattered.readiness.lack


async def test_if_one_of_several_watches_breaks_all_are_listed_again(scattered: Running) -> None:
    scattered.start()
    await scattered.until(lambda: len(scattered.api.watched) == 2)
    scattered.api.events.put_nowait(errors.UnavailableError("the connection broke"))
    await scattered.until(lambda: len(scattered.api.watched) == 4)
    assert scattered.api.listed == 4


async def test_a_watch_that_ends_goes_on_where_it_was(clusters: Running) -> None:
    clusters.start()
    clusters.api.events.put_nowait(event("ADDED", "c", 11))
    bookmark = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "40"}}}
    for each in (None, bookmark, None):
        clusters.api.events.put_nowait(each)
    await clusters.until(lambda: clusters.api.watched == ["10", "11", "40"])
    assert clusters.api.listed == 1
    assert clusters.names() == ["c"]


@pytest.mark.parametrize(
    "end", [errors.ExpiredError("too old"), errors.UnavailableError("the connection broke")]
)
async def test_a_watch_that_breaks_is_followed_by_a_list(clusters: Running, end: Exception) -> None:
    clusters.api.objects = [body("a", 3), body("b", 4)]
    clusters.start()
    await clusters.until(lambda: len(clusters.api.watched) == 1)
    clusters.api.objects, clusters.api.version = [body("b", 4)], 50
    clusters.api.events.put_nowait(end)
    await clusters.until(lambda: clusters.api.watched == ["10", "50"])
    assert clusters.names() == ["b"]
    assert not clusters.readiness.lack


async def test_clusters_are_listed_now_and_then(
    clusters: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "LIST_AGAIN", (0.0, 0.0))
    clusters.start()
    await clusters.until(lambda: clusters.api.listed > 2)


async def test_the_last_facts_count_while_nothing_is_heard(clusters: Running) -> None:
    clusters.api.objects = [body("a", 3)]
    clusters.start()
    await clusters.until(lambda: len(clusters.api.watched) == 1)
    clusters.api.refusal = errors.ForbiddenError("no right any more")
    clusters.api.objects = []
    clusters.api.events.put_nowait(errors.UnavailableError("the connection broke"))
    await clusters.until(lambda: "no right any more" in clusters.readiness.lack)
    assert clusters.names() == ["a"]
    clusters.api.refusal = None
    await clusters.until(lambda: not clusters.readiness.lack)
    assert clusters.names() == []


async def test_a_right_that_is_missing_from_the_start_is_for_passes_to_tell(
    clusters: Running,
) -> None:
    clusters.facts.plugins.clear()
    clusters.api.refusal = errors.ForbiddenError("no right")
    clusters.start()
    await clusters.until(clusters.facts.settled.is_set)
    with pytest.raises(errors.ForbiddenError):
        clusters.names()
    clusters.api.refusal = None
    await clusters.until(lambda: not clusters.readiness.lack)
    assert clusters.names() == []


async def test_passes_wait_for_an_api_server_that_is_away(clusters: Running) -> None:
    clusters.facts.plugins.clear()
    clusters.api.refusal = errors.UnavailableError("connection refused")
    clusters.start()
    await clusters.until(lambda: clusters.api.listed > 2)
    assert not clusters.facts.settled.is_set()
    clusters.api.refusal = None
    await clusters.until(clusters.facts.settled.is_set)


async def test_a_kind_that_is_not_served_has_no_objects_and_may_come_and_go(
    clusters: Running,
) -> None:
    clusters.api.refusal = errors.KindMissingError("not served")
    clusters.start()
    await clusters.until(lambda: not clusters.readiness.lack)
    assert clusters.names() == []

    clusters.api.objects, clusters.api.refusal = [body("a", 3)], None
    await clusters.until(lambda: clusters.names() == ["a"])
    clusters.api.objects, clusters.api.refusal = [], errors.KindMissingError("not served")
    clusters.api.events.put_nowait(errors.UnavailableError("the kind is gone"))
    await clusters.until(lambda: clusters.names() == [])


async def test_an_object_that_cannot_be_read_does_not_end_a_feed(clusters: Running) -> None:
    clusters.start()
    await clusters.until(lambda: len(clusters.api.watched) == 1)
    clusters.api.events.put_nowait({"type": "ADDED", "object": "what no API server sends"})
    await clusters.until(lambda: len(clusters.api.watched) == 2)


async def test_cloudnativepgs_events_on_services_are_kept_until_they_expire(
    events: Running,
) -> None:
    assert events.facts.events("app") is None, "passes read them"
    on_service = {"involvedObject": {"kind": "Service", "name": "hello"}}
    events.api.objects = [body("old", 3, **on_service)]
    events.start()
    await events.until(lambda: events.numbers() == [3])
    assert events.api.where == ("app", None, SELECTED)
    events.api.events.put_nowait(event("ADDED", "new", 11))
    events.api.events.put_nowait(event("DELETED", "old", 12))
    await events.until(lambda: events.numbers() == [11])


async def test_a_version_of_events_that_is_too_old_is_no_failure(
    events: Running, caplog: pytest.LogCaptureFixture
) -> None:
    events.start()
    await events.until(lambda: len(events.api.watched) == 1)
    events.api.version = 90
    events.api.events.put_nowait(errors.ExpiredError("too old"))
    await events.until(lambda: events.api.watched == ["10", "90"])
    assert not events.readiness.lack
    assert caplog.text == ""


async def test_passes_read_events_while_they_are_not_watched(events: Running) -> None:
    events.start()
    await events.until(lambda: events.numbers() == [])
    events.api.refusal = errors.UnavailableError("away")
    events.api.events.put_nowait(errors.UnavailableError("the connection broke"))
    await events.until(lambda: events.facts.events("app") is None)
    events.api.refusal = None
    await events.until(lambda: events.numbers() == [])


async def test_resources_are_listed_when_their_watch_began_and_now_and_then(
    plugins: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = plugins.feed
    assert isinstance(feed, PluginFeed)
    plugins.api.objects = [body("a", 3)]
    plugins.start()
    await plugins.until(lambda: not plugins.readiness.lack)
    assert plugins.api.listed == 1
    plugins.api.objects, plugins.api.version = [], 20
    feed.interrupted.set()
    await plugins.until(lambda: plugins.facts.resources("app") == ())
    assert plugins.api.listed == 2

    monkeypatch.setattr(feeds, "LIST_AGAIN", (0.0, 0.0))
    feed.interrupted.set()
    await plugins.until(lambda: plugins.api.listed > 5)
    assert plugins.api.watched == [], "kopf watches them"


async def test_objects_are_known_after_a_list_that_follows_the_begin_of_their_watch() -> None:
    api, objects = Api(), ObjectStore(FactStore())
    api.objects = [body("listed", 7)]
    client: Any = api
    feed = ObjectFeed(client, objects, ISSUER, "app")
    table = objects.table(ISSUER, "app")
    task = asyncio.create_task(feed.run())
    try:
        table.take(body("deleted-unseen", 3))
        await asyncio.sleep(0)
        assert api.listed == 0, "kopf has not listed yet"
        feed.interrupted.set()
        await until(task, lambda: table.error is None)
        assert api.where == ("app", OWN_LABEL, None)
        assert [each.metadata["name"] for each in table.values()] == ["listed"]

        api.refusal, api.objects = None, [{"metadata": {}}]
        feed.interrupted.set()
        await until(task, lambda: table.error is not None)
        api.refusal, api.objects = errors.UnavailableError("away"), []
        feed.interrupted.set()
        await until(task, lambda: table.error is not None)
        assert objects.find(ISSUER, "app", "listed") is None, "passes read it themselves"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_all_feeds_learn_of_begun_and_ended_watches() -> None:
    client: Any = Api()
    objects, readiness = ObjectStore(FactStore()), Readiness()
    feeds_of_all = Feeds(client, FactStore(), objects, Scope(("app",)), readiness)
    table = objects.table(SERVICE, "app")
    tasks = [asyncio.create_task(each) for each in feeds_of_all.running()]
    try:
        feeds_of_all.begun("/unknown")
        feeds_of_all.begun(SERVICE.path("app"))
        await until(tasks[0], lambda: table.error is None)
        feeds_of_all.changed({ISSUER})
        assert table.error is None
        feeds_of_all.changed({SERVICE})
        assert table.error is not None, "its objects went with the kind"
        await until(tasks[0], lambda: table.error is None)
        feeds_of_all.ended()
        assert table.error is not None
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_without_cluster_wide_rights_one_table_of_resources_follows_each_namespace() -> None:
    client: Any = Api()
    facts, scope = FactStore(), Scope(("app", "shop"), ("app",))
    feeds_of_all = Feeds(client, facts, ObjectStore(facts), scope, Readiness())
    assert feeds.count_followed(scope) == 3
    _, resources, *_ = feeds_of_all.watches
    task = asyncio.create_task(resources.run())
    try:
        await until(task, lambda: client.places == ["app", "shop"])
        feeds_of_all.begun(PLUGIN.path("shop"))
        await until(task, lambda: client.places == ["app", "shop"] * 2)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(task: asyncio.Task[NoReturn], condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            assert not task.done()
            await asyncio.sleep(0.001)
