"""The one place where the writes of plans are made.

A write that changes nothing is not sent, so a pass without changes writes nothing. Nothing is
decided here.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from cnpg_plugin_operator import errors
from cnpg_plugin_operator.cluster.apply import Writer
from cnpg_plugin_operator.cluster.cnpg_restart import Restarter
from cnpg_plugin_operator.cluster.removal import Remover
from cnpg_plugin_operator.cluster.secrets import read
from cnpg_plugin_operator.cluster.sidecars import Sidecars
from cnpg_plugin_operator.desired.objects import Object
from cnpg_plugin_operator.desired.pairs import build_pair
from cnpg_plugin_operator.pki.issuing import issue_leaf
from cnpg_plugin_operator.reconcile import writes
from cnpg_plugin_operator.reconcile.environment import Applied, Aside
from cnpg_plugin_operator.reconcile.workers import Lane
from cnpg_plugin_operator.reconcile.writes import Write

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ClusterApplier:
    """Makes the writes of plans in the cluster."""

    writer: Writer
    remover: Remover
    restarter: Restarter
    sidecars: Sidecars
    clock: Callable[[], datetime]
    aside: Aside

    async def apply(self, write: Write, live: Mapping[str, Any] | None) -> Applied:
        """Make one write; `live` is the object as it is known."""
        if isinstance(write, writes.OfSecret):
            return await self._write_secret(write, live)
        if isinstance(write, writes.OfResource):
            await self._write_resource(write)
            return Applied()
        match write:
            case writes.Apply(body):
                found, written = await self.writer.apply(body, live)
                return Applied(found, written=written)
            case writes.Delete(kind, namespace, name, uid):
                await self.remover.delete(kind, namespace or None, name, uid)
            case writes.Orphan(kind, body, uid):
                await self.remover.orphan(kind, body, uid)
            case writes.PatchPrevious(kind, namespace, name, patch):
                return Applied(await self.writer.patch_previous(kind, namespace, name, patch))
            case writes.RefreshPod(_, namespace, pod, certificates):
                await self.writer.refresh(namespace, pod, certificates)
            case writes.RevokeAccount(deployment):
                await self.remover.revoke_account(deployment)
            case _:
                await self._apply_for_cnpg(write)
        return Applied()

    async def _write_resource(self, write: writes.OfResource) -> None:
        """Write what a resource itself or its Events say."""
        match write:
            case writes.AddFinalizer(resource):
                await self.writer.add_finalizer(resource)
            case writes.RemoveFinalizer(resource):
                await self.writer.remove_finalizer(resource)
            case writes.ReportStatus(resource, status):
                await self.writer.report(resource, status)
            case writes.Record(resource, part):
                await self.writer.report_shared(resource, part)
            case writes.RecordEvent():
                await self._record_event(write)

    async def _write_secret(
        self, write: writes.OfSecret, live: Mapping[str, Any] | None
    ) -> Applied:
        """Change a Secret with a key."""
        match write:
            case writes.WriteSecret(body, known):
                return Applied(await self.writer.write_secret(body, known))
            case writes.IssuePair():
                known = read(live) if live is not None else None
                body = await issue_pair(write, self.aside)
                return Applied(await self.writer.write_secret(body, known))
            case writes.RestoreMarks(known, marks, data):
                return Applied(await self.writer.restore_marks(known, marks, data))
            case writes.TakeOver(known, marks):
                return Applied(await self.writer.take_over(known, marks))
            case writes.GiveBack(known, marks):
                return Applied(await self.writer.restore_marks(known, marks, {}))

    async def _apply_for_cnpg(self, write: writes.ForCNPG) -> None:
        """Make a write that CloudNativePG reads."""
        match write:
            case writes.RecordRivals(service, record):
                await self.writer.record_disturbance(service, record)
            case writes.StripFinalizer(service):
                await self.remover.strip_cnpg_finalizer(service)
            case writes.HideService(service):
                await self.writer.hide_service(service)
            case writes.ShowService(service, plugin):
                await self.writer.show_service(plugin, service)
            case writes.RecordSeen(service, pods):
                await self.writer.record_seen(service, pods)
            case writes.Nudge(cluster, name, token):
                await self.restarter.nudge(cluster, name, token)
            case writes.RestartCNPG(cnpg, restart):
                await self.restarter.restart(cnpg, restart)
            case writes.RecordWithdrawal(cnpg, plugin_name, now):
                await self.restarter.record_withdrawal(cnpg, plugin_name, now)
            case writes.ApplySidecars(cnpg, template, rolled_at):
                await self.sidecars.apply(cnpg.namespace, cnpg, template, rolled_at)

    async def _record_event(self, event: writes.RecordEvent) -> None:
        resource = event.resource
        try:
            await self.writer.event(
                resource,
                reason=event.reason,
                message=event.message,
                warning=event.warning,
                now=self.clock(),
            )
        except errors.ClusterError as error:
            reference = {"namespace": resource.namespace, "plugin": resource.name}
            logger.warning("an Event was not written: %s", error, extra=reference)


async def issue_pair(write: writes.IssuePair, aside: Aside) -> Object:
    """Generate the key of a pair and sign its certificate; give the Secret that holds both."""
    tls = write.plugin.spec.tls
    issue = partial(
        issue_leaf,
        write.authority,
        common_name=write.subject,
        dns_names=write.dns_names,
        usage=write.usage,
        algorithm=tls.private_key.algorithm,
        size=tls.private_key.effective_size,
        lifetime=tls.duration,
        now=write.now,
    )
    if tls.private_key.algorithm == "RSA":
        # This takes up to seconds, in a thread without the interpreter's lock (cryptography 50).
        async with aside(Lane.KEY):
            issued = await asyncio.to_thread(issue)
    else:
        issued = issue()
    return build_pair(write.plugin, write.name, issued.data)
