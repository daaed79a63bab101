"""Stores whose watches are never late, unless a test says so: they list the fake cluster."""

from collections.abc import Mapping
from typing import Any

from cnpg_plugin_operator.cluster.client import Page
from cnpg_plugin_operator.cluster.clusters import ClusterRecord
from cnpg_plugin_operator.cluster.kinds import Kind
from cnpg_plugin_operator.cluster.watched import WatchedClient
from cnpg_plugin_operator.watch.facts import FactStore, Table
from cnpg_plugin_operator.watch.kinds import OWN
from cnpg_plugin_operator.watch.objects import OWN_LABEL, ObjectStore, Shown
from tests.support.unit.fake_cluster import FakeCluster, selects


def feed(
    table: Table[Any],
    client: FakeCluster,
    namespace: str | None = None,
    labels: str | None = None,
) -> None:
    """List the fake cluster, which counts the versions of each object apart."""
    table.rewind()
    listing = table.begin()
    bodies = (
        body
        for body in client.all_of(table.kind)
        if namespace in (None, body["metadata"].get("namespace")) and selects(labels, body)
    )
    listing.take(Page("", tuple(bodies)))
    table.rewind()
    listing.end()


class FedFacts(FactStore):
    """Takes the objects of the fake cluster as they are before each answer."""

    def __init__(self, client: FakeCluster) -> None:
        super().__init__()
        self._client = client
        self.late = False
        """Whether no event arrives any more: only what the operator writes itself is known."""

    def resources(self, namespace: str) -> tuple[Mapping[str, Any], ...]:
        self._feed(self.plugins)
        return super().resources(namespace)

    def clusters(self) -> tuple[ClusterRecord, ...]:
        self._feed(self.fleet)
        return super().clusters()

    def _feed(self, table: Table[Any]) -> None:
        if self.late:
            return
        if table.kind.kind in self._client.missing:
            table.clear()
            return
        feed(table, self._client)
        table.error = self._client.unknown.get(table.kind.kind)


class FedObjects(ObjectStore):
    """Takes the objects of the fake cluster as they are before each answer."""

    def __init__(self, client: FakeCluster) -> None:
        super().__init__()
        self._client = client

    def table(self, kind: Kind, namespace: str) -> Table[Shown]:
        table = super().table(kind, namespace)
        if kind.kind not in self._client.missing:
            feed(table, self._client, namespace, OWN_LABEL if kind in OWN else None)
        return table


class WatchedFake(WatchedClient, FakeCluster):
    """The fake cluster through watches that are never late."""

    def __init__(self) -> None:
        FakeCluster.__init__(self)
        self.watched = FedObjects(self)

    async def served(self, api_version: str) -> frozenset[str]:
        """What was served a moment ago is never out of date: a test takes no time."""
        return await FakeCluster.served(self, api_version)
