"""From a key to a report: fetch, run the pass or the removal, report, requeue."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from cnpg_plugin_operator import errors, names
from cnpg_plugin_operator.api.conditions import (
    Reason,
    Status,
    Type,
    Verdict,
    no,
    summarize,
)
from cnpg_plugin_operator.api.deletion import Leaving, gone, read_leaving
from cnpg_plugin_operator.api.plugin import Plugin, Resource, parse_plugin, parse_resource
from cnpg_plugin_operator.api.status import Report, read_status
from cnpg_plugin_operator.cluster.ownership import is_orphaned
from cnpg_plugin_operator.decide.acceptance.acceptance import AcceptanceInput, decide_acceptance
from cnpg_plugin_operator.decide.registration.announcement import as_verified
from cnpg_plugin_operator.reconcile.deletion import leave_running, tear_down
from cnpg_plugin_operator.reconcile.environment import (
    FALLBACK_RETRY,
    RETRY,
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
from cnpg_plugin_operator.reconcile.pruning import Pruning, delete
from cnpg_plugin_operator.reconcile.shared import CNPGView, Shared, Wants
from cnpg_plugin_operator.reconcile.sidecar.sidecar import SidecarPass
from cnpg_plugin_operator.reconcile.stages import Failure, Progress, Requeue
from cnpg_plugin_operator.reconcile.standalone import Pass
from cnpg_plugin_operator.reconcile.status import Reporter, log_reference, suspend
from cnpg_plugin_operator.reconcile.writes import AddFinalizer, RemoveFinalizer, Write

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a pass came to, and what it has to report."""

    requeue: Requeue
    body: Mapping[str, Any] | None = None
    """The resource as it was read; None where it is gone."""
    resource: Resource | None = None
    report: Report | None = None
    """None where there is nothing to say."""
    passing: bool = False
    """Whether the report is mere progress, not worth a write of the status."""
    failure: Failure | None = None
    """What ended the pass early."""
    run: Pass | SidecarPass | None = None
    """The pass itself; None where nothing can be done for the resource as it is."""


class PluginReconciler:
    """Reconciles one resource at a time; the caller serializes the passes of a resource."""

    def __init__(self, env: Environment, shared: Shared) -> None:
        self._env = env
        self._shared = shared
        self._proofs = Proofs()
        self._pruning = Pruning()
        self._failures = Failures()
        self._revoking = Revoking()
        self._reporter = Reporter(env)

    async def reconcile(self, namespace: str, name: str) -> Requeue:
        """Run one pass; the result contains an error that no status can report."""
        try:
            outcome = await self.judge(namespace, name)
            try:
                await self._report(outcome)
            except Exception as error:
                if outcome.resource is None or outcome.failure is not None:
                    raise
                failure = Failure(condition_of(error), error)
                outcome = await self._fail(outcome.resource, Report({}), failure)
                await self._report(outcome)
        except Exception as error:  # noqa: BLE001 - the loop repeats the pass
            reference = {"namespace": namespace, "plugin": name}
            log_failure(Failure(condition_of(error), error), reference)
            return Requeue(FALLBACK_RETRY, error)
        return outcome.requeue

    async def judge(self, namespace: str, name: str) -> Outcome:
        """Run one pass up to its report, which is not written."""
        body = await self._env.reader.confirmed(namespace, name)
        if body is None:
            return await self._forget(namespace, name)
        resource = parse_resource(body)
        try:
            return await self._advance(body, resource)
        except Exception as error:  # noqa: BLE001 - it becomes a verdict
            return await self._fail(resource, Report({}), Failure(condition_of(error), error))

    async def _report(self, outcome: Outcome) -> None:
        """Write what a pass has to report."""
        body, resource, report = outcome.body, outcome.resource, outcome.report
        if body is not None and resource is not None and report is not None and not outcome.passing:
            await self._reporter.report(body, resource, report)

    async def _advance(self, body: Mapping[str, Any], resource: Resource) -> Outcome:
        """Do what a resource needs next."""
        has_finalizer = names.resource.FINALIZER in (body["metadata"].get("finalizers") or [])
        managed = self._env.reader.manages(resource.namespace)
        if managed:
            # Before the spec can be invalid.
            await self._revoking.revoke(self._env, resource)
        if resource.deleting:
            if has_finalizer and managed:
                self._declare_nothing(read_leaving(body))
                return await self._remove(body)
            if has_finalizer:
                await self._make(RemoveFinalizer(resource))
            return Outcome(Requeue(FALLBACK_RETRY), body, resource)
        try:
            settings = self._env.settings
            plugin = parse_plugin(body, settings.tls_provider, settings.labels)
        except errors.InvalidSpecError as error:
            self._declare_nothing(read_leaving(body))
            return _refuse(body, resource, no(Reason.INVALID_SPEC, f"{error}."))
        if not managed:
            outcome = _refuse(body, plugin, await self._misplaced(plugin))
            return replace(outcome, requeue=Requeue(None))
        if not has_finalizer:
            await self._make(AddFinalizer(resource))
        return await self._pass(body, plugin)

    async def _make(self, *writes: Write) -> None:
        await Progress(self._env).make(*writes)

    def _declare_nothing(self, leaving: Leaving) -> None:
        """Declare that a resource that is refused or deleted wants nothing."""
        declared = self._shared.wants(leaving.namespace).get(leaving.name)
        leaves = declared is not None and declared.leaves and declared.uid == leaving.uid
        if self._env.reader.manages(leaving.namespace) and not leaves:
            self._shared.declare(leaving.namespace, leaving.name, _nothing(leaving))

    async def _forget(self, namespace: str, name: str) -> Outcome:
        """Drop the state of a resource that is gone, and delete what no owner deletes."""
        self._shared.forget(namespace, name)
        self._proofs.forget(namespace, name)
        self._pruning.forget(namespace, name)
        self._revoking.forget(namespace, name)
        self._failures.forget((namespace, name))
        self._reporter.forget(namespace, name)
        if not self._env.reader.manages(namespace):
            return Outcome(Requeue(None))
        try:
            found = await self._env.remover.find_cluster_bindings(gone(namespace, name))
            await self._make(*delete(each for each in found if not is_orphaned(each[1])))
        except errors.ForbiddenError as error:
            logger.warning("%s", error, extra={"namespace": namespace, "plugin": name})
        return Outcome(Requeue(None))

    async def _misplaced(self, plugin: Plugin) -> Verdict:
        """Report where a resource that was created outside the managed namespaces belongs."""
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

    async def _pass(self, body: Mapping[str, Any], plugin: Plugin) -> Outcome:
        status = read_status(body)
        try:
            view = self._shared.view(plugin.namespace, plugin.name, plugin.cnpg_reference)
            if view is None:
                self._shared.declare(plugin.namespace, plugin.name, _nothing(plugin))
                return Outcome(Requeue(FALLBACK_RETRY), body, plugin)
            run = self._begin(plugin, view, status)
            report = await run.run()
            if plugin.spec.suspend:
                report = suspend(status, report)
        except Exception as error:  # noqa: BLE001 - it becomes a verdict
            failure = Failure(condition_of(error), error)
            return await self._fail(plugin, Report({}), failure, reading=True)
        self._declare(plugin, run)
        if run.deferred:
            return Outcome(Requeue(FALLBACK_RETRY), body, plugin, run=run)
        if run.wrote:
            logger.info("wrote %s", ", ".join(run.wrote), extra=log_reference(plugin))
        if run.failure is not None:
            return replace(await self._fail(plugin, report, run.failure), run=run)
        self._failures.forget((plugin.namespace, plugin.name))
        ready = summarize(report.verdicts)
        after = run.retry_after()
        passing = not run.unrecorded and self._is_passing(plugin, status, ready, after, run.now)
        return Outcome(Requeue(after), body, plugin, report, passing=passing, run=run)

    def _is_passing(
        self, plugin: Plugin, status: Mapping[str, Any], ready: Verdict, after: float, now: datetime
    ) -> bool:
        """Whether a report may be left to the next pass, which follows soon."""
        known = status.get("observedGeneration") == plugin.generation
        if ready.status is not Status.UNKNOWN or not known or plugin.spec.suspend:
            return False
        return self._reporter.may_leave(plugin, ready.reason, after, now)

    def _declare(self, plugin: Plugin, run: Pass | SidecarPass) -> None:
        """Declare to the namespace's pass what the plugin wants, and whether it waits for that."""
        self._shared.declare(plugin.namespace, plugin.name, run.wants)
        if run.waits:
            self._shared.wait(plugin.namespace, plugin.name)

    def _begin(
        self, plugin: Plugin, view: CNPGView, status: Mapping[str, Any]
    ) -> Pass | SidecarPass:
        if plugin.is_sidecar:
            return SidecarPass(self._env, self._pruning, plugin, view, status)
        chains, verified = self._shared.chains(plugin.namespace), as_verified(plugin, view.cnpg)
        return Pass(self._env, self._proofs, self._pruning, verified, view, chains, status)

    async def _fail(
        self, resource: Resource, report: Report, failure: Failure, *, reading: bool = False
    ) -> Outcome:
        """Report a pass that an error ended, with all that it did before; requeue it."""
        log_failure(failure, log_reference(resource))
        count = self._failures.record((resource.namespace, resource.name), failure.error)
        reported = (judge_unread if reading else judge_failure)(failure, count)
        outcome = Outcome(_repeat(failure, reported), failure=failure)
        # The pass may have recorded something in the status before it failed.
        body = await self._env.reader.resource(resource.namespace, resource.name)
        if body is None or body["metadata"]["uid"] != resource.uid:
            return outcome
        previous = read_status(body)
        settled = settle(previous, report, failure, reported)
        seen = previous.get("observedGeneration", resource.generation)
        generation = seen if reported is None else resource.generation
        resource = replace(resource, generation=generation)
        return replace(
            outcome, body=body, resource=resource, report=settled if settled.verdicts else None
        )

    async def _remove(self, body: Mapping[str, Any]) -> Outcome:
        """Continue the deletion, which is the same for every resource, whatever its spec."""
        leaving = read_leaving(body)
        try:
            view = self._shared.view(leaving.namespace, leaving.name, leaving.cnpg_reference)
            if view is None:
                return Outcome(Requeue(FALLBACK_RETRY), body, leaving)
            chains = self._shared.chains(leaving.namespace)
            if leaving.uid in chains.left:
                return await self._release(body, leaving)
            if leaving.orphaning:
                waiting = await leave_running(self._env, leaving, view)
                if waiting is None:
                    return await self._release(body, leaving)
            else:
                waiting = await tear_down(self._env, leaving, read_status(body), view)
            if waiting is None:
                leaves = replace(_nothing(leaving), leaves=True)
                self._shared.declare(leaving.namespace, leaving.name, leaves)
                if chains.unpruned is not None:
                    raise chains.unpruned
        except errors.ClusterError as error:
            return self._report_obstacle(body, leaving, error)
        self._failures.forget((leaving.namespace, leaving.name))
        if waiting is None:
            return Outcome(Requeue(FALLBACK_RETRY), body, leaving)
        return _refuse(body, leaving, waiting)

    async def _release(self, body: Mapping[str, Any], leaving: Leaving) -> Outcome:
        """Let a resource go of which nothing is left."""
        await self._make(RemoveFinalizer(leaving))
        logger.info("withdrawn", extra=log_reference(leaving))
        return Outcome(Requeue(FALLBACK_RETRY), body, leaving)

    def _report_obstacle(
        self, body: Mapping[str, Any], leaving: Leaving, error: errors.ClusterError
    ) -> Outcome:
        """Report what blocks a deletion; it continues by itself once nothing does."""
        failure = Failure(Type.ACCEPTED, error)
        count = self._failures.record((leaving.namespace, leaving.name), error)
        reported = judge_failure(failure, count)
        if reported is None:
            return Outcome(Requeue(FALLBACK_RETRY, error), body, leaving, failure=failure)
        verdict = no(Reason.DELETING, f"The deletion cannot continue: {reported.message}")
        again = Requeue(FALLBACK_RETRY, None if isinstance(error, errors.ForbiddenError) else error)
        return replace(_refuse(body, leaving, verdict), requeue=again, failure=failure)


def _refuse(body: Mapping[str, Any], resource: Resource, verdict: Verdict) -> Outcome:
    """Say that nothing can be done for a resource as it is."""
    again = Requeue(RETRY.get(verdict.reason, FALLBACK_RETRY))
    return Outcome(again, body, resource, Report({Type.ACCEPTED: verdict}))


def _repeat(failure: Failure, reported: Verdict | None) -> Requeue:
    """Say when a pass that failed is repeated."""
    error = failure.error
    transient = isinstance(error, errors.ClusterError) and not isinstance(
        error, errors.ForbiddenError | errors.RejectedError | errors.WriteLoopError
    )
    if transient or reported is None or reported.reason is Reason.INTERNAL_ERROR:
        return Requeue(FALLBACK_RETRY, error)
    return Requeue(RETRY.get(reported.reason, FALLBACK_RETRY))


def _nothing(resource: Plugin | Leaving) -> Wants:
    return Wants(resource.uid, resource.generation, resource.cnpg_reference)
