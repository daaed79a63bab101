"""Sidecars in the cluster: one snapshot for all sidecars of a namespace, and their apply."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.conditions import Type
from cnpg_plugin_operator.api.deletion import Leaving
from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.api.spec import Mode
from cnpg_plugin_operator.api.times import format_time
from cnpg_plugin_operator.api.untrusted import mapping
from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.cluster.addresses import label_selector
from cnpg_plugin_operator.cluster.client import Client
from cnpg_plugin_operator.cluster.clusters import list_clusters
from cnpg_plugin_operator.cluster.cnpg import locate_deployments, selector_of
from cnpg_plugin_operator.cluster.cnpg_pod import read_host
from cnpg_plugin_operator.cluster.plugins import with_record
from cnpg_plugin_operator.cluster.private_secrets import bound, named_in, read_private_secrets
from cnpg_plugin_operator.cluster.snapshot import Gatherer, concerning
from cnpg_plugin_operator.cluster.write_guard import WriteGuard
from cnpg_plugin_operator.decide.acceptance.private_secrets import PrivateSecrets
from cnpg_plugin_operator.decide.facts.cnpg import CNPGFacts
from cnpg_plugin_operator.decide.facts.cnpg_pod import HostFacts
from cnpg_plugin_operator.desired.objects import Object, digest


@dataclass(frozen=True, slots=True)
class SidecarSnapshot:
    """A namespace as the host of sidecars."""

    cnpg: tuple[CNPGFacts, ...]
    cnpg_elsewhere: tuple[str, ...]
    reference_exists: bool
    """Whether the Deployment that `spec.cnpgRef` names exists, CloudNativePG's or not."""
    host: HostFacts | None
    """None unless there is exactly one CloudNativePG."""
    siblings: tuple[Mapping[str, Any], ...]
    """All resources of the namespace."""
    clusters: tuple[Mapping[str, Any], ...]
    """All Clusters."""
    private: PrivateSecrets
    """What is known of the Secrets that the namespace's sidecars name."""
    service: Mapping[str, Any] | None
    """The Service that the plugin had in mode Standalone."""
    published: tuple[dict[str, Any], ...] = ()
    """All Services of the namespace that CloudNativePG treats as plugins."""


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

    async def snapshot(self, plugin: Plugin | Leaving) -> SidecarSnapshot:
        """Read all facts about the sidecars of a namespace."""
        namespace = plugin.namespace
        located, siblings, clusters, services, published = await asyncio.gather(
            locate_deployments(self._client, namespace, plugin.cnpg_reference),
            self._gatherer.siblings(namespace),
            concerning(Type.REGISTERED, list_clusters(self._client)),
            self._gatherer.children(kinds.SERVICE, plugin),
            self._client.list(
                kinds.SERVICE, namespace, labels=label_selector({}, names.cnpg.PLUGIN_NAME)
            ),
        )
        found = with_record(tuple(facts for facts, _ in located), siblings, self._gatherer.clock())
        host = None
        if len(located) == 1:
            reading = read_host(self._client, located[0][1], configured=self._allowed)
            host = await concerning(Type.AVAILABLE, reading)
        return SidecarSnapshot(
            cnpg=found,
            cnpg_elsewhere=() if found else await self._gatherer.cnpg_namespaces(),
            reference_exists=bool(found) or await self._gatherer.reference_exists(plugin),
            host=host,
            siblings=tuple(siblings),
            clusters=tuple(clusters),
            private=await read_private_secrets(
                self._client,
                namespace,
                _named_by_sidecars(siblings),
                siblings,
                {facts.deployment for facts in found},
            ),
            service=next(iter(services), None),
            published=tuple(published),
        )

    async def pod_names(self, namespace: str, deployment: str) -> list[str]:
        """Return the pods of CloudNativePG's Deployment, including those that are being deleted."""
        body = await self._client.get(kinds.DEPLOYMENT, deployment, namespace)
        bodies = await self._client.list(kinds.POD, namespace, labels=selector_of(body))
        return [pod["metadata"]["name"] for pod in bodies]

    async def apply(
        self,
        namespace: str,
        host: HostFacts,
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
        key = (kinds.DEPLOYMENT.kind, namespace, host.deployment)
        wanted = digest(template)
        if not dry_run:
            self._guard.admit(key, wanted, "its sidecars", None)
        noted = {names.annotations.ROLLED_AT: format_time(rolled_at)} if rolled_at else {}
        await self._client.apply(
            kinds.DEPLOYMENT,
            {
                "metadata": {
                    "name": host.deployment,
                    "namespace": namespace,
                    "uid": host.uid,
                    "annotations": noted,
                },
                "spec": {"template": template} if template else {},
            },
            manager=names.managers.SIDECARS,
            dry_run=dry_run,
        )
        if not dry_run:
            self._guard.note(key, wanted)


def _named_by_sidecars(siblings: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """Return the Secrets that any sidecar names: one template contains all of them."""
    specs = (mapping(body.get("spec")) for body in siblings)
    found = (bound(named_in(spec)) for spec in specs if spec.get("mode") == Mode.SIDECAR)
    return frozenset().union(*found)
