"""Sidecars in the cluster: what the pass of one reads, and the one write that concerns them all."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.api.times import format_time
from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.cluster.addresses import label_selector
from cnpg_plugin_operator.cluster.client import Client
from cnpg_plugin_operator.cluster.cnpg_pods import list_pods
from cnpg_plugin_operator.cluster.snapshot import ClusterReader
from cnpg_plugin_operator.cluster.write_guard import WriteGuard
from cnpg_plugin_operator.decide.acceptance.private_secrets import PrivateSecrets
from cnpg_plugin_operator.decide.facts.cnpg import ClusterFacts, CNPGFacts
from cnpg_plugin_operator.desired.objects import Object, digest
from cnpg_plugin_operator.desired.sidecars import build_spec


@dataclass(frozen=True, slots=True)
class SidecarSnapshot:
    """What one plugin in mode Sidecar depends on, beside CloudNativePG."""

    siblings: tuple[Mapping[str, Any], ...]
    """All resources of the namespace."""
    clusters: tuple[ClusterFacts, ...]
    private: PrivateSecrets
    """What is known of the Secrets that the resource names."""
    service: Mapping[str, Any] | None
    """The Service that the plugin had in mode Standalone."""
    published: tuple[dict[str, Any], ...]
    """All Services of the namespace that CloudNativePG takes for plugins."""


class Sidecars:
    """Reads for sidecars, and writes their part of CloudNativePG's Deployment."""

    def __init__(
        self, client: Client, reader: ClusterReader, *, guard: WriteGuard | None = None
    ) -> None:
        self._client = client
        self._reader = reader
        self._guard = guard or WriteGuard()

    async def snapshot(self, plugin: Plugin, cnpg: tuple[CNPGFacts, ...]) -> SidecarSnapshot:
        """Read what a plugin's pass judges its sidecar by."""
        namespace = plugin.namespace
        selector = label_selector({}, names.cnpg.PLUGIN_NAME)
        services, published = await asyncio.gather(
            self._reader.children(kinds.SERVICE, plugin),
            self._client.list(kinds.SERVICE, namespace, labels=selector),
        )
        siblings, clusters = self._reader.siblings(namespace), self._reader.clusters(plugin)
        return SidecarSnapshot(
            siblings=siblings,
            clusters=clusters,
            private=await self._reader.private(plugin, siblings, cnpg),
            service=next(iter(services), None),
            published=tuple(published),
        )

    async def pod_names(self, namespace: str, deployment: str) -> list[str]:
        """Name the pods of CloudNativePG's Deployment, those that are being deleted included."""
        body = await self._client.get(kinds.DEPLOYMENT, deployment, namespace)
        return [pod["metadata"]["name"] for pod in await list_pods(self._client, body)]

    async def apply(
        self,
        namespace: str,
        cnpg: CNPGFacts,
        template: Object,
        rolled_at: datetime | None,
        *,
        dry_run: bool = False,
    ) -> None:
        """Apply all sidecars; an empty template removes all of them.

        With the uid, a deleted Deployment is not created again. The same write records `rolled_at`
        on the Deployment. A dry run only checks whether the API server would accept it. Raises
        `WriteLoopError` where the same sidecars are written too often.
        """
        key = (kinds.DEPLOYMENT.kind, namespace, cnpg.deployment)
        wanted = digest(template)
        if not dry_run:
            self._guard.admit(key, wanted, "its sidecars", None)
        recorded = {names.annotations.ROLLED_AT: format_time(rolled_at)} if rolled_at else {}
        await self._client.apply(
            kinds.DEPLOYMENT,
            {
                "metadata": {
                    "name": cnpg.deployment,
                    "namespace": namespace,
                    "uid": cnpg.uid,
                    "annotations": recorded,
                },
                "spec": build_spec(
                    template, cnpg.min_ready_seconds, cnpg.progress_deadline_seconds
                ),
            },
            manager=names.managers.SIDECARS,
            dry_run=dry_run,
        )
        if not dry_run:
            self._guard.record(key, wanted)
