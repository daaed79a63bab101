"""Stores whose watches are never late, unless a test says so: they list the fake cluster."""

import marshal
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from cnpg_plugin_operator.cluster.clusters import ClusterRecord
from cnpg_plugin_operator.cluster.kinds import Kind
from cnpg_plugin_operator.cluster.watched import WatchedClient
from cnpg_plugin_operator.watch.facts import FactStore, ObjectKey, Table
from cnpg_plugin_operator.watch.kinds import OWN
from cnpg_plugin_operator.watch.objects import OWN_LABEL, ObjectStore, Shown, project_object
from tests.support.unit.fake_cluster import FakeCluster, as_answered, selects


class Feed:
    """Lists the fake cluster, which counts the versions of each object apart.

    What has not changed is not projected again: that would be most of the time of the tests.
    """

    def __init__(self, client: FakeCluster) -> None:
        self._client = client
        self._fed: dict[tuple[Kind, str | None], dict[ObjectKey, tuple[bytes, bool]]] = {}

    def fill(
        self, table: Table[Any], namespace: str | None = None, labels: str | None = None
    ) -> None:
        """Take all objects as they are."""
        before, now, changed = self._fed.get((table.kind, namespace), {}), {}, []
        for stored in self._client.stored(table.kind):
            metadata = stored["metadata"]
            if namespace not in (None, metadata.get("namespace")):
                continue
            key = metadata["namespace"], metadata["name"]
            text, (known, chosen) = _summarize(stored), before.get(key, (b"", False))
            if not text or text != known or (chosen and table.get(key) is None):
                body = as_answered(stored)
                chosen = selects(labels, body)
                changed += [body] * chosen
            now[key] = text, chosen
        self._fed[table.kind, namespace] = now
        table.rewind()
        for body in changed:
            table.take(body)
        table.rewind()
        table.end({key for key, (_, chosen) in now.items() if chosen}, 0)


def _summarize(body: Any) -> bytes:
    """Give what differs where a body does; nothing for one that is too deep to tell."""
    try:
        # Later versions also tell apart what is referred to more than once.
        return marshal.dumps(body, 2)
    except ValueError:
        return b""


@lru_cache(maxsize=4096)
def _project(kind: Kind, text: bytes) -> Shown:
    """Project an object once: a test restarts the operator in the midst of the same objects."""
    return project_object(kind, marshal.loads(text))


class FedFacts(FactStore):
    """Takes the objects of the fake cluster as they are before each answer."""

    def __init__(self, client: FakeCluster) -> None:
        super().__init__()
        self._client = client
        self._feed = Feed(client)
        self.late = False
        """Whether no event arrives any more: only what the operator writes itself is known."""

    def resources(self, namespace: str) -> tuple[Mapping[str, Any], ...]:
        self._fill(self.plugins)
        return super().resources(namespace)

    def clusters(self) -> tuple[ClusterRecord, ...]:
        self._fill(self.fleet)
        return super().clusters()

    def _fill(self, table: Table[Any]) -> None:
        if self.late:
            return
        if table.kind.kind in self._client.missing:
            table.clear()
            return
        self._feed.fill(table)
        table.error = self._client.unknown.get(table.kind.kind)


class FedObjects(ObjectStore):
    """Takes the objects of the fake cluster as they are before each answer."""

    def __init__(self, client: FakeCluster, facts: FactStore) -> None:
        super().__init__(facts)
        self._client = client
        self._feed = Feed(client)

    def project(self, kind: Kind, body: Mapping[str, Any]) -> Shown:
        text = _summarize(body)
        return _project(kind, text) if text else super().project(kind, body)

    def table(self, kind: Kind, namespace: str) -> Table[Shown]:
        table = super().table(kind, namespace)
        if kind.kind not in self._client.missing:
            self._feed.fill(table, namespace, OWN_LABEL if kind in OWN else None)
        return table


class WatchedFake(WatchedClient, FakeCluster):
    """The fake cluster through watches that are never late."""

    def __init__(self) -> None:
        FakeCluster.__init__(self)
        self.watched = FedObjects(self, FactStore())

    async def served(self, api_version: str) -> frozenset[str]:
        """What was served a moment ago is never out of date: a test takes no time."""
        return await FakeCluster.served(self, api_version)
