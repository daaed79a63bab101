"""What fills the fact store beside kopf: lists, and the watches of Clusters and Events. No kopf.

kopf does not watch Clusters: it reads them all at once, and keeps each with a task of its own. With
2,000 Clusters of 7 KB and no plugin, it takes 172 MB (186 at the start) and 8 % of a core for 50
status updates a second; this feed takes 101 MB (104) and 2.3 %.
CloudNativePG's Events, which are many, have such a feed for the same reasons.
Everything else is watched by kopf, which does not report what was deleted while its watch was down:
so it is listed again whenever that watch begins, and now and then.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Coroutine, Iterable
from typing import Any, Final, NoReturn

from cnpg_plugin_operator import errors
from cnpg_plugin_operator.cluster.client import Client
from cnpg_plugin_operator.cluster.cnpg_events import FIELDS
from cnpg_plugin_operator.cluster.kinds import Kind
from cnpg_plugin_operator.cluster.scope import ALL_NAMESPACES, Places, Scope
from cnpg_plugin_operator.telemetry import Readiness
from cnpg_plugin_operator.watch.facts import FactStore, Table
from cnpg_plugin_operator.watch.kinds import MANAGED, OWN
from cnpg_plugin_operator.watch.loops import spread
from cnpg_plugin_operator.watch.objects import OWN_LABEL, ObjectStore
from cnpg_plugin_operator.watch.supervision import end

logger = logging.getLogger(__name__)

LIST_AGAIN: Final = (540.0, 660.0)
"""Seconds after which a list corrects what a watch may have missed; spread by chance."""

NOT_SERVED: Final = 10.0
"""Seconds until the next look for a kind that is not served: CloudNativePG may come later."""

LONGEST_PAUSE: Final = 10.0
"""Seconds between two tries at most: passes wait for the first lists."""

WITHOUT_BOOKMARKS: Final = 60
"""Length of a watch of Events in seconds. The API server sends no bookmarks for them, so that a
longer silence could not be told from a broken connection."""

REOPENING: Final = (0.1, 0.4)
"""Seconds between two watches where the API server ends one, so that none can end too often."""


async def take_list(
    client: Client, table: Table[Any], places: Places = ALL_NAMESPACES, *selectors: str | None
) -> str:
    """Take a list page by page, so that no more than one page is in memory; give its version.

    Selectors of labels and of fields may limit it. Of several namespaces, the version is the first.
    """
    listing = table.begin()
    for place in places:
        async for page in client.pages(table.kind, place, *selectors):
            listing.take(page)
            del page
    listing.end()
    return listing.version


async def list_once(client: Client, scope: Scope) -> FactStore:
    """Fill a store for a command that follows nothing; a refused list is known by its error."""
    facts = FactStore()
    tables: tuple[tuple[Table[Any], Places], ...] = (
        (facts.plugins, scope.resources),
        (facts.fleet, scope.clusters),
    )
    for table, places in tables:
        try:
            await take_list(client, table, places)
        except errors.KindMissingError:
            table.clear()
        except errors.ClusterError as error:
            table.error = error
    return facts


class Watch:
    """Follows one collection, for ever, as the subclasses say how."""

    def __init__(self, client: Client, path: str, readiness: Readiness) -> None:
        self._client, self.path = client, path
        self._readiness = readiness
        self._failures = 0
        self.tried = time.monotonic()
        """The start of the last try; each takes `LIST_AGAIN` at most."""
        readiness.lose(f"not watched: {path} (not listed yet)", path)

    async def run(self) -> NoReturn:
        """Follow it; nothing that the API server answers ends this."""
        while True:
            self.tried = time.monotonic()
            try:
                pause = await self._try()
            except errors.ClusterError as error:
                pause = self._record(error)
            except Exception as error:
                logger.exception("an object of %s cannot be read", self.path)
                pause = self._record(error)
            await asyncio.sleep(pause)

    async def _try(self) -> float:
        """Follow it until something ends that; give the pause until the next try."""
        raise NotImplementedError

    def _gain(self) -> None:
        self._failures = 0
        self._readiness.gain(self.path)

    def _record(self, error: Exception) -> float:
        """Say that something may be missed; give the pause until the next try."""
        self._readiness.lose(f"not watched: {self.path} ({error})", self.path)
        logger.warning("not watched: %s (%s)", self.path, error)
        self._failures += 1
        return min(2.0 ** min(self._failures - 1, 16), LONGEST_PAUSE) * spread(0.8, 1.2)


class Feed(Watch):
    """Lists one kind into its table, as the subclasses say when."""

    fields: str | None = None
    """A selector."""

    def __init__(
        self,
        client: Client,
        facts: FactStore,
        table: Table[Any],
        readiness: Readiness,
        places: Places,
    ) -> None:
        self.paths = tuple(table.kind.path(place) for place in places)
        super().__init__(client, ", ".join(self.paths), readiness)
        self._facts, self._table, self._places = facts, table, places

    async def _try(self) -> float:
        """List once, and follow; give the pause until the next list."""
        try:
            version = await take_list(self._client, self._table, self._places, None, self.fields)
        except errors.KindMissingError:
            self._table.clear()
            self._facts.settle()
            self._gain()
            return NOT_SERVED
        self._facts.settle()
        await self._follow(version)
        return 0.0

    async def _follow(self, _: str, /) -> None:
        """Wait until the next list is due; the argument is the version of the last one."""
        raise NotImplementedError

    def _record(self, error: Exception) -> float:
        """Let passes use the last facts; report a refusal to those that have none."""
        if isinstance(error, errors.ForbiddenError) and self._table.error is not None:
            # Waiting would not help.
            self._table.error = error
            self._facts.settle()
        return super()._record(error)


class FollowingFeed(Feed):
    """Lists a kind, and watches it from there on."""

    longest = int(LIST_AGAIN[1])
    """Seconds of one watch at most."""

    async def _follow(self, version: str, /) -> None:
        """Watch until the next list is due, or the watch of any namespace fails."""
        until = asyncio.get_running_loop().time() + spread(*LIST_AGAIN)
        following = [
            asyncio.create_task(self._follow_in(place, version, until)) for place in self._places
        ]
        try:
            await asyncio.gather(*following)
        finally:
            await end(following)

    async def _follow_in(self, place: str | None, version: str, until: float) -> None:
        """Watch; where the API server ends a watch, go on from there."""
        clock = asyncio.get_running_loop().time
        while (left := int(until - clock())) > 0:
            seconds = min(left, self.longest)
            async with self._client.follow(
                self._table.kind, version, seconds, namespace=place, fields=self.fields
            ) as events:
                self._gain()
                async for event in events:
                    version = event["object"]["metadata"]["resourceVersion"]
                    if event["type"] != "BOOKMARK":
                        self._table.take(event["object"], deleted=event["type"] == "DELETED")
            await asyncio.sleep(spread(*REOPENING))


class EventFeed(FollowingFeed):
    """Keeps CloudNativePG's Events on Services; passes read them while it cannot."""

    longest = WITHOUT_BOOKMARKS
    fields = FIELDS

    def __init__(
        self, client: Client, facts: FactStore, readiness: Readiness, namespace: str
    ) -> None:
        super().__init__(client, facts, facts.event_table(namespace), readiness, (namespace,))

    async def _try(self) -> float:
        try:
            return await super()._try()
        except errors.ExpiredError:
            # Nothing happened for long: then the version is too old, which is no failure.
            return spread(*REOPENING)

    def _record(self, error: Exception) -> float:
        self._table.error = errors.UnavailableError(f"{self.path} has to be listed")
        return super()._record(error)


class PluginFeed(Feed):
    """Lists resources when kopf's watch of them has begun, and now and then."""

    def __init__(
        self, client: Client, facts: FactStore, readiness: Readiness, places: Places
    ) -> None:
        super().__init__(client, facts, facts.plugins, readiness, places)
        self.interrupted = asyncio.Event()
        """Set where kopf's watch may have missed something."""

    async def _follow(self, _: str, /) -> None:
        self._gain()
        try:
            async with asyncio.timeout(spread(*LIST_AGAIN)):
                await self.interrupted.wait()
        except TimeoutError:
            return
        self.interrupted.clear()


class ObjectFeed:
    """Lists the objects of a kind in a namespace when kopf's watch of them has begun.

    Until then, and when no list succeeds, passes read these objects themselves.
    """

    def __init__(self, client: Client, objects: ObjectStore, kind: Kind, namespace: str) -> None:
        self.kind, self.path = kind, kind.path(namespace)
        self.interrupted = asyncio.Event()
        """Set where kopf's watch may have missed something."""
        self._client, self._table = client, objects.table(kind, namespace)
        self._places = (namespace,)
        self._labels = OWN_LABEL if kind in OWN else None

    def distrust(self) -> None:
        """Let passes read until the objects are listed again."""
        self._table.error = errors.UnavailableError(f"{self.path} has to be listed")
        self.interrupted.set()

    async def run(self) -> NoReturn:
        """Keep the table up; nothing that the API server answers ends it."""
        await self.interrupted.wait()
        while True:
            self.interrupted.clear()
            try:
                await take_list(self._client, self._table, self._places, self._labels)
            except errors.ClusterError as error:
                self._table.error = error
            except Exception:
                logger.exception("an object of %s cannot be read", self.path)
                self._table.error = errors.UnavailableError(f"{self.path} cannot be read")
            again = LIST_AGAIN if self._table.error is None else (LONGEST_PAUSE, LONGEST_PAUSE * 2)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(spread(*again)):
                    await self.interrupted.wait()


def count_followed(scope: Scope) -> int:
    """Say how many watches of their own the feeds have."""
    return len(scope.clusters) + len(scope.namespaces)


class Feeds:
    """All feeds, which the watches tell of what they may have missed."""

    def __init__(
        self,
        client: Client,
        facts: FactStore,
        objects: ObjectStore,
        scope: Scope,
        readiness: Readiness,
    ) -> None:
        self._objects = objects
        self._clusters = FollowingFeed(client, facts, facts.fleet, readiness, scope.clusters)
        self._plugins = PluginFeed(client, facts, readiness, scope.resources)
        self._events = [EventFeed(client, facts, readiness, each) for each in scope.namespaces]
        self._listed = [
            ObjectFeed(client, objects, kind, namespace)
            for namespace in scope.namespaces
            for kind in MANAGED
        ]
        self._by_path = {feed.path: feed.interrupted for feed in self._listed}
        self._by_path |= dict.fromkeys(self._plugins.paths, self._plugins.interrupted)

    @property
    def watches(self) -> tuple[Watch, ...]:
        """Those that follow a whole kind."""
        return self._clusters, self._plugins, *self._events

    def running(self) -> list[Coroutine[Any, Any, NoReturn]]:
        """Give what runs for ever."""
        return [
            self._clusters.run(),
            self._plugins.run(),
            *(feed.run() for feed in self._events),
            *(feed.run() for feed in self._listed),
        ]

    def begun(self, path: str) -> None:
        """Learn that a watch has begun, whose predecessor may have missed something."""
        if path in self._by_path:
            self._by_path[path].set()

    def changed(self, kinds: Iterable[Kind]) -> None:
        """Learn which kinds have come or gone: their objects went with them, without an event."""
        for feed in self._listed:
            if feed.kind in kinds:
                feed.distrust()

    def ended(self) -> None:
        """Learn that all watches have ended."""
        self._objects.distrust()
