"""Gather what one pass decides from: everything is read here, at once, into one frozen snapshot.

The requests of a snapshot run side by side; nothing is cached between passes, so every pass could
be the first one after a crash.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, TypeVar

from cnpg_plugin_operator import errors, names
from cnpg_plugin_operator.api.conditions import Type
from cnpg_plugin_operator.api.leaving import Leaving
from cnpg_plugin_operator.api.plugin import Plugin, Resource
from cnpg_plugin_operator.api.times import read_time
from cnpg_plugin_operator.api.untrusted import mapping
from cnpg_plugin_operator.cluster import databases, kinds, locating, observe
from cnpg_plugin_operator.cluster import secrets as secret_reading
from cnpg_plugin_operator.cluster.client import Client
from cnpg_plugin_operator.cluster.issuing import read_issuer
from cnpg_plugin_operator.cluster.kinds import Kind
from cnpg_plugin_operator.cluster.leases import find_rival_leases
from cnpg_plugin_operator.cluster.ownership import Live, find_foreign, is_own
from cnpg_plugin_operator.cluster.restarting import find_record
from cnpg_plugin_operator.cluster.secrets import Secret
from cnpg_plugin_operator.decide.cnpg_facts import (
    Announcement,
    ClusterFacts,
    CNPGEvent,
    CNPGFacts,
)
from cnpg_plugin_operator.decide.facts import ForeignObject
from cnpg_plugin_operator.decide.issuing import IssuerFacts
from cnpg_plugin_operator.desired.objects import Object

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
    approval: str
    """Which change of the plugin's pods a person approved, or empty."""
    orphans: frozenset[str] = frozenset()
    """Sidecars in CloudNativePG's Deployment whose resources are gone."""


class Gatherer:
    """Reads the cluster for the reconciler."""

    def __init__(self, client: Client, namespaces: tuple[str, ...]) -> None:
        self._client = client
        self._namespaces = namespaces

    async def resource(self, namespace: str, name: str) -> dict[str, Any] | None:
        """Read the `CNPGPlugin`, or None where it is gone."""
        return await self._client.find(kinds.PLUGIN, name, namespace)

    async def confirmed(self, namespace: str, name: str) -> dict[str, Any] | None:
        """Read the `CNPGPlugin`, or None where a list does not hold it either.

        A single wrong answer must not end its loop. Raises `UnavailableError` where the two
        answers contradict each other.
        """
        body = await self.resource(namespace, name)
        if body is None and any(
            each["metadata"]["name"] == name for each in await self.siblings(namespace)
        ):
            raise errors.UnavailableError(
                f"CNPGPlugin {namespace}/{name}: the API server lists it, but does not find it"
            )
        return body

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
            live = reads.create_task(concerning(Type.AVAILABLE, self._live(children)))
            parts = concerning(Type.CERTIFICATES_READY, self._chain(namespace, chain))
            shared = reads.create_task(parts)
            own_pods = self._client.list(kinds.POD, namespace, labels=own)
            pods = reads.create_task(concerning(Type.AVAILABLE, own_pods))
            cnpg = reads.create_task(self.cnpg(namespace, plugin.cnpg_reference))
            siblings = reads.create_task(self.siblings(namespace))
            labelled = reads.create_task(self._client.list(kinds.SERVICE, namespace, labels=named))
            clusters = reads.create_task(concerning(Type.REGISTERED, self.clusters(plugin)))
            event = reads.create_task(concerning(Type.REGISTERED, self._event(plugin)))
            served = reads.create_task(self._client.served(kinds.CERTIFICATE.api_version))
        found = with_record(cnpg.result(), siblings.result())
        objects = {**shared.result(), **live.result()}
        served_here = kinds.CERTIFICATE.plural in served.result()
        return Snapshot(
            live=objects,
            pods=tuple(pods.result()),
            # Read last: a Certificate that was seen Ready has its Secret.
            secrets=await concerning(Type.CERTIFICATES_READY, self._secrets(plugin, objects)),
            cnpg=found,
            cnpg_elsewhere=() if found else await self.cnpg_namespaces(),
            foreign=find_foreign(plugin, objects, labelled.result()),
            rivals=find_rivals(plugin, siblings.result()),
            cert_manager=served_here,
            issuer=await read_issuer(self._client, plugin) if served_here else None,
            clusters=clusters.result(),
            event=event.result(),
            # This resource is among those of its namespace.
            approval=next(
                (find_approval(b) for b in siblings.result() if b["metadata"]["uid"] == plugin.uid),
                "",
            ),
            orphans=find_orphans(found, siblings.result()),
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
        found = await asyncio.gather(*(self.cnpg(namespace) for namespace in self._namespaces))
        return tuple(
            namespace for namespace, each in zip(self._namespaces, found, strict=True) if each
        )

    async def cnpg(self, namespace: str, reference: str = "") -> tuple[CNPGFacts, ...]:
        """Read the CloudNativePG operators of a namespace, each with its leader."""
        return await locating.locate(self._client, namespace, reference)

    async def clusters(self, plugin: Plugin | Leaving) -> tuple[ClusterFacts, ...]:
        """Read the Clusters, of any namespace, that use a plugin."""
        bodies = await databases.list_clusters(self._client)
        return databases.read_clusters(bodies, plugin.plugin_name, plugin.name)

    async def rival_leases(self, plugin: Plugin) -> list[tuple[str, str]]:
        """Find Leases that pods of other plugins hold, with the name of each one's resource."""
        return await find_rival_leases(self._client, plugin.namespace, plugin.name)

    async def busy_clusters(self, watched: tuple[str, ...]) -> list[str]:
        """Name the Clusters that CloudNativePG is amid a change of; empty `watched` means all."""
        return databases.name_busy(await databases.list_clusters(self._client), watched)

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

    async def children(
        self, kind: Kind, plugin: Resource, labels: str | None = None
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

    async def own_services(self, plugin: Leaving) -> list[dict[str, Any]]:
        """Read the Services of a resource: what its labels find, and the one that it asks for."""
        found = await self.children(kinds.SERVICE, plugin)
        asked = await self._client.find(kinds.SERVICE, plugin.service_name, plugin.namespace)
        known = {body["metadata"]["uid"] for body in found}
        if asked is not None and asked["metadata"]["uid"] not in known:
            found.append(asked)
        return [body for body in found if is_own(plugin, body)]

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
        told = announced.get(names.CNPG_CLIENT_SECRET, plugin.client_secret)
        wanted = {*plugin.secrets, told}
        found = await asyncio.gather(*(self.secret(plugin.namespace, name) for name in wanted))
        return dict(zip(wanted, found, strict=True))

    async def secret(self, namespace: str, name: str) -> Secret | None:
        """Read one Secret, or None where there is none."""
        body = await self._client.find(kinds.SECRET, name, namespace)
        return secret_reading.read(body) if body is not None else None

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


Found = TypeVar("Found")


async def concerning(condition: Type, read: Awaitable[Found]) -> Found:
    """Read what one condition is judged by; where that fails, the error says so."""
    try:
        return await read
    except errors.ClusterError as error:
        error.condition = condition
        raise


def with_record(
    found: tuple[CNPGFacts, ...], siblings: Iterable[Mapping[str, Any]]
) -> tuple[CNPGFacts, ...]:
    """Add the newest restart that a resource of the namespace has noted."""
    bodies = tuple(siblings)
    return tuple(replace(cnpg, record=find_record(bodies, cnpg.deployment)) for cnpg in found)


def find_orphans(
    found: tuple[CNPGFacts, ...], siblings: Iterable[Mapping[str, Any]]
) -> frozenset[str]:
    """Name the sidecars that no resource stands for: a finalizer was removed by hand."""
    known = {body["metadata"]["name"] for body in siblings}
    return frozenset(found[0].sidecars) - known if len(found) == 1 else frozenset()


def find_rivals(plugin: Plugin, siblings: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """Name the resources that had the plugin's name before this one."""
    mine = (plugin.created, plugin.name)
    rivals = []
    for body in siblings:
        metadata = body["metadata"]
        same = mapping(body.get("spec")).get("pluginName") == plugin.spec.plugin_name
        if same and metadata["uid"] != plugin.uid and not metadata.get("deletionTimestamp"):
            created = read_time(metadata["creationTimestamp"]) or plugin.created
            if (created, metadata["name"]) < mine:
                rivals.append(metadata["name"])
    return tuple(sorted(rivals))


def find_approval(body: Mapping[str, Any]) -> str:
    """Read which change of a plugin a person approved, or empty."""
    annotations = body["metadata"].get("annotations") or {}
    return str(annotations.get(names.ANNOTATION_APPROVE, ""))


def _recency(body: Mapping[str, Any]) -> tuple[datetime, int]:
    """Order Events by time; within a second, by the order in which the API server stored them."""
    version = str(body["metadata"].get("resourceVersion", ""))
    return observe.read_event(body).at, int(version) if version.isdigit() else 0
