"""Removals: what the spec no longer requests, what a deleted resource leaves, CNPG's finalizer.

Nothing is deleted by name alone: labels or owners show that it belongs to this operator, and the
uid that it is still the same object.
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.plugin import Plugin, Resource
from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.cluster.addresses import label_selector
from cnpg_plugin_operator.cluster.client import Client
from cnpg_plugin_operator.cluster.ownership import (
    is_managed,
    is_orphaned,
    is_own,
    is_owned,
    is_remnant,
)
from cnpg_plugin_operator.cluster.snapshot import OWN, ClusterReader
from cnpg_plugin_operator.cluster.take_over import Scaled, read_scaled
from cnpg_plugin_operator.desired.objects import Object
from cnpg_plugin_operator.desired.workload import DEFAULT_ACCOUNT, proves_account, without_account

_PARTS: Final = {each.kind: each for each in (kinds.CERTIFICATE, kinds.ISSUER, kinds.SECRET)}
"""The kinds of which a chain has parts."""

Found = tuple[kinds.Kind, dict[str, Any]]
"""An object that may be deleted, and its kind."""


class Remover:
    """Finds what is to go, and deletes it."""

    def __init__(self, client: Client, reader: ClusterReader, *, binds_cluster_roles: bool) -> None:
        self._client = client
        self._reader = reader
        self._binds_cluster_roles = binds_cluster_roles

    async def find_unwanted(
        self, plugin: Plugin, desired: Iterable[Object], secrets: Collection[str]
    ) -> list[Found]:
        """Find this plugin's objects that are no longer wanted.

        `secrets` are the names of its Secrets that are in use.
        """
        wanted = {(body["kind"], body["metadata"]["name"]) for body in desired}
        found = [
            (kind, body)
            for kind in kinds.CHILDREN
            for body in await self._reader.children(kind, plugin, confirmed=False)
            if (kind.kind, body["metadata"]["name"]) not in wanted
        ]
        remnants = [each for each in found if is_remnant(plugin, each[1])]
        found = [each for each in found if is_own(plugin, each[1])]
        found += remnants if remnants and await self.is_current(plugin) else []
        found += [
            (kinds.SECRET, body)
            for body in await self._reader.children(kinds.SECRET, plugin)
            if body["metadata"]["name"] not in secrets
        ]
        return found + await self.find_cluster_bindings(plugin, wanted)

    async def is_current(self, plugin: Plugin) -> bool:
        """Whether the API server has this very resource: what is known may be an earlier one.

        What belongs to the present resource would look like a remnant then.
        """
        live = await self._client.find(kinds.PLUGIN, plugin.name, plugin.namespace)
        return live is not None and live["metadata"]["uid"] == plugin.uid

    async def find_parts(self, namespace: str, parts: Collection[tuple[str, str]]) -> list[Found]:
        """Find the parts of a namespace's chains, by kind and name, that this operator created.

        A part that has lost a label has no owner either: no list and no garbage collector finds it.
        """
        known = [(_PARTS[kind], name) for kind, name in parts]
        bodies = await asyncio.gather(
            *(self._reader.find(kind, name, namespace) for kind, name in known)
        )
        return [
            (kind, body)
            for (kind, _), body in zip(known, bodies, strict=True)
            if body is not None and is_managed(body)
        ]

    async def delete(
        self, kind: kinds.Kind, namespace: str | None, name: str, uid: str | None
    ) -> None:
        """Delete an object, unless another one has its name by now."""
        await self._client.delete(kind, name, namespace, uid=uid)

    async def find_cluster_bindings(
        self, plugin: Resource, wanted: Collection[tuple[str, str]] = ()
    ) -> list[Found]:
        """Find unwanted cluster-wide bindings, which have no owner in a namespace."""
        kind = kinds.CLUSTER_ROLE_BINDING
        return [
            (kind, body)
            for body in await self._cluster_bindings(plugin)
            if (kind.kind, body["metadata"]["name"]) not in wanted
        ]

    async def find_revoked(
        self, resource: Resource, roles: Collection[str], cluster_roles: Collection[str]
    ) -> list[Found]:
        """Find the bindings of a resource to any other role."""
        local, wide = kinds.ROLE_BINDING, kinds.CLUSTER_ROLE_BINDING
        found = [
            (local, body)
            for body in await self._reader.children(local, resource)
            if not _binds_one_of(body, "Role", roles)
        ]
        return found + [
            (wide, body)
            for body in await self._cluster_bindings(resource)
            if not _binds_one_of(body, "ClusterRole", cluster_roles)
        ]

    async def find_revoked_account(
        self, resource: Resource, accounts: Collection[str]
    ) -> dict[str, Any] | None:
        """Find a Deployment of the resource whose pods prove any other existing account."""
        for live in await self._reader.children(kinds.DEPLOYMENT, resource):
            template = _pod_spec(live)
            account = template.get("serviceAccountName") or DEFAULT_ACCOUNT
            if account in accounts or not proves_account(template):
                continue
            made = await self._reader.children(kinds.SERVICE_ACCOUNT, resource)
            if account not in {body["metadata"]["name"] for body in made}:
                return live
        return None

    async def revoke_account(self, live: Mapping[str, Any]) -> None:
        """Remove the account from a plugin's pods.

        The pods keep running, without rights and without a token, even of the default account.
        """
        metadata = live["metadata"]
        await self._client.merge_patch(
            kinds.DEPLOYMENT,
            metadata["name"],
            metadata["namespace"],
            {
                "metadata": {"resourceVersion": metadata["resourceVersion"]},
                "spec": {"template": {"spec": without_account(_pod_spec(live))}},
            },
        )

    async def _cluster_bindings(self, resource: Resource) -> list[dict[str, Any]]:
        """Read the cluster-wide bindings of a resource; empty where the operator may bind none."""
        if not self._binds_cluster_roles:
            return []
        labels = label_selector(
            {**OWN, names.labels.PLUGIN: resource.name, names.labels.NAMESPACE: resource.namespace}
        )
        return await self._reader.children(kinds.CLUSTER_ROLE_BINDING, resource, labels)

    async def strip_cnpg_finalizer(self, live: Mapping[str, Any]) -> None:
        """Remove the finalizer of a missing CloudNativePG from a deleted Service.

        Only 1.29.0 to 1.30.0 add a finalizer.
        """
        metadata = live["metadata"]
        kept = [f for f in metadata.get("finalizers") or [] if f != names.cnpg.SERVICE_FINALIZER]
        await self._client.merge_patch(
            kinds.SERVICE,
            metadata["name"],
            metadata["namespace"],
            {
                "metadata": {
                    "finalizers": kept or None,
                    "resourceVersion": metadata["resourceVersion"],
                }
            },
        )

    async def find_certificates(self, plugin: Resource) -> list[Found]:
        """Find the plugin's certificates, and the Secrets that cert-manager would keep.

        Certificates first, or cert-manager would issue the Secrets again.
        """
        return [
            (kind, body)
            for kind in (kinds.CERTIFICATE, kinds.ISSUER, kinds.SECRET)
            for body in await self._reader.children(kind, plugin)
        ]

    async def find_orphans(self, plugin: Resource) -> list[Found]:
        """Find what a resource leaves running and does not look like it yet.

        Secrets are not marked: they belong to a resource by its name.
        """
        found = [
            (kind, body)
            for kind in kinds.CHILDREN
            for body in await self._reader.children(kind, plugin)
            if is_own(plugin, body) and (is_owned(plugin, body) or not is_orphaned(body))
        ]
        found += [
            (kinds.SECRET, body)
            for body in await self._reader.children(kinds.SECRET, plugin)
            if is_owned(plugin, body)
        ]
        bindings = await self.find_cluster_bindings(plugin)
        return found + [each for each in bindings if not is_orphaned(each[1])]

    async def orphan(self, kind: kinds.Kind, live: Mapping[str, Any], uid: str) -> None:
        """Take an object from its owner, so that it outlives it."""
        metadata = live["metadata"]
        owners = metadata.get("ownerReferences") or []
        patch: dict[str, Any] = {
            "ownerReferences": [owner for owner in owners if owner.get("uid") != uid] or None,
            "resourceVersion": metadata["resourceVersion"],
        }
        if kind is not kinds.SECRET:
            patch["labels"] = {names.labels.ORPHANED: "true"}
        await self._client.merge_patch(
            kind, metadata["name"], metadata.get("namespace"), {"metadata": patch}
        )

    async def find_scaled(self, resource: Resource) -> list[Scaled]:
        """Find the Deployments of others that are scaled to zero for a resource."""
        deployments = await self._client.list(kinds.DEPLOYMENT, resource.namespace)
        return read_scaled(resource, deployments, self._reader.clock())

    async def find_unowned(self, plugin: Resource) -> list[Found]:
        """Find the plugin's objects that lost their owner reference.

        The garbage collector removes the others.
        """
        return [
            (kind, body)
            for kind in (
                kinds.DEPLOYMENT,
                kinds.ROLE_BINDING,
                kinds.SERVICE_ACCOUNT,
                kinds.POD_DISRUPTION_BUDGET,
                kinds.NETWORK_POLICY,
            )
            for body in await self._reader.children(kind, plugin)
            if is_own(plugin, body) and not is_owned(plugin, body)
        ]


def _pod_spec(deployment: Mapping[str, Any]) -> Mapping[str, Any]:
    template = (deployment.get("spec") or {}).get("template") or {}
    found: Mapping[str, Any] = template.get("spec") or {}
    return found


def _binds_one_of(binding: Mapping[str, Any], kind: str, roles: Collection[str]) -> bool:
    reference = binding.get("roleRef") or {}
    return reference.get("kind") == kind and reference.get("name") in roles
