"""A client that reads what no watch has shown, and knows what it wrote."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from cnpg_plugin_operator import errors
from cnpg_plugin_operator.cluster import watched
from cnpg_plugin_operator.cluster.kinds import CERTIFICATE, LEASE, POD, SECRET, SERVICE, Kind
from cnpg_plugin_operator.cluster.watched import WatchedClient
from cnpg_plugin_operator.watch.facts import FactStore
from cnpg_plugin_operator.watch.objects import ObjectStore
from tests.support.unit.fake_cluster import FakeCluster

HERE = "cnpg-system"


class Counting(FakeCluster):
    """A cluster that counts reads, with versions that grow as the API server's do."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[str] = []
        self.version_now = 0

    async def get(self, kind: Kind, name: str, namespace: str | None = None) -> dict[str, Any]:
        self.reads.append(f"{kind.kind} {name}")
        return await super().get(kind, name, namespace)

    async def list(self, kind: Kind, *arguments: Any, **selectors: Any) -> list[dict[str, Any]]:
        self.reads.append(kind.plural)
        return await super().list(kind, *arguments, **selectors)

    async def served(self, api_version: str) -> frozenset[str]:
        self.reads.append(api_version)
        return await super().served(api_version)


class Client(WatchedClient, Counting):
    """A client whose watches have listed all Services."""

    def __init__(self) -> None:
        Counting.__init__(self)
        self.watched = self.store = ObjectStore(FactStore())
        self.store.table(SERVICE, HERE).error = None


def service(name: str = "hello", **fields: Any) -> Mapping[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": HERE},
        **fields,
    }


def pod() -> Mapping[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "hello", "namespace": HERE}}


async def test_what_a_watch_has_shown_is_not_read() -> None:
    client = Client()
    client.store.take(SERVICE, client.put(SERVICE, service()))
    assert await client.find(SERVICE, "hello", HERE) is not None
    assert len(await client.list(SERVICE, HERE)) == 1
    assert client.reads == []
    await client.get(SERVICE, "hello", HERE)
    await client.list(SERVICE, HERE, confirmed=True)
    assert client.reads == ["Service hello", "services"]


async def test_what_no_watch_has_shown_is_read() -> None:
    client = Client()
    client.put(POD, pod())
    assert await client.find(POD, "hello", HERE) is not None
    assert await client.list(LEASE, HERE) == []
    assert await client.list(SERVICE, HERE, fields="metadata.name=hello") == []
    assert client.reads == ["Pod hello", "leases", "services"]


async def test_what_a_complete_watch_lacks_is_not_read_but_before_its_creation() -> None:
    client = Client()
    client.put(SERVICE, service())
    assert await client.find(SERVICE, "hello", HERE) is None
    assert client.reads == []
    with pytest.raises(errors.ConflictError, match="Service cnpg-system/hello was created"):
        await client.apply(SERVICE, service(), manager="tests")
    assert client.writes == []


async def test_what_it_writes_is_known_at_once() -> None:
    client = Client()
    await client.apply(SERVICE, service(spec={"a": 1}), manager="tests")
    client.reads.clear()
    found = await client.find(SERVICE, "hello", HERE)
    assert found is not None
    assert found["spec"] == {"a": 1}
    client.store.table(SERVICE, HERE).rewind()
    await client.merge_patch(SERVICE, "hello", HERE, {"spec": {"b": 2}})
    found = await client.find(SERVICE, "hello", HERE)
    assert found is not None
    assert found["spec"] == {"a": 1, "b": 2}
    assert client.reads == []


async def test_a_secret_is_known_without_its_keys() -> None:
    client = Client()
    client.store.table(SECRET, HERE).error = None
    data = {"tls.crt": "Y2VydGlmaWNhdGU=", "tls.key": "c2VjcmV0"}
    await client.create(SECRET, {"metadata": {"name": "pair", "namespace": HERE}, "data": data})
    client.reads.clear()
    found = await client.find_secret("pair", HERE)
    assert found is not None
    body, pair = found
    assert body["data"] == {"tls.crt": "Y2VydGlmaWNhdGU="}
    assert pair is not None
    assert pair.problem
    assert await client.find_secret("absent", HERE) is None
    assert client.reads == []
    known = await client.find(SECRET, "pair", HERE)
    assert known is not None
    assert known["data"] == data, "is read"
    assert client.reads == ["Secret pair"]


async def test_a_dry_run_shows_nothing() -> None:
    client = Client()
    await client.apply(SERVICE, service(), manager="tests", dry_run=True)
    assert await client.find(SERVICE, "hello", HERE) is None


async def test_what_it_deletes_is_read_again() -> None:
    client = Client()
    client.store.take(SERVICE, client.put(SERVICE, service()))
    await client.delete(SERVICE, "hello", HERE)
    assert await client.find(SERVICE, "hello", HERE) is None
    assert client.reads[-1:] == ["Service hello"]


async def test_passes_share_what_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client()
    for _ in range(3):
        assert "certificates" in await client.served(CERTIFICATE.api_version)
    assert client.reads == [CERTIFICATE.api_version]
    await client.serves_now(CERTIFICATE.api_version)
    assert len(client.reads) == 2, "the watches ask for all passes"
    await client.served(CERTIFICATE.api_version)
    assert len(client.reads) == 2
    monkeypatch.setattr(watched, "SERVED", 0.0)
    await asyncio.gather(*(client.served(CERTIFICATE.api_version) for _ in range(2)))
    assert len(client.reads) == 4


async def test_a_kind_that_is_gone_is_noticed_at_once() -> None:
    client = Client()
    assert "certificates" in await client.served(CERTIFICATE.api_version)
    client.missing.add("Certificate")
    certificate = {
        "apiVersion": CERTIFICATE.api_version,
        "kind": "Certificate",
        "metadata": {"name": "hello", "namespace": HERE},
    }
    with pytest.raises(errors.KindMissingError):
        await client.apply(CERTIFICATE, certificate, manager="tests")
    assert "certificates" not in await client.served(CERTIFICATE.api_version)
