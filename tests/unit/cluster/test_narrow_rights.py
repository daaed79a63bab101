"""An operator without cluster-wide rights asks for nothing that it may not read."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from cnpg_plugin_operator import errors
from cnpg_plugin_operator.api.deletion import read_leaving
from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.cluster.client import Page
from cnpg_plugin_operator.cluster.kinds import Kind
from cnpg_plugin_operator.cluster.scope import Scope
from cnpg_plugin_operator.cluster.snapshot import ClusterReader
from cnpg_plugin_operator.watch.facts import FactStore
from tests.support.unit.builders import NOW, plugin, resource
from tests.support.unit.fake_cluster import FakeCluster

MINE = {"provider": "Secrets", "secrets": {"server": "mine", "client": "theirs"}}


class Narrow(FakeCluster):
    """A cluster that refuses what only a ClusterRole allows."""

    async def list(
        self, kind: Kind, namespace: str | None = None, **selectors: Any
    ) -> list[dict[str, Any]]:
        self._require(namespace)
        return await super().list(kind, namespace, **selectors)

    async def find(
        self, kind: Kind, name: str, namespace: str | None = None
    ) -> dict[str, Any] | None:
        self._require(namespace if kind.namespaced else None)
        return await super().find(kind, name, namespace)

    async def pages(
        self, kind: Kind, namespace: str | None = None, *_: str | None
    ) -> AsyncIterator[Page]:
        yield Page("1", tuple(await self.list(kind, namespace)))

    def _require(self, namespace: str | None) -> None:
        if namespace is None:
            raise errors.ForbiddenError("no cluster-wide right")


@pytest.fixture
def reader() -> ClusterReader:
    facts = FactStore()
    facts.plugins.clear()
    facts.fleet.clear()
    client = Narrow()
    use = {"plugins": [{"name": "hello.example.org"}]}
    for namespace in ("app", "unknown"):
        metadata = {"name": "db", "namespace": namespace}
        client.put(kinds.CLUSTER, {"metadata": metadata, "spec": use})
    scope = Scope(("cnpg-system",), ("cnpg-system", "app"))
    return ClusterReader(client, facts, scope, lambda: NOW)


@pytest.mark.parametrize(
    "tls",
    [
        pytest.param({"issuerRef": {"name": "company", "kind": "ClusterIssuer"}}, id="an issuer"),
        pytest.param(MINE, id="Secrets, with which a ClusterIssuer may sign"),
    ],
)
async def test_it_does_not_look_for_cluster_issuers(
    reader: ClusterReader, tls: dict[str, Any]
) -> None:
    snapshot = await reader.snapshot(plugin(tls=tls), (), (), {})
    assert snapshot.issuer is None


async def test_clusters_are_confirmed_where_it_may_read_them(reader: ClusterReader) -> None:
    found = await reader.confirmed_clusters(read_leaving(resource("hello")))
    assert [(each.namespace, each.name) for each in found] == [("app", "db")]
