"""Sidecars in the cluster: one snapshot that the whole set is composed from, and its apply."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.plugin import Plugin, Resource
from cnpg_plugin_operator.cluster import databases, kinds
from cnpg_plugin_operator.cluster.client import Client
from cnpg_plugin_operator.cluster.gather import Gatherer, with_record
from cnpg_plugin_operator.cluster.hosting import read_host
from cnpg_plugin_operator.cluster.locating import locate_deployments
from cnpg_plugin_operator.decide.cnpg_facts import CNPGFacts
from cnpg_plugin_operator.decide.host_facts import HostFacts
from cnpg_plugin_operator.desired.objects import Object


@dataclass(frozen=True, slots=True)
class SidecarSnapshot:
    """A namespace as the host of sidecars."""

    cnpg: tuple[CNPGFacts, ...]
    cnpg_elsewhere: tuple[str, ...]
    host: HostFacts | None
    """None unless there is exactly one CloudNativePG."""
    siblings: tuple[Mapping[str, Any], ...]
    """All resources of the namespace."""
    clusters: tuple[Mapping[str, Any], ...]
    """All Clusters."""
    service: Mapping[str, Any] | None
    """The Service that the plugin would have in mode Standalone."""
    published: tuple[dict[str, Any], ...] = ()
    """All Services of the namespace that CloudNativePG takes for plugins."""


class Sidecars:
    """Reads and writes CloudNativePG's Deployment as the host of sidecars."""

    def __init__(self, client: Client, gatherer: Gatherer, *, allowed: bool) -> None:
        self._client = client
        self._gatherer = gatherer
        self._allowed = allowed

    async def snapshot(self, resource: Resource) -> SidecarSnapshot:
        """Read all that the set of sidecars is composed from.

        Of a resource whose spec cannot be read, no reference to one of several CloudNativePG
        operators is known.
        """
        namespace = resource.namespace
        reference, service_name = "", resource.name
        if isinstance(resource, Plugin):
            reference, service_name = resource.cnpg_reference, resource.service_name
        located, siblings, clusters, service, published = await asyncio.gather(
            locate_deployments(self._client, namespace, reference),
            self._gatherer.siblings(namespace),
            databases.list_clusters(self._client),
            self._client.find(kinds.SERVICE, service_name, namespace),
            self._client.list(kinds.SERVICE, namespace, labels=names.CNPG_PLUGIN_NAME),
        )
        found = with_record(tuple(facts for facts, _ in located), siblings)
        host = None
        if len(located) == 1:
            host = await read_host(self._client, located[0][1], configured=self._allowed)
        return SidecarSnapshot(
            cnpg=found,
            cnpg_elsewhere=() if found else await self._gatherer.cnpg_namespaces(),
            host=host,
            siblings=tuple(siblings),
            clusters=tuple(clusters),
            service=service,
            published=tuple(published),
        )

    async def apply(
        self, namespace: str, host: HostFacts, template: Object, *, dry_run: bool = False
    ) -> None:
        """Apply the whole set of sidecars; without any, all of it is taken away.

        With the uid, a Deployment that is gone is not created again. A dry run only asks whether
        the API server would take it.
        """
        await self._client.apply(
            kinds.DEPLOYMENT,
            {
                "metadata": {"name": host.deployment, "namespace": namespace, "uid": host.uid},
                "spec": {"template": template} if template else {},
            },
            manager=names.SIDECAR_MANAGER,
            dry_run=dry_run,
        )
