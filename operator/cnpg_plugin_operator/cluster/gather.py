"""Gather what one pass decides from: everything is read here, at once, into one frozen snapshot.

The requests of a snapshot run side by side; nothing is cached between passes, so every pass could
be the first one after a crash.
"""

import asyncio
import contextlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from cnpg_plugin_operator import errors, names
from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.cluster import kinds, observe
from cnpg_plugin_operator.cluster import secrets as secret_reading
from cnpg_plugin_operator.cluster.client import Client
from cnpg_plugin_operator.cluster.issuing import read_issuer
from cnpg_plugin_operator.cluster.kinds import Kind
from cnpg_plugin_operator.cluster.ownership import Live, find_foreign
from cnpg_plugin_operator.cluster.secrets import Secret
from cnpg_plugin_operator.decide.facts import (
    Announcement,
    ClusterFacts,
    CNPGEvent,
    CNPGFacts,
    ForeignObject,
)
from cnpg_plugin_operator.decide.issuing import IssuerFacts
from cnpg_plugin_operator.desired.objects import Object

CNPG_SELECTOR: Final = f"{names.LABEL_NAME}={names.CNPG_APP}"
SIDE_EVENTS: Final = frozenset({"FinalizerAdded", "PluginCleanup"})
"""What CloudNativePG 1.29.0 to 1.30.0 also writes on a Service; neither tells of a registration."""

OWN_SELECTOR: Final = f"{names.LABEL_MANAGED_BY}={names.OPERATOR}"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The world of one resource, as it was when the pass began."""

    live: Live
    """The objects that are wanted, as they are."""
    pods: tuple[dict[str, Any], ...]
    secrets: Mapping[str, Secret | None]
    """Pairs, trusted certificates and authorities, by name."""
    cnpg: tuple[CNPGFacts, ...]
    cnpg_elsewhere: tuple[str, ...]
    foreign: tuple[ForeignObject, ...]
    rivals: tuple[str, ...]
    cert_manager: bool
    """Whether cert-manager's kinds are served."""
    issuer: IssuerFacts | None
    """The user's issuer; None where it is not cert-manager's or not named."""
    clusters: tuple[ClusterFacts, ...]
    event: CNPGEvent | None


class Gatherer:
    """Reads the cluster for the reconciler."""

    def __init__(self, client: Client, namespaces: tuple[str, ...]) -> None:
        self._client = client
        self._namespaces = namespaces

    async def resource(self, namespace: str, name: str) -> dict[str, Any] | None:
        """Read the `CNPGPlugin`, or None where it is gone."""
        return await self._client.find(kinds.PLUGIN, name, namespace)

    def manages(self, namespace: str) -> bool:
        """Whether this operator has rights in the namespace."""
        return namespace in self._namespaces

    async def snapshot(
        self, plugin: Plugin, chain: Iterable[Object], children: Iterable[Object]
    ) -> Snapshot:
        """Read all that a pass of this plugin looks at.

        Raises the first `ClusterError` that a read ended in.
        """
        try:
            return await self._snapshot(plugin, list(chain), list(children))
        except ExceptionGroup as group:
            raise group.exceptions[0] from group

    async def _snapshot(
        self, plugin: Plugin, chain: list[Object], children: list[Object]
    ) -> Snapshot:
        namespace, plugin_name = plugin.namespace, plugin.spec.plugin_name
        named = f"{names.CNPG_PLUGIN_NAME}={plugin_name}"
        own = f"{names.LABEL_PLUGIN}={plugin.name}"
        async with asyncio.TaskGroup() as reads:
            live = reads.create_task(self._live(children))
            shared = reads.create_task(self._chain(namespace, chain))
            pods = reads.create_task(self._client.list(kinds.POD, namespace, labels=own))
            cnpg = reads.create_task(self.cnpg(namespace))
            rivals = reads.create_task(self._rivals(plugin))
            labelled = reads.create_task(self._client.list(kinds.SERVICE, namespace, labels=named))
            clusters = reads.create_task(self.clusters(plugin_name))
            event = reads.create_task(self._event(plugin))
            served = reads.create_task(self._client.served(kinds.CERTIFICATE.api_version))
        found, objects = cnpg.result(), {**shared.result(), **live.result()}
        served_here = kinds.CERTIFICATE.plural in served.result()
        return Snapshot(
            live=objects,
            pods=tuple(pods.result()),
            # Read last: a Certificate that was seen Ready has its Secret.
            secrets=await self._secrets(plugin, objects),
            cnpg=found,
            cnpg_elsewhere=() if found else await self.cnpg_namespaces(),
            foreign=find_foreign(plugin, objects, labelled.result()),
            rivals=rivals.result(),
            cert_manager=served_here,
            issuer=await read_issuer(self._client, plugin) if served_here else None,
            clusters=clusters.result(),
            event=event.result(),
        )

    async def _chain(self, namespace: str, wanted: list[Object]) -> Live:
        """Read the parts of the namespace's chain in two requests."""
        found: dict[tuple[str, str], Mapping[str, Any] | None] = {
            (body["kind"], body["metadata"]["name"]): None for body in wanted
        }
        if not wanted:
            return found
        selector = f"{OWN_SELECTOR},{names.LABEL_CHAIN}"
        for kind in (kinds.ISSUER, kinds.CERTIFICATE):
            with contextlib.suppress(errors.KindMissingError):
                for body in await self._client.list(kind, namespace, labels=selector):
                    found[kind.kind, body["metadata"]["name"]] = body
        return found

    async def cnpg_namespaces(self) -> tuple[str, ...]:
        """Name the managed namespaces in which CloudNativePG runs."""
        found = await asyncio.gather(
            *(
                self._client.list(kinds.DEPLOYMENT, namespace, labels=CNPG_SELECTOR)
                for namespace in self._namespaces
            )
        )
        return tuple(
            namespace
            for namespace, deployments in zip(self._namespaces, found, strict=True)
            if deployments
        )

    async def cnpg(self, namespace: str) -> tuple[CNPGFacts, ...]:
        """Read the CloudNativePG operators of a namespace, each with its leader."""
        deployments = await self._client.list(kinds.DEPLOYMENT, namespace, labels=CNPG_SELECTOR)
        if not deployments:
            return ()
        lease = await self._client.find(kinds.LEASE, names.CNPG_LEASE, namespace)
        holder = str(((lease or {}).get("spec") or {}).get("holderIdentity") or "")
        pod_name = holder.partition("_")[0]
        pod = await self._client.find(kinds.POD, pod_name, namespace) if pod_name else None
        return tuple(observe.read_cnpg(deployment, pod) for deployment in deployments)

    async def clusters(self, plugin_name: str) -> tuple[ClusterFacts, ...]:
        """Read the Clusters, of any namespace, that use a plugin."""
        try:
            bodies = await self._client.list(kinds.CLUSTER)
        except errors.KindMissingError:
            return ()
        facts = (observe.read_cluster(body, plugin_name) for body in bodies)
        return tuple(fact for fact in facts if fact is not None)

    async def published(self, namespace: str) -> dict[str, Announcement]:
        """Read what all plugins of a namespace have announced, by the name of the resource."""
        services = await self._client.list(
            kinds.SERVICE, namespace, labels=f"{OWN_SELECTOR},{names.CNPG_PLUGIN_NAME}"
        )
        found = {
            body["metadata"]["labels"].get(names.LABEL_PLUGIN, ""): observe.read_service(body)
            for body in services
        }
        return {name: s.announcement for name, s in found.items() if s.announcement is not None}

    async def coming(self, namespace: str, published: Collection[str], since: datetime) -> int:
        """Count the resources of a namespace that are not published yet and may soon be.

        Those that have been in trouble since before `since` are not waited for.
        """
        bodies = await self.siblings(namespace)
        return sum(
            observe.may_become_ready(body, since) and body["metadata"]["name"] not in published
            for body in bodies
        )

    async def children(
        self, kind: Kind, plugin: Plugin, labels: str | None = None
    ) -> list[dict[str, Any]]:
        """Read what was made of one kind for a plugin, wanted or not."""
        selector = labels or f"{OWN_SELECTOR},{names.LABEL_PLUGIN}={plugin.name}"
        try:
            return await self._client.list(
                kind, plugin.namespace if kind.namespaced else None, labels=selector
            )
        except errors.KindMissingError:
            return []

    async def siblings(self, namespace: str) -> list[dict[str, Any]]:
        """Read all resources of a namespace."""
        return await self._client.list(kinds.PLUGIN, namespace)

    async def live(self, body: Object) -> dict[str, Any] | None:
        """Read a wanted object as it is now."""
        return await self._live_or_missing_kind(body)

    async def _live(self, bodies: list[Object]) -> Live:
        found = await asyncio.gather(*(self._live_or_missing_kind(body) for body in bodies))
        return {
            (body["kind"], body["metadata"]["name"]): live
            for body, live in zip(bodies, found, strict=True)
        }

    async def _live_or_missing_kind(self, body: Object) -> dict[str, Any] | None:
        metadata = body["metadata"]
        try:
            return await self._client.find(
                kinds.kind_of(body), metadata["name"], metadata.get("namespace")
            )
        except errors.KindMissingError:
            return None

    async def _secrets(self, plugin: Plugin, live: Live) -> dict[str, Secret | None]:
        """Read the Secrets of a plugin, the client pair that was announced last among them."""
        service = live.get(("Service", plugin.service_name))
        announcement = observe.read_service(service).announcement if service else None
        announced = announcement.annotations if announcement else {}
        wanted = {
            plugin.server_secret,
            plugin.client_secret,
            announced.get(names.CNPG_CLIENT_SECRET, plugin.client_secret),
            names.trust_secret(plugin.name),
            *plugin.authorities,
        }
        found = await asyncio.gather(*(self.secret(plugin.namespace, name) for name in wanted))
        return dict(zip(wanted, found, strict=True))

    async def secret(self, namespace: str, name: str) -> Secret | None:
        """Read one Secret, or None where there is none."""
        body = await self._client.find(kinds.SECRET, name, namespace)
        return secret_reading.read(body) if body is not None else None

    async def _rivals(self, plugin: Plugin) -> tuple[str, ...]:
        """Name the resources that had the plugin's name before this one."""
        mine = (plugin.created, plugin.name)
        rivals = []
        for body in await self.siblings(plugin.namespace):
            metadata = body["metadata"]
            same = (body.get("spec") or {}).get("pluginName") == plugin.spec.plugin_name
            if same and metadata["uid"] != plugin.uid and not metadata.get("deletionTimestamp"):
                created = observe.read_time(metadata["creationTimestamp"]) or plugin.created
                if (created, metadata["name"]) < mine:
                    rivals.append(metadata["name"])
        return tuple(sorted(rivals))

    async def _event(self, plugin: Plugin) -> CNPGEvent | None:
        """Read the newest of CloudNativePG's Events on the plugin's Service."""
        bodies = await self._client.list(
            kinds.EVENT,
            plugin.namespace,
            fields=(
                "involvedObject.kind=Service,"
                f"involvedObject.name={plugin.service_name},source={names.CNPG_EVENT_SOURCE}"
            ),
        )
        relevant = [body for body in bodies if body.get("reason") not in SIDE_EVENTS]
        newest = max(relevant, key=_recency, default=None)
        return observe.read_event(newest) if newest is not None else None


def _recency(body: Mapping[str, Any]) -> tuple[datetime, int]:
    """Order Events by time; within a second, by the order in which the API server stored them."""
    version = str(body["metadata"].get("resourceVersion", ""))
    return observe.read_event(body).at, int(version) if version.isdigit() else 0
