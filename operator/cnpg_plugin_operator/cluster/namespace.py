"""Reads what the plugins of a namespace share: CloudNativePG, the resources, their Services.

CloudNativePG is read once for all of them. A read that fails costs only what depends on it: the
error is kept in its place.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from cnpg_plugin_operator import errors, names
from cnpg_plugin_operator.api.conditions import Type
from cnpg_plugin_operator.api.deletion import read_leaving
from cnpg_plugin_operator.api.plugin import names_sidecar
from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.cluster.addresses import label_selector
from cnpg_plugin_operator.cluster.answers import concerning
from cnpg_plugin_operator.cluster.client import Client
from cnpg_plugin_operator.cluster.clusters import ClusterRecord
from cnpg_plugin_operator.cluster.cnpg import locate
from cnpg_plugin_operator.cluster.cnpg_environment import read_for_sidecars
from cnpg_plugin_operator.cluster.plugins import with_record
from cnpg_plugin_operator.cluster.snapshot import OWN, ClusterReader
from cnpg_plugin_operator.decide.facts.cnpg import CNPGFacts


@dataclass(frozen=True, slots=True)
class CNPGSnapshot:
    """CloudNativePG as the resources with one value of `spec.cnpg.deploymentName` find it."""

    cnpg: tuple[CNPGFacts, ...]
    elsewhere: tuple[str, ...]
    """Managed namespaces in which CloudNativePG runs; read only where it does not run here."""
    reference_exists: bool
    """Whether there is a Deployment of that name, CloudNativePG's or not."""
    unread: errors.ClusterError | None = None
    """Why what only sidecars need was not read."""


@dataclass(frozen=True, slots=True)
class NamespaceSnapshot:
    """A namespace, read once for all its plugins."""

    resources: tuple[Mapping[str, Any], ...]
    cnpg: Mapping[str, CNPGSnapshot]
    """By the values of `spec.cnpg.deploymentName` that the resources have, and the empty one."""
    services: tuple[dict[str, Any], ...]
    """The plugins' own Services."""
    clusters: tuple[ClusterRecord, ...] | errors.ClusterError
    """All Clusters; none where nothing depends on them now."""


Read = TypeVar("Read")


def known(read: Read | errors.ClusterError) -> Read:
    """Give what was read. Raises the error that was kept in its place."""
    if isinstance(read, errors.ClusterError):
        raise read
    return read


class Namespaces:
    """Reads namespaces."""

    def __init__(self, client: Client, reader: ClusterReader, *, sidecars_allowed: bool) -> None:
        self._client = client
        self._reader = reader
        self._sidecars_allowed = sidecars_allowed

    async def read(self, namespace: str, *, restarting: bool) -> NamespaceSnapshot:
        """Read a namespace; `restarting` says that a restart of CloudNativePG may be due.

        Raises the first `ClusterError` of a read on which everything depends.
        """
        own = label_selector(OWN, names.labels.PLUGIN)
        services = await self._client.list(kinds.SERVICE, namespace, labels=own)
        resources = self._reader.siblings(namespace)
        references = sorted({"", *(read_leaving(body).cnpg_reference for body in resources)})
        found = await asyncio.gather(
            *(self._read_cnpg(namespace, reference, resources) for reference in references)
        )
        hosting = any(c.environment is not None for each in found for c in each.cnpg)
        return NamespaceSnapshot(
            resources=resources,
            cnpg=dict(zip(references, found, strict=True)),
            services=tuple(services),
            clusters=self._read_clusters() if restarting or hosting else (),
        )

    def _read_clusters(self) -> tuple[ClusterRecord, ...] | errors.ClusterError:
        try:
            return self._reader.all_clusters()
        except errors.ClusterError as error:
            return error

    async def _read_cnpg(
        self, namespace: str, reference: str, resources: tuple[Mapping[str, Any], ...]
    ) -> CNPGSnapshot:
        located = await locate(self._client, namespace, reference)
        facts = tuple(each.facts for each in located)
        unread = None
        if len(facts) == 1 and (facts[0].sidecars or _any_sidecar(resources)):
            reading = read_for_sidecars(self._client, located[0], configured=self._sidecars_allowed)
            try:
                facts = (await concerning(Type.AVAILABLE, reading),)
            except errors.ClusterError as error:
                unread = error
        return CNPGSnapshot(
            cnpg=with_record(facts, resources, self._reader.clock()),
            elsewhere=() if facts else await self._reader.cnpg_namespaces(),
            reference_exists=bool(facts)
            or await self._reader.reference_exists(namespace, reference),
            unread=unread,
        )


def _any_sidecar(resources: Iterable[Mapping[str, Any]]) -> bool:
    return any(names_sidecar(body.get("spec")) for body in resources)
