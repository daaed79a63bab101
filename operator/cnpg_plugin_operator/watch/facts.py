"""The fact store: what counts of resources, Clusters and CloudNativePG's Events, and nothing else.

Watches, lists and this operator's own writes tell it of objects, in any order and more than once;
an object is never replaced by an older version of itself. Subscribers are notified of changes that
count, of no others. It is a cache of the cluster only: lists fill it after a start, and correct it
later.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from cnpg_plugin_operator import errors
from cnpg_plugin_operator.cluster import observe
from cnpg_plugin_operator.cluster.client import Page
from cnpg_plugin_operator.cluster.clusters import ClusterRecord, project_cluster
from cnpg_plugin_operator.cluster.kinds import CLUSTER, EVENT, PLUGIN, Kind
from cnpg_plugin_operator.cluster.plugins import project_resource
from cnpg_plugin_operator.decide.facts.cnpg import CNPGEvent

Value = TypeVar("Value")

ObjectKey = tuple[str, str]
"""Namespace and name."""


@dataclass(frozen=True, slots=True)
class Change(Generic[Value]):
    """A change that counts: from what was known, if anything, to what there is, if anything."""

    key: ObjectKey
    before: Value | None
    after: Value | None


def _notify_none(_: Change[Any]) -> None:
    """Nothing depends on the facts yet."""


class Table(Generic[Value]):
    """The objects of one kind in all namespaces, projected to what counts of them."""

    def __init__(self, kind: Kind, project: Callable[[Mapping[str, Any]], Value]) -> None:
        self.kind = kind
        self.notify: Callable[[Change[Value]], None] = _notify_none
        """Is called with every change that counts."""
        self.error: errors.ClusterError | None = errors.UnavailableError(
            f"{kind.plural} have not been listed yet"
        )
        """Why the objects are not known; None once they were listed."""
        self._project = project
        self._entries: dict[ObjectKey, tuple[int, Value]] = {}
        """The version of each object, and what counts of it."""
        self._gone: dict[ObjectKey, int] = {}
        """The versions of deletions since the last list: what is older is no longer true."""
        self._own: dict[ObjectKey, frozenset[int]] = {}
        """The versions that this operator wrote, until a watch shows a later one."""
        self._leaving: set[ObjectKey] = set()
        """The objects whose deletion was requested: whether they are still there is not known."""
        self._newest = 0
        """The highest version that was seen."""
        self._values: tuple[Value, ...] | None = None

    def values(self) -> tuple[Value, ...]:
        """Give all objects, by namespace and name. Raises the error for which they are unknown."""
        if self.error is not None:
            raise type(self.error)(*self.error.args)
        if self._values is None:
            self._values = tuple(value for _, (_, value) in sorted(self._entries.items(), key=_key))
        return self._values

    def get(self, key: ObjectKey) -> Value | None:
        """Give one object; None where it is not known, or all may be out of date."""
        return self._entries.get(key, (0, None))[1] if self.error is None else None

    def lacks(self, key: ObjectKey) -> bool:
        """Whether it is known that there is no such object."""
        return self.error is None and key not in self._entries and key not in self._leaving

    def take(
        self, body: Mapping[str, Any], *, deleted: bool = False, written: bool = False
    ) -> None:
        """Learn how an object is, or that it is gone; `written` by this operator, or shown.

        The answer to a write contains what others have written just before it, which the pass that
        wrote did not know. A watch shows that later, as an older version: then it is told as well.
        """
        key, version = (body["metadata"]["namespace"], body["metadata"]["name"]), _version(body)
        known, before = self._entries.get(key, (self._gone.get(key, 0), None))
        own = self._own.pop(key, frozenset())
        if left := own | {version} if written else {each for each in own if each > version}:
            self._own[key] = frozenset(left)
        if known and version <= known:
            if own and version < known and version not in own and before is not None:
                self.notify(Change(key, None, before))
            return
        self._newest = max(self._newest, version)
        self._leaving.discard(key)
        if deleted:
            self._gone[key] = version
            self._drop(key)
            return
        self._entries[key] = (version, self._project(body))
        self._notice(key, before, self._entries[key][1])

    def forget(self, key: ObjectKey) -> None:
        """Drop an object whose deletion was requested, until its watch or a list tells of it."""
        self._leaving.add(key)
        self._drop(key)

    def _drop(self, key: ObjectKey) -> None:
        if key in self._entries:
            self._notice(key, self._entries.pop(key)[1], None)

    def refresh(self, body: Mapping[str, Any]) -> None:
        """Learn how a known object is; an unknown one may have been deleted since."""
        if (body["metadata"]["namespace"], body["metadata"]["name"]) in self._entries:
            self.take(body, written=True)

    def begin(self) -> "Listing[Value]":
        """Begin to take a list, page by page."""
        return Listing(self, self._newest)

    def end(self, listed: set[ObjectKey], version: int) -> None:
        """Drop what a complete list of this version lacks. Until then, nothing is missing."""
        gone = [key for key, (known, _) in self._entries.items() if known <= version]
        for key in gone:
            if key not in listed:
                self._drop(key)
        self._gone, self._leaving = {}, set()
        self.error = None

    def clear(self) -> None:
        """Drop everything: the kind is not served."""
        self.rewind()
        self.end(set(), 0)

    def rewind(self) -> None:
        """Take every version from now on: the cluster was restored from a backup."""
        self._newest, self._gone, self._own = 0, {}, {}
        self._entries = {key: (0, value) for key, (_, value) in self._entries.items()}

    def _notice(self, key: ObjectKey, before: Value | None, after: Value | None) -> None:
        self._values = None
        if before != after:
            self.notify(Change(key, before, after))


class Listing(Generic[Value]):
    """A list that is being taken into a table; what is not in it is dropped at its end."""

    def __init__(self, table: Table[Value], newest: int) -> None:
        self.version = ""
        self._table = table
        self._newest = newest
        self._listed: set[ObjectKey] = set()

    def take(self, page: Page) -> None:
        """Take a page; its objects are not kept."""
        if not self.version:
            self.version = page.version
            if _number(page.version) < self._newest:
                self._table.rewind()
        for body in page.bodies:
            self._listed.add((body["metadata"]["namespace"], body["metadata"]["name"]))
            self._table.take(body)

    def end(self) -> None:
        """Drop what the list lacks."""
        self._table.end(self._listed, _number(self.version))


class FactStore:
    """All facts, for passes (`Facts`) and for what feeds and follows them."""

    def __init__(self) -> None:
        self.plugins = Table(PLUGIN, project_resource)
        self.fleet = Table(CLUSTER, project_cluster)
        self.settled = asyncio.Event()
        """Set as soon as passes can decide: both kinds were listed, or a right is missing."""
        self.expected: dict[ObjectKey, Mapping[str, Any]] = {}
        """The statuses that passes wrote last, or are about to write."""
        self._events: dict[str, Table[CNPGEvent]] = {}

    def resources(self, namespace: str) -> tuple[Mapping[str, Any], ...]:
        """Give all resources of a namespace. Raises the error for which they are unknown."""
        found: Iterable[Mapping[str, Any]] = self.plugins.values()
        return tuple(body for body in found if body["metadata"]["namespace"] == namespace)

    def clusters(self) -> tuple[ClusterRecord, ...]:
        """Give all Clusters. Raises the error for which they are unknown."""
        return self.fleet.values()

    def event_table(self, namespace: str) -> Table[CNPGEvent]:
        """Give the table of CloudNativePG's Events on the Services of a namespace."""
        return self._events.setdefault(namespace, Table(EVENT, observe.read_event))

    def events(self, namespace: str) -> tuple[CNPGEvent, ...] | None:
        """Give CloudNativePG's Events on the Services of a namespace; None if not all are known."""
        table = self.event_table(namespace)
        return table.values() if table.error is None else None

    def expect(self, namespace: str, name: str, status: Mapping[str, Any]) -> None:
        """Learn which status a pass is about to write."""
        self.expected[namespace, name] = status

    def wrote(self, kind: Kind, body: Mapping[str, Any]) -> None:
        """Learn how a resource or a Cluster is since a write."""
        tables: tuple[Table[Any], ...] = (self.plugins, self.fleet)
        for table in tables:
            if table.kind == kind:
                table.refresh(body)

    def settle(self) -> None:
        """Let passes run once no table waits for its first list."""
        tables: tuple[Table[Any], ...] = (self.plugins, self.fleet)
        if not any(isinstance(table.error, errors.UnavailableError) for table in tables):
            self.settled.set()


def _key(entry: tuple[ObjectKey, object]) -> ObjectKey:
    return entry[0]


def _version(body: Mapping[str, Any]) -> int:
    return _number(body["metadata"].get("resourceVersion"))


def _number(version: object) -> int:
    """Read a version. They grow: Kubernetes promises that since 1.35, and has always kept it."""
    text = str(version)
    return int(text) if text.isdecimal() else 0
