"""Sidecars in the cluster: one snapshot that the whole set is composed from, and its apply."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.cluster import databases, kinds
from cnpg_plugin_operator.cluster.client import Client
from cnpg_plugin_operator.cluster.gather import Gatherer, with_record
from cnpg_plugin_operator.cluster.hosting import read_host
from cnpg_plugin_operator.cluster.locating import locate_deployments
from cnpg_plugin_operator.cluster.write_guard import WriteGuard
from cnpg_plugin_operator.decide.cnpg_facts import CNPGFacts
from cnpg_plugin_operator.decide.host_facts import HostFacts
from cnpg_plugin_operator.desired.objects import Object, digest


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


class Sidecars:
    """Reads and writes CloudNativePG's Deployment as the host of sidecars."""

    def __init__(
        self,
        client: Client,
        gatherer: Gatherer,
        *,
        allowed: bool,
        guard: WriteGuard | None = None,
    ) -> None:
        self._client = client
        self._gatherer = gatherer
        self._allowed = allowed
        self._guard = guard or WriteGuard()

    async def snapshot(self, plugin: Plugin) -> SidecarSnapshot:
        """Read all that the set of sidecars is composed from."""
        namespace = plugin.namespace
        located, siblings, clusters, service = await asyncio.gather(
            locate_deployments(self._client, namespace, plugin.cnpg_reference),
            self._gatherer.siblings(namespace),
            databases.list_clusters(self._client),
            self._client.find(kinds.SERVICE, plugin.service_name, namespace),
        )
        found = with_record(tuple(facts for facts, _ in located), siblings, self._gatherer.clock())
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
        )

    async def apply(self, namespace: str, host: HostFacts, template: Object) -> None:
        """Apply the whole set of sidecars; without any, all of it is taken away.

        With the uid, a Deployment that is gone is not made again. Raises `WriteLoopError` where the
        same set is written again and again.
        """
        key = (kinds.DEPLOYMENT.kind, namespace, host.deployment)
        wanted = digest(template)
        self._guard.admit(key, wanted, "its sidecars", None)
        await self._client.apply(
            kinds.DEPLOYMENT,
            {
                "metadata": {"name": host.deployment, "namespace": namespace, "uid": host.uid},
                "spec": {"template": template} if template else {},
            },
            manager=names.SIDECAR_MANAGER,
        )
        self._guard.note(key, wanted)
