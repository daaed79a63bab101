"""From a key to a report: fetch, run the pass or the removal, report, say when to come back."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from cnpg_plugin_operator import errors, names
from cnpg_plugin_operator.api.conditions import (
    Reason,
    Status,
    Type,
    Verdict,
    find_condition,
    no,
    summarize,
)
from cnpg_plugin_operator.api.deletion import Leaving, gone, read_leaving
from cnpg_plugin_operator.api.plugin import Plugin, Resource, parse_plugin, parse_resource
from cnpg_plugin_operator.api.status import Report, build_status, own_part, read_status
from cnpg_plugin_operator.api.times import read_time
from cnpg_plugin_operator.decide.acceptance.acceptance import AcceptanceInput, decide_acceptance
from cnpg_plugin_operator.reconcile.deletion import tear_down
from cnpg_plugin_operator.reconcile.environment import (
    FALLBACK_RETRY,
    IN_PASSING,
    ON_ITS_WAY,
    PROGRESS,
    RETRY,
    WORTH_TELLING,
    Environment,
)
from cnpg_plugin_operator.reconcile.failures import (
    Failures,
    condition_of,
    judge_failure,
    judge_unread,
    log_failure,
    settle,
)
from cnpg_plugin_operator.reconcile.grants import Revoking
from cnpg_plugin_operator.reconcile.handshake.schedule import Proofs
from cnpg_plugin_operator.reconcile.pruning import Pruning
from cnpg_plugin_operator.reconcile.shared import CNPGView, Shared, Wants
from cnpg_plugin_operator.reconcile.sidecar.sidecar import SidecarPass
from cnpg_plugin_operator.reconcile.stages import Failure, Requeue
from cnpg_plugin_operator.reconcile.standalone import Pass

logger = logging.getLogger(__name__)

ECHO: Final = 0.3
"""Seconds after which a pass that wrote looks again: the events of its own writes wake it, as a
rule."""


class PluginReconciler:
    """Reconciles one resource at a time; the caller keeps passes of one resource apart."""

    def __init__(self, env: Environment, shared: Shared) -> None:
        self._env = env
        self._shared = shared
        self._proofs = Proofs()
        self._pruning = Pruning()
        self._failures = Failures()
        self._revoking = Revoking()
        self._reported: dict[tuple[str, str], datetime] = {}
        """When each status was last written, to spare users and the API server mere progress."""

    async def reconcile(self, namespace: str, name: str) -> Requeue:
        """Run one pass; an error that no status can tell of is in what it returns."""
        try:
            return await self._reconcile(namespace, name)
        except Exception as error:  # noqa: BLE001 - the loop repeats the pass
            reference = {"namespace": namespace, "plugin": name}
            log_failure(Failure(condition_of(error), error), reference)
            return Requeue(FALLBACK_RETRY, error)

    async def _reconcile(self, namespace: str, name: str) -> Requeue:
        body = await self._env.reader.confirmed(namespace, name)
        if body is None:
            return await self._forget(namespace, name)
        resource = parse_resource(body)
        try:
            return await self._advance(body, resource)
        except Exception as error:  # noqa: BLE001 - it becomes a verdict
            return await self._fail(resource, Report({}), Failure(condition_of(error), error))

    async def _advance(self, body: Mapping[str, Any], resource: Resource) -> Requeue:
        """Do what a resource needs next."""
        has_finalizer = names.resource.FINALIZER in (body["metadata"].get("finalizers") or [])
        managed = self._env.reader.manages(resource.namespace)
        if managed:
            # Before anything can be wrong with its spec.
            await self._revoking.revoke(self._env, resource)
        if resource.deleting:
            if has_finalizer and managed:
                self._want_nothing(read_leaving(body))
                return await self._remove(body)
            if has_finalizer:
                await self._env.writer.remove_finalizer(resource)
            return Requeue(FALLBACK_RETRY)
        try:
            plugin = parse_plugin(body, self._env.settings.tls_provider)
        except errors.InvalidSpecError as error:
            self._want_nothing(read_leaving(body))
            return await self._refuse(body, resource, no(Reason.INVALID_SPEC, f"{error}."))
        if not managed:
            await self._refuse(body, plugin, await self._misplaced(plugin))
            return Requeue(None)
        if not has_finalizer:
            await self._env.writer.add_finalizer(resource)
        return await self._pass(body, plugin)

    def _want_nothing(self, leaving: Leaving) -> None:
        """Declare that a resource that is refused or deleted wants nothing."""
        declared = self._shared.wants(leaving.namespace).get(leaving.name)
        leaves = declared is not None and declared.leaves and declared.uid == leaving.uid
        if self._env.reader.manages(leaving.namespace) and not leaves:
            self._shared.declare(leaving.namespace, leaving.name, _nothing(leaving))

    async def _forget(self, namespace: str, name: str) -> Requeue:
        """Drop what is known of a resource that is gone, and delete what no owner deletes."""
        self._shared.forget(namespace, name)
        self._proofs.forget(namespace, name)
        self._pruning.forget(namespace, name)
        self._revoking.forget(namespace, name)
        self._failures.forget((namespace, name))
        self._reported.pop((namespace, name), None)
        self._env.metrics.forget(namespace, name)
        if not self._env.reader.manages(namespace):
            return Requeue(None)
        try:
            await self._env.remover.prune_cluster_bindings(gone(namespace, name))
        except errors.ForbiddenError as error:
            logger.warning("%s", error, extra={"namespace": namespace, "plugin": name})
        return Requeue(None)

    async def _misplaced(self, plugin: Plugin) -> Verdict:
        """Say where a resource belongs that was created outside the managed namespaces."""
        settings = self._env.settings
        return decide_acceptance(
            AcceptanceInput(
                plugin=plugin,
                managed_namespaces=settings.namespaces,
                cnpg=(),
                cnpg_elsewhere=await self._env.reader.cnpg_namespaces(),
                foreign=(),
                rivals=(),
            )
        )

    async def _pass(self, body: Mapping[str, Any], plugin: Plugin) -> Requeue:
        status = read_status(body)
        try:
            view = self._shared.view(plugin.namespace, plugin.name, plugin.cnpg_reference)
            if view is None:
                self._shared.declare(plugin.namespace, plugin.name, _nothing(plugin))
                return Requeue(FALLBACK_RETRY)
            run = self._begin(plugin, view, status)
            report = await run.run()
        except Exception as error:  # noqa: BLE001 - it becomes a verdict
            failure = Failure(condition_of(error), error)
            return await self._fail(plugin, Report({}), failure, reading=True)
        self._declare(plugin, run)
        if run.deferred:
            return Requeue(FALLBACK_RETRY)
        if run.wrote:
            logger.info("wrote %s", ", ".join(run.wrote), extra=_reference(plugin))
        if run.failure is not None:
            return await self._fail(plugin, report, run.failure)
        self._failures.forget((plugin.namespace, plugin.name))
        ready = summarize(report.verdicts)
        in_progress = ready.status is Status.UNKNOWN
        after = run.retry_after()
        if run.wrote and in_progress:
            after = min(after, ECHO)
        if in_progress and status.get("observedGeneration") == plugin.generation:
            # The next pass reports: it follows at once, or before anybody misses it.
            quiet = self._quiet_for(plugin, run.now) if ready.reason in ON_ITS_WAY else 0.0
            passing = after <= IN_PASSING and ready.reason not in WORTH_TELLING
            if passing or quiet > 0:
                return Requeue(after)
        await self._report(body, plugin, report)
        return Requeue(after)

    def _declare(self, plugin: Plugin, run: Pass | SidecarPass) -> None:
        """Tell the namespace's pass what the plugin wants, and whether it waits for that."""
        self._shared.declare(plugin.namespace, plugin.name, run.wants)
        if run.waits:
            self._shared.wait(plugin.namespace, plugin.name)

    def _begin(
        self, plugin: Plugin, view: CNPGView, status: Mapping[str, Any]
    ) -> Pass | SidecarPass:
        if plugin.is_sidecar:
            return SidecarPass(self._env, self._pruning, plugin, view, status)
        chains = self._shared.chains(plugin.namespace)
        return Pass(self._env, self._proofs, self._pruning, plugin, view, chains, status)

    async def _fail(
        self, resource: Resource, report: Report, failure: Failure, *, reading: bool = False
    ) -> Requeue:
        """Report a pass that an error ended, with all that it did before; have it repeated."""
        log_failure(failure, _reference(resource))
        count = self._failures.note((resource.namespace, resource.name))
        told = (judge_unread if reading else judge_failure)(failure, count)
        # The pass may have noted something in the status before it failed.
        body = await self._env.reader.resource(resource.namespace, resource.name)
        if body is not None and body["metadata"]["uid"] == resource.uid:
            previous = read_status(body)
            settled = settle(previous, report, failure, told)
            if settled.verdicts:
                seen = previous.get("observedGeneration", resource.generation)
                generation = seen if told is None else resource.generation
                await self._report(body, replace(resource, generation=generation), settled)
        error = failure.error
        transient = isinstance(error, errors.ClusterError) and not isinstance(
            error, errors.ForbiddenError | errors.RejectedError | errors.WriteLoopError
        )
        if transient or told is None or told.reason is Reason.INTERNAL_ERROR:
            return Requeue(FALLBACK_RETRY, error)
        return Requeue(RETRY.get(told.reason, FALLBACK_RETRY))

    def _quiet_for(self, plugin: Plugin, now: datetime) -> float:
        """Seconds for which mere progress is not worth another write of the status."""
        last = self._reported.get((plugin.namespace, plugin.name))
        return PROGRESS - (now - last).total_seconds() if last is not None else 0.0

    async def _remove(self, body: Mapping[str, Any]) -> Requeue:
        """Go on with the deletion; whatever its spec holds, it is the same for every resource."""
        leaving = read_leaving(body)
        try:
            view = self._shared.view(leaving.namespace, leaving.name, leaving.cnpg_reference)
            if view is None:
                return Requeue(FALLBACK_RETRY)
            chains = self._shared.chains(leaving.namespace)
            if leaving.uid in chains.left:
                return await self._release(leaving)
            waiting = await tear_down(self._env, leaving, read_status(body), view)
            if waiting is None:
                leaves = replace(_nothing(leaving), leaves=True)
                self._shared.declare(leaving.namespace, leaving.name, leaves)
                if chains.unpruned is not None:
                    raise chains.unpruned
        except errors.ClusterError as error:
            return await self._hold_up(body, leaving, error)
        self._failures.forget((leaving.namespace, leaving.name))
        if waiting is None:
            return Requeue(FALLBACK_RETRY)
        await self._report(body, leaving, Report({Type.ACCEPTED: waiting}))
        return Requeue(RETRY.get(waiting.reason, FALLBACK_RETRY))

    async def _release(self, leaving: Leaving) -> Requeue:
        """Let a resource go of which nothing is left."""
        await self._env.writer.remove_finalizer(leaving)
        logger.info("withdrawn", extra=_reference(leaving))
        return Requeue(FALLBACK_RETRY)

    async def _hold_up(
        self, body: Mapping[str, Any], leaving: Leaving, error: errors.ClusterError
    ) -> Requeue:
        """Report what keeps a deletion from going on; it goes on by itself once nothing does."""
        count = self._failures.note((leaving.namespace, leaving.name))
        told = judge_failure(Failure(Type.ACCEPTED, error), count)
        if told is None:
            return Requeue(FALLBACK_RETRY, error)
        verdict = no(Reason.DELETING, f"The deletion cannot go on: {told.message}")
        await self._report(body, leaving, Report({Type.ACCEPTED: verdict}))
        return Requeue(FALLBACK_RETRY, None if isinstance(error, errors.ForbiddenError) else error)

    async def _refuse(
        self, body: Mapping[str, Any], resource: Resource, verdict: Verdict
    ) -> Requeue:
        """Report that nothing can be done for a resource as it is."""
        await self._report(body, resource, Report({Type.ACCEPTED: verdict}))
        return Requeue(RETRY.get(verdict.reason, FALLBACK_RETRY))

    async def _report(self, body: Mapping[str, Any], resource: Resource, report: Report) -> None:
        """Write the status if it changed; tell of a transition to trouble and back."""
        previous = read_status(body)
        now = self._env.clock()
        status = build_status(previous, report, generation=resource.generation, now=now)
        self._measure(resource, report, status)
        if status == own_part(body.get("status")):
            return
        await self._env.writer.report(resource, status)
        self._reported[resource.namespace, resource.name] = now
        ready = summarize(report.verdicts)
        before = _ready_before(previous)
        logger.info(
            "%s: %s",
            ready.reason,
            ready.message,
            extra={**_reference(resource), "ready": ready.status},
        )
        wanted = ready.reason is Reason.SUSPENDED
        changed = before != (Status.FALSE, ready.reason)
        trouble = ready.status is Status.FALSE and changed and not wanted
        recovered = ready.is_true and before[0] == Status.FALSE
        await self._warn_of_end(resource, previous, report)
        # Outside the managed namespaces only the status may be written.
        if (trouble or recovered) and self._env.reader.manages(resource.namespace):
            await self._env.tell(resource, ready.reason, ready.message, warning=trouble)

    async def _warn_of_end(
        self, resource: Resource, previous: Mapping[str, Any], report: Report
    ) -> None:
        """Warn once of a certificate without renewal, while it still works."""
        verdict = report.verdicts.get(Type.CERTIFICATES_READY)
        if verdict is None or verdict.reason is not Reason.EXPIRING:
            return
        if find_condition(previous, Type.CERTIFICATES_READY).get("reason") != Reason.EXPIRING:
            await self._env.tell(resource, verdict.reason, verdict.message, warning=True)

    def _measure(self, resource: Resource, report: Report, status: Mapping[str, Any]) -> None:
        """Set the metrics as the status says it; series of what it no longer tells go."""
        metrics, labels = self._env.metrics, (resource.namespace, resource.name)
        metrics.forget(*labels)
        metrics.ready.labels(*labels).set(summarize(report.verdicts).is_true)
        for role, certificate in (status.get("certificates") or {}).items():
            ends = read_time(certificate.get("notAfter"))
            if ends is not None:
                metrics.certificate_expiry.labels(*labels, role).set(ends.timestamp())
        said = status.get("plugin") or {}
        if said:
            metrics.info.labels(*labels, said.get("name", ""), said.get("version", "")).set(1)


def _ready_before(status: Mapping[str, Any]) -> tuple[str, str]:
    ready = find_condition(status, Type.READY)
    return str(ready.get("status", "")), str(ready.get("reason", ""))


def _reference(resource: Resource) -> dict[str, str]:
    return {"namespace": resource.namespace, "plugin": resource.name}


def _nothing(resource: Plugin | Leaving) -> Wants:
    return Wants(resource.uid, resource.generation, resource.cnpg_reference)
