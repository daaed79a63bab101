"""The client: what it asks the API server for."""

from typing import Any

import pytest

from cnpg_plugin_operator.cluster import client as subject
from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.cluster.kinds import Kind
from cnpg_plugin_operator.cluster.snapshot import ClusterReader
from tests.support.unit.fake_cluster import FakeCluster
from tests.unit.reconcile.world import Clock


class Paging(FakeCluster):
    """Answers lists as pages of one name each."""

    def __init__(self, *names: str) -> None:
        super().__init__()
        self.asked: list[list[tuple[str, str]]] = []
        self._names = names

    async def _request(
        self, method: str, kind: Kind, namespace: str | None, name: str | None = None, **given: Any
    ) -> dict[str, Any]:
        assert (method, kind, name) == ("get", kinds.PLUGIN, None)
        self.asked.append(given["query_params"])
        number = int(dict(given["query_params"]).get("continue", "0"))
        left = number + 1 < len(self._names)
        return {
            "metadata": {"continue": str(number + 1) if left else ""},
            "items": [{"metadata": {"name": f"{namespace}-{self._names[number]}"}}],
        }

    names = subject.Client.names


async def test_resources_are_listed_page_by_page_in_every_managed_namespace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(subject, "PAGE", 1)
    client = Paging("a", "b")

    keys = await ClusterReader(client, ("one", "two"), Clock()).keys()

    namespaces: list[tuple[str, ...]] = [("one",), ("two",)]
    resources = [("one", "one-a"), ("one", "one-b"), ("two", "two-a"), ("two", "two-b")]
    assert keys == [*namespaces, *resources]
    assert client.asked[:2] == [[("limit", "1")], [("limit", "1"), ("continue", "1")]]
