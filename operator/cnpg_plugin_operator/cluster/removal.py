"""Removals: what the spec no longer requests, what a deleted resource leaves, CNPG's finalizer.

Nothing is deleted by name alone: labels or owners show that it belongs to this operator, and the
uid that it is still the same object.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.plugin import Plugin, Resource
from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.cluster.addresses import label_selector
from cnpg_plugin_operator.cluster.client import Client
from cnpg_plugin_operator.cluster.ownership import is_own, is_owned
from cnpg_plugin_operator.cluster.snapshot import OWN, ClusterReader
from cnpg_plugin_operator.desired.objects import Object
from cnpg_plugin_operator.desired.workload import DEFAULT_ACCOUNT, proves_account, without_account


class Remover:
    """Deletes from the cluster for the reconciler."""

    def __init__(self, client: Client, reader: ClusterReader, *, binds_cluster_roles: bool) -> None:
        self._client = client
        self._reader = reader
        self._binds_cluster_roles = binds_cluster_roles

    async def prune(
        self, plugin: Plugin, desired: Iterable[Object], secrets: Collection[str]
    ) -> list[str]:
        """Delete this plugin's objects that are no longer wanted; return what was deleted.

        `secrets` are the names of its Secrets that are in use.
        """
        wanted = {(body["kind"], body["metadata"]["name"]) for body in desired}
        gone = []
        for kind in kinds.CHILDREN:
            for body in await self._reader.children(kind, plugin):
                kept = (kind.kind, body["metadata"]["name"]) in wanted
                if is_own(plugin, body) and not kept:
                    gone.append(await self._delete(kind, body, plugin.namespace))
        gone += [
            await self._delete(kinds.SECRET, body, plugin.namespace)
            for body in await self._reader.children(kinds.SECRET, plugin)
            if body["metadata"]["name"] not in secrets
        ]
        return gone + await self.prune_cluster_bindings(plugin, wanted)

    async def prune_chains(self, namespace: str, unused: Collection[str]) -> list[str]:
        """Delete the parts of a namespace's chains with these names."""
        return [
            await self._delete(kind, body, namespace)
            # Certificates first, or cert-manager would issue the Secrets again.
            for kind in (kinds.CERTIFICATE, kinds.ISSUER, kinds.SECRET)
            for body in await self._reader.chain_parts(kind, namespace)
            if body["metadata"]["name"] in unused
        ]

    async def _delete(
        self, kind: kinds.Kind, body: Mapping[str, Any], namespace: str | None
    ) -> str:
        metadata = body["metadata"]
        await self._client.delete(kind, metadata["name"], namespace, uid=metadata["uid"])
        return f"{kind.kind} {metadata['name']}"

    async def prune_cluster_bindings(
        self, plugin: Resource, wanted: Iterable[tuple[str, str]] = ()
    ) -> list[str]:
        """Delete unwanted cluster-wide bindings, which have no owner in a namespace."""
        kind, kept = kinds.CLUSTER_ROLE_BINDING, set(wanted)
        return [
            await self._delete(kind, body, None)
            for body in await self._cluster_bindings(plugin)
            if (kind.kind, body["metadata"]["name"]) not in kept
        ]

    async def revoke(
        self, resource: Resource, roles: Collection[str], cluster_roles: Collection[str]
    ) -> list[str]:
        """Delete the bindings of a resource to any other role; return what was deleted."""
        local, wide = kinds.ROLE_BINDING, kinds.CLUSTER_ROLE_BINDING
        gone = [
            await self._delete(local, body, resource.namespace)
            for body in await self._reader.children(local, resource)
            if not _binds_one_of(body, "Role", roles)
        ]
        return gone + [
            await self._delete(wide, body, None)
            for body in await self._cluster_bindings(resource)
            if not _binds_one_of(body, "ClusterRole", cluster_roles)
        ]

    async def revoke_account(self, resource: Resource, accounts: Collection[str]) -> list[str]:
        """Remove any other existing account from a plugin's pods; return what changed.

        The pods keep running, without rights and without a token, even of the default account.
        """
        for live in await self._reader.children(kinds.DEPLOYMENT, resource):
            template = ((live.get("spec") or {}).get("template") or {}).get("spec") or {}
            account = template.get("serviceAccountName") or DEFAULT_ACCOUNT
            if account in accounts or not proves_account(template):
                continue
            made = await self._reader.children(kinds.SERVICE_ACCOUNT, resource)
            if account in {body["metadata"]["name"] for body in made}:
                continue
            name = live["metadata"]["name"]
            await self._client.merge_patch(
                kinds.DEPLOYMENT,
                name,
                resource.namespace,
                {
                    "metadata": {"resourceVersion": live["metadata"]["resourceVersion"]},
                    "spec": {"template": {"spec": without_account(template)}},
                },
            )
            return [f"account {account} of Deployment {name}"]
        return []

    async def _cluster_bindings(self, resource: Resource) -> list[dict[str, Any]]:
        """Read the cluster-wide bindings of a resource; empty where the operator may bind none."""
        if not self._binds_cluster_roles:
            return []
        labels = label_selector(
            {**OWN, names.labels.PLUGIN: resource.name, names.labels.NAMESPACE: resource.namespace}
        )
        return await self._reader.children(kinds.CLUSTER_ROLE_BINDING, resource, labels)

    async def withdraw_service(self, plugin: Resource, live: Mapping[str, Any]) -> None:
        """Delete the Service, so that CloudNativePG drops the plugin while it still answers."""
        if not live["metadata"].get("deletionTimestamp"):
            await self._delete(kinds.SERVICE, live, plugin.namespace)

    async def strip_cnpg_finalizer(self, plugin: Resource, live: Mapping[str, Any]) -> None:
        """Remove the finalizer of a missing CloudNativePG from a deleted Service.

        Only 1.29.0 to 1.30.0 add a finalizer.
        """
        metadata = live["metadata"]
        kept = [f for f in metadata.get("finalizers") or [] if f != names.cnpg.SERVICE_FINALIZER]
        await self._client.merge_patch(
            kinds.SERVICE,
            metadata["name"],
            plugin.namespace,
            {
                "metadata": {
                    "finalizers": kept or None,
                    "resourceVersion": metadata["resourceVersion"],
                }
            },
        )

    async def discard_certificates(self, plugin: Resource) -> None:
        """Delete the plugin's certificates, and the Secrets that cert-manager would keep.

        Certificates first, or cert-manager would issue the Secrets again.
        """
        for kind in (kinds.CERTIFICATE, kinds.ISSUER, kinds.SECRET):
            for body in await self._reader.children(kind, plugin):
                await self._delete(kind, body, plugin.namespace)

    async def discard_unowned(self, plugin: Resource) -> None:
        """Delete the plugin's objects that lost their owner reference.

        The garbage collector removes the others.
        """
        for kind in (kinds.DEPLOYMENT, kinds.ROLE_BINDING, kinds.SERVICE_ACCOUNT):
            for body in await self._reader.children(kind, plugin):
                if is_own(plugin, body) and not is_owned(plugin, body):
                    await self._delete(kind, body, plugin.namespace)


def _binds_one_of(binding: Mapping[str, Any], kind: str, roles: Collection[str]) -> bool:
    reference = binding.get("roleRef") or {}
    return reference.get("kind") == kind and reference.get("name") in roles
