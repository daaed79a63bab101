"""Writes: server-side applies of what differs, pruning of what is not wanted, reports.

Every write is idempotent and made only where it is needed: a pass with nothing to do writes none.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.spec import Plugin, Resource
from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.cluster.client import Client
from cnpg_plugin_operator.cluster.gather import OWN_SELECTOR, Gatherer
from cnpg_plugin_operator.decide.announcing import format_time
from cnpg_plugin_operator.desired.drift import find_drift
from cnpg_plugin_operator.desired.objects import Object

EVENT_MESSAGE_LIMIT: Final = 1000
"""Bytes of an Event's note (`events.k8s.io` allows 1024)."""


class Writer:
    """Writes to the cluster for the reconciler."""

    def __init__(self, client: Client, gatherer: Gatherer, *, binds_cluster_roles: bool) -> None:
        self._client = client
        self._gatherer = gatherer
        self._binds_cluster_roles = binds_cluster_roles

    async def apply(
        self, desired: Object, live: Mapping[str, Any] | None
    ) -> tuple[Mapping[str, Any], bool]:
        """Apply an object where it differs; return it as it is now, and whether it was written."""
        if live is not None and find_drift(desired, live) is None:
            return live, False
        if live is not None and _must_drop_rolling_update(desired, live):
            # Its parameters were defaulted, so they are nobody's, and an apply cannot remove them.
            await self._client.merge_patch(
                kinds.DEPLOYMENT,
                live["metadata"]["name"],
                live["metadata"]["namespace"],
                {"spec": {"strategy": {"type": "Recreate", "rollingUpdate": None}}},
            )
        applied = await self._client.apply(kinds.kind_of(desired), desired, manager=names.MANAGER)
        return applied, True

    async def hold(self, plugin: Resource) -> None:
        """Put this operator's finalizer on the resource."""
        await self._set_finalizers(plugin, [names.FINALIZER])

    async def release(self, plugin: Resource) -> None:
        """Take this operator's finalizer off: the resource may go."""
        await self._set_finalizers(plugin, [])

    async def _set_finalizers(self, plugin: Resource, finalizers: list[str]) -> None:
        metadata = {
            "name": plugin.name,
            "namespace": plugin.namespace,
            "uid": plugin.uid,
            "finalizers": finalizers,
        }
        await self._client.apply(
            kinds.PLUGIN, {"metadata": metadata}, manager=names.FINALIZER_MANAGER
        )

    async def report(self, plugin: Resource, status: Mapping[str, Any]) -> None:
        """Write the status."""
        await self._client.apply(
            kinds.PLUGIN,
            {
                "metadata": {
                    "name": plugin.name,
                    "namespace": plugin.namespace,
                    "uid": plugin.uid,
                },
                "status": status,
            },
            manager=names.STATUS_MANAGER,
            subresource="status",
        )

    async def prune(self, plugin: Plugin, desired: Iterable[Object]) -> list[str]:
        """Delete this plugin's children that the spec no longer asks for; return what went."""
        wanted = {(body["kind"], body["metadata"]["name"]) for body in desired}
        gone = []
        for kind in kinds.CHILDREN:
            for body in await self._gatherer.children(kind, plugin):
                metadata = body["metadata"]
                owners = metadata.get("ownerReferences") or []
                owned = any(owner.get("uid") == plugin.uid for owner in owners)
                if owned and (kind.kind, metadata["name"]) not in wanted:
                    await self._client.delete(
                        kind, metadata["name"], plugin.namespace, uid=metadata["uid"]
                    )
                    gone.append(f"{kind.kind} {metadata['name']}")
        return gone + await self.prune_cluster_bindings(plugin, wanted)

    async def prune_cluster_bindings(
        self, plugin: Plugin, wanted: Iterable[tuple[str, str]] = ()
    ) -> list[str]:
        """Delete cluster-wide bindings that are not wanted: no owner reference does it for them."""
        labels = (
            f"{OWN_SELECTOR},{names.LABEL_PLUGIN}={plugin.name},"
            f"{names.LABEL_NAMESPACE}={plugin.namespace}"
        )
        if not self._binds_cluster_roles:
            return []
        kind = kinds.CLUSTER_ROLE_BINDING
        gone = []
        for body in await self._gatherer.children(kind, plugin, labels):
            name = body["metadata"]["name"]
            if (kind.kind, name) not in set(wanted):
                await self._client.delete(kind, name, None, uid=body["metadata"]["uid"])
                gone.append(f"{kind.kind} {name}")
        return gone

    async def withdraw_service(self, plugin: Plugin, live: Mapping[str, Any]) -> None:
        """Delete the Service, so that CloudNativePG forgets the plugin while it still answers."""
        metadata = live["metadata"]
        if not metadata.get("deletionTimestamp"):
            await self._client.delete(
                kinds.SERVICE, metadata["name"], plugin.namespace, uid=metadata["uid"]
            )

    async def strip_cnpg_finalizer(self, plugin: Plugin, live: Mapping[str, Any]) -> None:
        """Free a deleted Service whose CloudNativePG is gone and cannot do it itself.

        Only 1.29.0 to 1.30.0 put a finalizer on it.
        """
        metadata = live["metadata"]
        kept = [f for f in metadata.get("finalizers") or [] if f != names.CNPG_SERVICE_FINALIZER]
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

    async def discard_certificates(self, plugin: Plugin, *, with_chain: bool) -> None:
        """Delete the plugin's certificates, and their Secrets that cert-manager would leave behind.

        Certificates go first, or cert-manager would issue the Secrets again. `with_chain` takes the
        namespace's chain along: its last user is going.
        """
        selectors = [f"{OWN_SELECTOR},{names.LABEL_PLUGIN}={plugin.name}"]
        if with_chain:
            selectors.append(f"{OWN_SELECTOR},{names.LABEL_CHAIN}")
        for selector in selectors:
            for kind in (kinds.CERTIFICATE, kinds.ISSUER, kinds.SECRET):
                for body in await self._gatherer.children(kind, plugin, selector):
                    metadata = body["metadata"]
                    await self._client.delete(
                        kind, metadata["name"], plugin.namespace, uid=metadata["uid"]
                    )

    async def event(
        self, plugin: Resource, *, warning: bool, reason: str, message: str, now: datetime
    ) -> None:
        """Write an Event on the resource."""
        stamp = format_time(now)
        await self._client.create(
            kinds.EVENT,
            {
                "apiVersion": "v1",
                "kind": "Event",
                "metadata": {
                    "generateName": f"{plugin.name}.",
                    "namespace": plugin.namespace,
                },
                "involvedObject": {
                    "apiVersion": names.API_VERSION,
                    "kind": names.KIND,
                    "name": plugin.name,
                    "namespace": plugin.namespace,
                    "uid": plugin.uid,
                },
                "type": "Warning" if warning else "Normal",
                "reason": reason,
                "message": message[:EVENT_MESSAGE_LIMIT],
                "source": {"component": names.OPERATOR},
                "reportingComponent": names.OPERATOR,
                "action": "Reconcile",
                "firstTimestamp": stamp,
                "lastTimestamp": stamp,
                "count": 1,
            },
        )


def _must_drop_rolling_update(desired: Object, live: Mapping[str, Any]) -> bool:
    """Whether a Deployment's strategy turns from `RollingUpdate` to `Recreate`."""
    if desired["kind"] != "Deployment":
        return False
    wanted = desired["spec"]["strategy"]["type"]
    return wanted == "Recreate" and "rollingUpdate" in live["spec"].get("strategy", {})
