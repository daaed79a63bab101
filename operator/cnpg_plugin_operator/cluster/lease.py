"""The operator's own Lease, as requests: one each to read, create, replace and watch it.

This module must not decide who leads (`decide/leadership.py`).
"""

from collections.abc import AsyncIterator, Mapping
from typing import Any

from cnpg_plugin_operator.api.untrusted import mapping
from cnpg_plugin_operator.cluster.addresses import field_selector
from cnpg_plugin_operator.cluster.client import Client
from cnpg_plugin_operator.cluster.kinds import LEASE
from cnpg_plugin_operator.decide.leadership import Record


class OperatorLease:
    """One Lease; whatever else it contains stays as it is."""

    def __init__(self, client: Client, namespace: str, name: str) -> None:
        self._client, self._namespace, self._name = client, namespace, name
        self._body: Mapping[str, Any] = {}
        """How it was when it was read or written last."""

    async def read(self) -> Record | None:
        """Read it; None where it does not exist."""
        body = await self._client.find(LEASE, self._name, self._namespace)
        self._body = body or {}
        return read_record(body) if body is not None else None

    async def create(self, record: Record) -> Record:
        """Create it. Raises `ConflictError` where it exists."""
        metadata = {"namespace": self._namespace, "name": self._name}
        return self._learn(await self._client.create(LEASE, _build(metadata, {}, record)))

    async def replace(self, record: Record) -> Record:
        """Write it on condition that it has the version of the record, else `ConflictError`."""
        metadata = {
            "namespace": self._namespace,
            "name": self._name,
            **{
                key: value
                for key, value in mapping(self._body.get("metadata")).items()
                if key in ("labels", "annotations", "ownerReferences")
            },
            "resourceVersion": record.version,
        }
        body = _build(metadata, mapping(self._body.get("spec")), record)
        return self._learn(await self._client.replace(LEASE, body))

    async def follow(self, seconds: int) -> AsyncIterator[Record | None]:
        """Watch it for some seconds: how it is now and whenever it changes."""
        selector = field_selector({"metadata.name": self._name})
        async with self._client.follow(
            LEASE, "", seconds, namespace=self._namespace, fields=selector
        ) as events:
            async for event in events:
                if event["type"] != "BOOKMARK":
                    is_gone = event["type"] == "DELETED"
                    yield None if is_gone else read_record(event["object"])

    def _learn(self, body: Mapping[str, Any]) -> Record:
        self._body = body
        return read_record(body)


def read_record(body: Mapping[str, Any]) -> Record:
    """Read what a Lease says; anyone may have written it."""
    spec, metadata = mapping(body.get("spec")), mapping(body.get("metadata"))
    return Record(
        holder=str(spec.get("holderIdentity") or ""),
        duration=float(spec.get("leaseDurationSeconds") or 0),
        renewed=str(spec.get("renewTime") or ""),
        acquired=str(spec.get("acquireTime") or ""),
        transitions=int(spec.get("leaseTransitions") or 0),
        version=str(metadata.get("resourceVersion") or ""),
    )


def _build(metadata: Mapping[str, Any], spec: Mapping[str, Any], record: Record) -> dict[str, Any]:
    return {
        "apiVersion": LEASE.api_version,
        "kind": LEASE.kind,
        "metadata": metadata,
        "spec": {
            **spec,
            "holderIdentity": record.holder,
            "leaseDurationSeconds": int(record.duration),
            "renewTime": record.renewed or None,
            "acquireTime": record.acquired or None,
            "leaseTransitions": record.transitions,
        },
    }
