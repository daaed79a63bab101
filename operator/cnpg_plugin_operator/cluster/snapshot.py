"""Gathers the facts of one pass: everything is read here, at once, into one frozen snapshot.

The requests of a snapshot run concurrently. What the plugins of a namespace say about each other,
and the Clusters, comes from the fact store that watches keep up (`facts`); everything else is read.
Nothing of it is kept by a pass for the next one, so every pass could be the first after a crash.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from cnpg_plugin_operator import errors, names
from cnpg_plugin_operator.api.conditions import Type
from cnpg_plugin_operator.api.deletion import Leaving
from cnpg_plugin_operator.api.plugin import Plugin, Resource
from cnpg_plugin_operator.cluster import cnpg_pods, kinds, observe, plugin_secrets
from cnpg_plugin_operator.cluster.addresses import field_selector, label_selector
from cnpg_plugin_operator.cluster.answers import concerning
from cnpg_plugin_operator.cluster.cert_manager import read_issuer
from cnpg_plugin_operator.cluster.client import Client, list_served
from cnpg_plugin_operator.cluster.clusters import ClusterRecord, list_clusters, read_clusters
from cnpg_plugin_operator.cluster.cnpg import locate
from cnpg_plugin_operator.cluster.cnpg_events import FIELDS, find_event, find_rival
from cnpg_plugin_operator.cluster.facts import Facts
from cnpg_plugin_operator.cluster.grants import find_grants
from cnpg_plugin_operator.cluster.kinds import Kind
from cnpg_plugin_operator.cluster.ownership import (
    Live,
    find_foreign,
    find_labelled,
    find_selecting,
    is_own,
)
from cnpg_plugin_operator.cluster.plugins import (
    find_leases,
    find_own_approval,
    find_rivals,
)
from cnpg_plugin_operator.cluster.private_secrets import bound, read_private_secrets
from cnpg_plugin_operator.cluster.scope import Scope
from cnpg_plugin_operator.cluster.secrets import Secret
from cnpg_plugin_operator.cluster.take_over import Others, read_previous
from cnpg_plugin_operator.decide.acceptance.private_secrets import PrivateSecrets, find_named
from cnpg_plugin_operator.decide.facts.cert_manager import IssuerFacts
from cnpg_plugin_operator.decide.facts.cnpg import Announcement, ClusterFacts, CNPGEvent, CNPGFacts
from cnpg_plugin_operator.decide.facts.plugin import (
    ForeignObject,
    LeaseFacts,
    PodFacts,
    SelectingService,
)
from cnpg_plugin_operator.decide.facts.take_over import Previous
from cnpg_plugin_operator.desired.objects import Object
from cnpg_plugin_operator.desired.protection import Pods

OWN: Final = {names.labels.MANAGED_BY: names.resource.OPERATOR}
"""The label of everything that this operator created."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The facts about one resource at the start of a pass."""

    live: Live
    """The live objects for the desired ones."""
    pods: tuple[dict[str, Any], ...]
    secrets: Mapping[str, Secret | None]
    """Pairs, trusted certificates and authorities, by name."""
    foreign: tuple[ForeignObject, ...]
    services: tuple[SelectingService, ...]
    """The Services of the namespace, except this plugin's own."""
    rivals: tuple[str, ...]
    cert_manager: bool
    """Whether cert-manager's kinds are served."""
    issuer: IssuerFacts | None
    """The user's issuer; None where none is named, it is not cert-manager's, or may not be read."""
    clusters: tuple[ClusterFacts, ...]
    event: CNPGEvent | None
    """CloudNativePG's last Event on the plugin's Service."""
    private: PrivateSecrets
    """What is known of the Secrets that the resource names; empty where it names none."""
    rival: CNPGEvent | None
    """CloudNativePG's last Event about the plugin's name, if it is on another Service."""
    approval: str
    """Which change of the plugin's pods a person approved, or empty."""
    previous: Previous | None = None
    """The installation that the plugin takes over; None where it takes over none."""


class ClusterReader:
    """Reads the cluster for the reconciler."""

    def __init__(
        self,
        client: Client,
        facts: Facts,
        scope: Scope,
        clock: Callable[[], datetime],
        grant_prefix: str = "",
        operator_pods: Pods | None = None,
    ) -> None:
        self.clock, self._client, self._facts = clock, client, facts
        self._scope, self._grant_prefix, self._own_pods = scope, grant_prefix, operator_pods

    async def resource(self, namespace: str, name: str) -> Mapping[str, Any] | None:
        """Give the `CNPGPlugin` as its watch knows it, or read it; None where it is gone."""
        with contextlib.suppress(errors.ClusterError):
            for body in self.siblings(namespace):
                if body["metadata"]["name"] == name:
                    return body
        return await self._client.find(kinds.PLUGIN, name, namespace)

    async def confirmed(self, namespace: str, name: str) -> Mapping[str, Any] | None:
        """Read the `CNPGPlugin`, or None where a list does not contain it either.

        A single wrong answer must not end its loop. Raises `UnavailableError` where the two
        answers contradict each other.
        """
        body = await self.resource(namespace, name)
        if body is None and await self._client.list(
            kinds.PLUGIN, namespace, fields=field_selector({"metadata.name": name})
        ):
            raise errors.UnavailableError(
                f"CNPGPlugin {namespace}/{name}: the API server lists it, but does not find it"
            )
        return body

    def keys(self) -> list[tuple[str, ...]]:
        """Name the managed namespaces, and the resources in them. Raises as `siblings` does."""
        found: list[tuple[str, ...]] = [(namespace,) for namespace in self._scope.namespaces]
        for namespace in self._scope.namespaces:
            found += [(namespace, body["metadata"]["name"]) for body in self.siblings(namespace)]
        return found

    def manages(self, namespace: str) -> bool:
        """Whether this operator has rights in the namespace."""
        return namespace in self._scope.namespaces

    async def snapshot(
        self,
        plugin: Plugin,
        cnpg: tuple[CNPGFacts, ...],
        children: Iterable[Object],
        status: Mapping[str, Any],
    ) -> Snapshot:
        """Read all that a pass looks at beside CloudNativePG; `status` comes from `read_status`.

        Raises the first `ClusterError` of a read.
        """
        try:
            return await self._snapshot(plugin, cnpg, list(children), status)
        except ExceptionGroup as group:
            raise group.exceptions[0] from group

    async def _snapshot(
        self,
        plugin: Plugin,
        cnpg: tuple[CNPGFacts, ...],
        children: list[Object],
        status: Mapping[str, Any],
    ) -> Snapshot:
        namespace = plugin.namespace
        own = label_selector({**OWN, names.labels.PLUGIN: plugin.name})
        async with asyncio.TaskGroup() as reads:
            objects = reads.create_task(concerning(Type.AVAILABLE, self._live(children)))
            own_pods = self._client.list(kinds.POD, namespace, labels=own)
            pods = reads.create_task(concerning(Type.AVAILABLE, own_pods))
            services = reads.create_task(self._client.list(kinds.SERVICE, namespace))
            served = reads.create_task(self._client.served(kinds.CERTIFICATE.api_version))
        live = objects.result()
        siblings = self.siblings(namespace)
        others = Others.among(siblings, plugin, cnpg, status)
        served_here = kinds.CERTIFICATE.plural in served.result()
        labelled = find_labelled(plugin, services.result())
        announcement = self._announcement(plugin, live)
        # They are about an announcement, so there is none before it.
        events = (
            await concerning(Type.REGISTERED, self._events(namespace))
            if announcement is not None
            else ()
        )
        return Snapshot(
            live=live,
            pods=tuple(pods.result()),
            # Read last: a Certificate that was Ready before has its Secret.
            secrets=await concerning(
                Type.CERTIFICATES_READY,
                plugin_secrets.find_all(self._client, plugin, live, announcement),
            ),
            foreign=find_foreign(plugin, live, labelled),
            services=find_selecting(plugin, services.result()),
            rivals=find_rivals(plugin, siblings),
            cert_manager=served_here,
            issuer=await read_issuer(self._client, plugin, wide=self._scope.is_wide)
            if served_here
            else None,
            private=await self.private(plugin, siblings, cnpg),
            clusters=self.clusters(plugin),
            event=find_event(plugin, events),
            rival=find_rival(plugin, events, labelled),
            approval=find_own_approval(plugin, siblings),
            previous=await read_previous(
                self._client, plugin, services.result(), others, self.clock()
            ),
        )

    async def private(
        self, plugin: Plugin, siblings: Iterable[Mapping[str, Any]], cnpg: tuple[CNPGFacts, ...]
    ) -> PrivateSecrets:
        """Read what is known of the Secrets that a resource names."""
        named = bound({name for _, name in find_named(plugin)})
        return await read_private_secrets(
            self._client,
            plugin,
            named,
            siblings,
            {facts.deployment for facts in cnpg},
            operator=self._own_pods,
            wide=self._scope.is_wide,
        )

    async def chain_parts(self, kind: Kind, namespace: str) -> list[dict[str, Any]]:
        """Read the parts of one kind of the chains that the plugins of a namespace share."""
        selector = label_selector(OWN, names.labels.CHAIN)
        return await list_served(self._client, kind, namespace, selector)

    async def find(self, kind: Kind, name: str, namespace: str | None) -> dict[str, Any] | None:
        """Read an object; None also where its kind is not served."""
        try:
            return await self._client.find(kind, name, namespace)
        except errors.KindMissingError:
            return None

    async def has_orphans(self, namespace: str) -> bool:
        """Whether a deleted resource left a plugin running in the namespace."""
        marked = label_selector({**OWN, names.labels.ORPHANED: "true"})
        return bool(
            await list_served(self._client, kinds.DEPLOYMENT, namespace, marked, confirmed=True)
        )

    async def cnpg_namespaces(self) -> tuple[str, ...]:
        """Return the managed namespaces in which CloudNativePG runs."""
        found = await asyncio.gather(*map(self.cnpg, self._scope.namespaces))
        return tuple(each for each, here in zip(self._scope.namespaces, found, strict=True) if here)

    async def cnpg(self, namespace: str, reference: str = "") -> tuple[CNPGFacts, ...]:
        """Read the CloudNativePG operators of a namespace, each with its leader."""
        return tuple(each.facts for each in await locate(self._client, namespace, reference))

    async def reference_exists(self, namespace: str, reference: str) -> bool:
        """Whether there is a Deployment of that name, CloudNativePG's or not."""
        if not reference:
            return False
        return await self._client.find(kinds.DEPLOYMENT, reference, namespace) is not None

    def all_clusters(self) -> tuple[ClusterRecord, ...]:
        """Give all Clusters of all namespaces, as far as decisions use them.

        Raises the `ClusterError` for which they are not known; it concerns the registration.
        """
        try:
            return self._facts.clusters()
        except errors.ClusterError as error:
            error.condition = Type.REGISTERED
            raise

    def clusters(self, plugin: Plugin | Leaving) -> tuple[ClusterFacts, ...]:
        """Read the Clusters, of any namespace, that use a plugin. Raises as `all_clusters` does."""
        return read_clusters(self.all_clusters(), plugin.plugin_name, plugin.name)

    async def confirmed_clusters(self, plugin: Leaving) -> tuple[ClusterFacts, ...]:
        """Read them; where the watch knows of none, a list has to confirm it.

        An event may be late, and a watch may have broken without a sign: a plugin that a Cluster
        uses must not go for that.
        """
        known = self.clusters(plugin)
        return known or await list_clusters(
            self._client, self._scope.clusters, plugin.plugin_name, plugin.name
        )

    async def leases(self, namespace: str) -> tuple[LeaseFacts, ...]:
        """Find the Leases that plugins' pods hold."""
        return await find_leases(self._client, namespace)

    async def mount_failure(self, namespace: str, pod: PodFacts) -> str:
        """Read why a volume of a pod cannot be mounted; empty where the kubelet reports nothing."""
        return await cnpg_pods.read_mount_failure(self._client, namespace, pod)

    async def children(
        self, kind: Kind, plugin: Resource, labels: str | None = None, *, confirmed: bool = True
    ) -> list[dict[str, Any]]:
        """Read a plugin's objects of one kind, wanted or not."""
        selector = labels or label_selector({**OWN, names.labels.PLUGIN: plugin.name})
        namespace = plugin.namespace if kind.namespaced else None
        return await list_served(self._client, kind, namespace, selector, confirmed=confirmed)

    async def grants(self, roles: Iterable[str]) -> dict[str, Object]:
        """Find the ClusterRoles that own the bindings of these. Raises as `find_grants` does."""
        return await find_grants(self._client, self._grant_prefix, roles)

    def siblings(self, namespace: str) -> tuple[Mapping[str, Any], ...]:
        """Give all resources of a namespace. Raises as `Facts.resources` does."""
        return self._facts.resources(namespace)

    async def own_services(self, plugin: Leaving) -> list[dict[str, Any]]:
        """Read the Services of a resource: those with its labels, and the one in its spec."""
        found = await self.children(kinds.SERVICE, plugin)
        asked = await self._client.find(kinds.SERVICE, plugin.service_name, plugin.namespace)
        known = {body["metadata"]["uid"] for body in found}
        if asked is not None and asked["metadata"]["uid"] not in known:
            found.append(asked)
        return [body for body in found if is_own(plugin, body)]

    async def live(self, body: Object) -> dict[str, Any] | None:
        """Read the live object for a desired one, as `find` does."""
        metadata = body["metadata"]
        return await self.find(kinds.kind_of(body), metadata["name"], metadata.get("namespace"))

    async def _live(self, bodies: list[Object]) -> Live:
        found = await asyncio.gather(*(self.live(body) for body in bodies))
        return {
            (body["kind"], body["metadata"]["name"]): live
            for body, live in zip(bodies, found, strict=True)
        }

    def _announcement(self, plugin: Plugin, live: Live) -> Announcement | None:
        service = live.get(("Service", plugin.service_name))
        return observe.read_service(service, self.clock()).announcement if service else None

    async def secret(self, namespace: str, name: str, *, keys: bool) -> Secret | None:
        """Read one Secret, as `plugin_secrets.find` does."""
        return await plugin_secrets.find(self._client, namespace, name, keys=keys)

    async def _events(self, namespace: str) -> tuple[CNPGEvent, ...]:
        """Give CloudNativePG's Events on the Services of a namespace, or read them."""
        known = self._facts.events(namespace)
        if known is not None:
            return known
        bodies = await self._client.list(kinds.EVENT, namespace, fields=FIELDS)
        return tuple(map(observe.read_event, bodies))
