"""Writes: server-side applies of what differs, Secrets with new keys, statuses, Events.

Every write is idempotent and made only if it is needed: a pass without changes writes nothing.
"""

import contextlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from cnpg_plugin_operator import errors, names
from cnpg_plugin_operator.api.plugin import Plugin, Resource
from cnpg_plugin_operator.api.times import format_time
from cnpg_plugin_operator.api.untrusted import printable
from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.cluster.addresses import field_selector
from cnpg_plugin_operator.cluster.client import Client
from cnpg_plugin_operator.cluster.facts import Facts
from cnpg_plugin_operator.cluster.secrets import Secret
from cnpg_plugin_operator.cluster.write_guard import Key, WriteGuard
from cnpg_plugin_operator.desired.drift import find_drift
from cnpg_plugin_operator.desired.objects import Object, digest, read_stamp
from cnpg_plugin_operator.desired.surplus import find_surplus


class Writer:
    """Writes to the cluster for the reconciler."""

    def __init__(self, client: Client, facts: Facts, guard: WriteGuard | None = None) -> None:
        self._client = client
        self._facts = facts
        self._guard = guard or WriteGuard()

    async def apply(
        self, desired: Object, live: Mapping[str, Any] | None
    ) -> tuple[Mapping[str, Any], bool]:
        """Apply an object if it differs; return the live object, and whether it was written."""
        surplus = find_surplus(desired, live) if live is not None else None
        drift = find_drift(desired, live)
        if live is not None and surplus is None and drift is None:
            return live, False
        key, wanted = _identity(desired)
        differs = drift or (surplus.field if surplus else "")
        self._guard.admit(key, wanted, differs.removeprefix("."), live)
        if live is not None and surplus is not None:
            metadata = live["metadata"]
            live = await self._client.merge_patch(
                kinds.kind_of(desired), metadata["name"], metadata.get("namespace"), surplus.patch
            )
            self._guard.record(key, wanted)
            if find_drift(desired, live) is None:
                return live, True
        if live is not None and _must_drop_rolling_update(desired, live):
            # The API server set its defaults, so no manager owns them, and no apply removes them.
            await self._client.merge_patch(
                kinds.DEPLOYMENT,
                live["metadata"]["name"],
                live["metadata"]["namespace"],
                {"spec": {"strategy": {"type": "Recreate", "rollingUpdate": None}}},
            )
        applied = await self._client.apply(
            kinds.kind_of(desired), desired, manager=names.managers.CHILDREN
        )
        self._guard.record(key, wanted)
        return applied, True

    async def write_secret(self, desired: Object, live: Secret | None) -> Mapping[str, Any]:
        """Write a Secret with a newly generated key; return it as it is now.

        Raises `ConflictError` where another writer came first: only one of two keys may stay.
        """
        metadata = desired["metadata"]
        key, _ = _identity(desired)
        self._guard.admit(key, "", "data", live.body if live is not None else None)
        if live is None:
            written = await self._client.create(kinds.SECRET, desired)
        else:
            version = live.metadata["resourceVersion"]
            body = {**desired, "metadata": {**metadata, "resourceVersion": version}}
            written = await self._client.apply(kinds.SECRET, body, manager=names.managers.CHILDREN)
        # Every key is new, so all writes count as the same.
        self._guard.record(key, "")
        return written

    async def restore_marks(
        self, live: Secret, marks: Mapping[str, Any], data: Mapping[str, str]
    ) -> Mapping[str, Any]:
        """Restore metadata and certificates of a Secret but keep its key; return it as it is now.

        What plugins share, and what cert-manager gets, has neither owner nor uid.
        """
        namespace = live.metadata["namespace"]
        uid = marks.get("annotations", {}).get(names.annotations.UID) or ""
        key = (kinds.SECRET.kind, namespace, live.name)
        self._guard.admit(key, uid, "metadata", live.body)
        version = live.metadata["resourceVersion"]
        patch: Object = {"metadata": {**marks, "resourceVersion": version}, "data": dict(data)}
        restored = await self._client.merge_patch(kinds.SECRET, live.name, namespace, patch)
        self._guard.record(key, uid)
        return restored

    async def take_over(self, secret: Secret, marks: Mapping[str, Any]) -> Mapping[str, Any]:
        """Remove cert-manager's marks from a plugin's Secret, then delete its Certificate.

        The Secret is in use. It must not be deleted with the Certificate where cert-manager is
        configured to own Secrets. Returns it as it is now.
        """
        namespace = secret.metadata["namespace"]
        taken = await self._client.merge_patch(
            kinds.SECRET, secret.name, namespace, {"metadata": marks}
        )
        with contextlib.suppress(errors.KindMissingError):
            await self._client.delete(kinds.CERTIFICATE, secret.name, namespace)
        return taken

    async def refresh(self, namespace: str, pod: str, certificates: str) -> None:
        """Make the kubelet update a pod's mounted Secrets at once."""
        annotations = {names.annotations.REFRESHED: certificates}
        await self._client.merge_patch(
            kinds.POD, pod, namespace, {"metadata": {"annotations": annotations}}
        )

    async def record_disturbance(self, service: Mapping[str, Any], record: str) -> None:
        """Record on a plugin's Service that others have its plugin's name; change nothing else.

        With the uid, a deleted Service is not created again.
        """
        metadata = {key: service["metadata"][key] for key in ("name", "namespace", "uid")}
        metadata["annotations"] = {names.annotations.DISTURBED: record}
        await self._client.apply(
            kinds.SERVICE, {"metadata": metadata}, manager=names.managers.RECORDS
        )

    async def hide_service(self, service: Mapping[str, Any]) -> None:
        """Remove CloudNativePG's label from a Service, and the record of who saw it earlier."""
        labels = dict.fromkeys((names.cnpg.PLUGIN_NAME, names.cnpg.PLUGIN_DOCUMENTED))
        await self._annotate(service, {names.annotations.SEEN_BY: None}, labels)

    async def patch_previous(
        self, kind: kinds.Kind, namespace: str, name: str, patch: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """Change an object of a previous installation; return it as it is now.

        Raises `WriteLoopError` where its manager reverts that again and again.
        """
        key, wanted = (kind.kind, namespace, name), digest(patch)
        self._guard.admit(key, wanted, "what the take-over changed", None)
        changed = await self._client.merge_patch(kind, name, namespace, patch)
        self._guard.record(key, wanted)
        return changed

    async def record_seen(self, service: Mapping[str, Any], pods: Iterable[str]) -> None:
        """Record which of CloudNativePG's pods may have seen the label of a Service."""
        await self._annotate(service, {names.annotations.SEEN_BY: ",".join(sorted(pods))}, {})

    async def show_service(self, plugin: Plugin, service: Mapping[str, Any]) -> None:
        """Restore CloudNativePG's label on a Service."""
        keys = (names.cnpg.PLUGIN_NAME, names.cnpg.PLUGIN_DOCUMENTED)
        labels = dict.fromkeys(keys, plugin.spec.plugin_name)
        await self._annotate(service, {names.annotations.SEEN_BY: None}, labels)

    async def _annotate(
        self,
        service: Mapping[str, Any],
        annotations: Mapping[str, str | None],
        labels: Mapping[str, str | None],
    ) -> None:
        metadata = service["metadata"]
        await self._client.merge_patch(
            kinds.SERVICE,
            metadata["name"],
            metadata["namespace"],
            {"metadata": {"annotations": dict(annotations), "labels": dict(labels)}},
        )

    async def add_finalizer(self, plugin: Resource) -> None:
        """Add this operator's finalizer to the resource."""
        await self._set_finalizers(plugin, [names.resource.FINALIZER])

    async def remove_finalizer(self, plugin: Resource) -> None:
        """Remove this operator's finalizer, so that the resource can be deleted."""
        await self._set_finalizers(plugin, [])

    async def _set_finalizers(self, plugin: Resource, finalizers: list[str]) -> None:
        metadata = {
            "name": plugin.name,
            "namespace": plugin.namespace,
            "uid": plugin.uid,
            "finalizers": finalizers,
        }
        await self._client.apply(
            kinds.PLUGIN, {"metadata": metadata}, manager=names.managers.FINALIZER
        )

    async def report(self, plugin: Resource, status: Mapping[str, Any]) -> None:
        """Write the status.

        Raises `WriteLoopError` where it alternates; the caller then backs off.
        """
        key, state = (names.resource.KIND, plugin.namespace, plugin.name), digest(status)
        self._guard.admit(key, state, "status", None)
        self._facts.expect(plugin.namespace, plugin.name, status)
        await self._apply_status(plugin, status, names.managers.STATUS)
        self._guard.record(key, state)

    async def report_shared(self, plugin: Resource, part: Mapping[str, Any]) -> None:
        """Write the part of a status that the namespace's pass owns, all of it at once.

        Raises `WriteLoopError` as `report` does.
        """
        key = (f"{names.resource.KIND} shared", plugin.namespace, plugin.name)
        wanted = digest(part)
        self._guard.admit(key, wanted, "status.sidecar", None)
        await self._apply_status(plugin, part, names.managers.NAMESPACE)
        self._guard.record(key, wanted)

    async def _apply_status(self, plugin: Resource, part: Mapping[str, Any], manager: str) -> None:
        metadata = {"name": plugin.name, "namespace": plugin.namespace, "uid": plugin.uid}
        await self._client.apply(
            kinds.PLUGIN,
            {"metadata": metadata, "status": dict(part)},
            manager=manager,
            subresource="status",
        )

    async def event(
        self, plugin: Resource, *, warning: bool, reason: str, message: str, now: datetime
    ) -> None:
        """Write an Event on the resource, or count it in the one that already says the same.

        The name is that of the cause, so the series survives the operator. The API server drops an
        Event an hour after it was last written.
        """
        kind, message = "Warning" if warning else "Normal", printable(message)
        stamp, cause = format_time(now), digest([plugin.uid, kind, reason, message])
        name = f"{plugin.name}.{cause}"
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": plugin.namespace},
            "involvedObject": {
                "apiVersion": names.resource.API_VERSION,
                "kind": names.resource.KIND,
                "name": plugin.name,
                "namespace": plugin.namespace,
                "uid": plugin.uid,
            },
            "type": kind,
            "reason": reason,
            "message": message,
            "source": {"component": names.resource.OPERATOR},
            "reportingComponent": names.resource.OPERATOR,
            "action": "Reconcile",
            "firstTimestamp": stamp,
            "lastTimestamp": stamp,
            "count": 1,
        }
        try:
            await self._client.create(kinds.EVENT, event)
        except errors.ConflictError:
            await self._count_event(name, plugin.namespace, stamp)

    async def _count_event(self, name: str, namespace: str, stamp: str) -> None:
        """Count one more occurrence of what an Event says."""
        fields = field_selector({"metadata.name": name})
        for known in await self._client.list(kinds.EVENT, namespace, fields=fields):
            more = {"count": int(known.get("count") or 1) + 1, "lastTimestamp": stamp}
            await self._client.merge_patch(kinds.EVENT, name, namespace, more)


def _identity(desired: Object) -> tuple[Key, str]:
    """Return the key of an object, and the digest of its desired state."""
    metadata = desired["metadata"]
    key = (desired["kind"], metadata.get("namespace", ""), metadata["name"])
    return key, read_stamp(desired)


def _must_drop_rolling_update(desired: Object, live: Mapping[str, Any]) -> bool:
    """Whether a Deployment's strategy changes from `RollingUpdate` to `Recreate`."""
    if desired["kind"] != "Deployment":
        return False
    wanted = desired["spec"]["strategy"]["type"]
    return wanted == "Recreate" and "rollingUpdate" in live["spec"].get("strategy", {})
