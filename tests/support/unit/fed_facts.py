"""A fact store whose watch is never late, unless a test says so: it lists the fake cluster."""

from collections.abc import Mapping
from typing import Any

from cnpg_plugin_operator.cluster.client import Page
from cnpg_plugin_operator.cluster.clusters import ClusterRecord
from cnpg_plugin_operator.watch.facts import FactStore, Table
from tests.support.unit.fake_cluster import FakeCluster


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
        # The fake cluster counts the versions of each object apart.
        table.rewind()
        listing = table.begin()
        listing.take(Page("", self._client.all_of(table.kind)))
        table.rewind()
        listing.end()
        table.error = self._client.unknown.get(table.kind.kind)
