"""From a key to a report: fetch, run the pass or the removal, report, say when to come back."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
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
from cnpg_plugin_operator.api.plugin import Plugin, Resource, parse_plugin, parse_resource
from cnpg_plugin_operator.api.status import Report, build_status
from cnpg_plugin_operator.decide.admission import AdmissionInput, decide_admission
from cnpg_plugin_operator.decide.sidecar_trouble import LOOK_WHILE_BLOCKED
from cnpg_plugin_operator.reconciler.placing import place
from cnpg_plugin_operator.reconciler.proof import Proofs
from cnpg_plugin_operator.reconciler.pruning import Pruning
from cnpg_plugin_operator.reconciler.sidecar_stages import SidecarPass
from cnpg_plugin_operator.reconciler.stages import Pass
from cnpg_plugin_operator.reconciler.teardown import tear_down
from cnpg_plugin_operator.reconciler.tools import (
    FALLBACK_RETRY,
    IN_PASSING,
    ON_ITS_WAY,
    PROGRESS,
    RETRY,
    WORTH_TELLING,
    Tools,
)

logger = logging.getLogger(__name__)

ECHO: Final = 0.3
"""Seconds after which a pass that wrote looks again: the events of its own writes wake it, as a
rule."""


@dataclass(frozen=True, slots=True)
class Requeue:
    """When to come back, should nothing happen before."""

    after: float | None
    """Seconds; None where the resource is gone."""


class Reconciler:
    """Reconciles one resource at a time; the caller keeps passes of one resource apart."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._proofs = Proofs()
        self._pruning = Pruning()
        self._reported: dict[tuple[str, str], datetime] = {}
        """When each status was last written, to spare users and the API server mere progress."""

    async def reconcile(self, namespace: str, name: str) -> Requeue:
        """Run one pass.

        Raises `UnavailableError` or `ConflictError` where the pass has to be repeated.
        """
        body = await self._tools.gatherer.resource(namespace, name)
        if body is None:
            self._proofs.forget(namespace, name)
            self._pruning.forget(namespace, name)
            self._reported.pop((namespace, name), None)
            self._tools.metrics.forget(namespace, name)
            return Requeue(None)
        resource = parse_resource(body)
        try:
            plugin = parse_plugin(body, self._tools.policy.tls_provider)
        except errors.InvalidSpecError as error:
            blocked = await self._unblock(body, resource)
            refused = await self._refuse(body, resource, no(Reason.INVALID_SPEC, f"{error}."))
            return Requeue(LOOK_WHILE_BLOCKED.total_seconds()) if blocked else refused
        if not self._tools.gatherer.manages(namespace):
            return await self._refuse(body, plugin, await self._misplaced(plugin))
        if resource.deleting:
            return await self._remove(body, plugin)
        if names.FINALIZER not in (body["metadata"].get("finalizers") or []):
            await self._tools.writer.hold(resource)
        return await self._pass(body, plugin)

    async def _unblock(self, body: Mapping[str, Any], resource: Resource) -> bool:
        """Take the sidecar of a spec that cannot be read out, if it blocks CloudNativePG.

        Says whether to look again soon.
        """
        had_sidecar = bool((body.get("status") or {}).get("sidecar"))
        if not had_sidecar or not self._tools.gatherer.manages(resource.namespace):
            return False
        placed = await place(self._tools, resource)
        return placed.roster is not None and bool(placed.roster.blockade.suspects)

    async def _misplaced(self, plugin: Plugin) -> Verdict:
        """Say where a resource belongs that was created outside the managed namespaces."""
        policy = self._tools.policy
        return decide_admission(
            AdmissionInput(
                plugin=plugin,
                managed_namespaces=policy.namespaces,
                cnpg=(),
                cnpg_elsewhere=await self._tools.gatherer.cnpg_namespaces(),
                foreign=(),
                rivals=(),
            )
        )

    async def _pass(self, body: Mapping[str, Any], plugin: Plugin) -> Requeue:
        status = body.get("status") or {}
        run: Pass | SidecarPass
        if plugin.is_sidecar:
            run = SidecarPass(self._tools, self._pruning, plugin, status)
        else:
            run = Pass(self._tools, self._proofs, self._pruning, plugin, status)
        try:
            report = await run.run()
        except errors.RejectedError as error:
            return await self._refuse(body, plugin, no(Reason.INVALID_SPEC, f"{error}"))
        except errors.ForbiddenError as error:
            return await self._refuse(body, plugin, no(Reason.CLUSTER_ERROR, f"{error}"))
        if run.wrote:
            logger.info("wrote %s", ", ".join(run.wrote), extra=_reference(plugin))
        for reason, message in run.notes:
            await self._tools.writer.event(
                plugin, warning=False, reason=reason, message=message, now=run.now
            )
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
                return Requeue(min(after, max(quiet, after)))
        await self._report(body, plugin, report)
        return Requeue(after)

    def _quiet_for(self, plugin: Plugin, now: datetime) -> float:
        """Seconds for which mere progress is not worth another write of the status."""
        last = self._reported.get((plugin.namespace, plugin.name))
        return PROGRESS - (now - last).total_seconds() if last is not None else 0.0

    async def _remove(self, body: Mapping[str, Any], plugin: Plugin) -> Requeue:
        if names.FINALIZER not in (body["metadata"].get("finalizers") or []):
            return Requeue(FALLBACK_RETRY)
        waiting = await tear_down(self._tools, plugin, body.get("status") or {})
        if waiting is None:
            logger.info("withdrawn", extra=_reference(plugin))
            return Requeue(FALLBACK_RETRY)
        await self._report(body, plugin, Report({Type.ACCEPTED: waiting}))
        return Requeue(RETRY.get(waiting.reason, FALLBACK_RETRY))

    async def _refuse(
        self, body: Mapping[str, Any], resource: Resource, verdict: Verdict
    ) -> Requeue:
        """Report that nothing can be done for a resource as it stands; let a deleted one go."""
        finalizers = body["metadata"].get("finalizers") or []
        if resource.deleting and names.FINALIZER in finalizers:
            await self._tools.writer.release(resource)
            return Requeue(FALLBACK_RETRY)
        await self._report(body, resource, Report({Type.ACCEPTED: verdict}))
        return Requeue(RETRY.get(verdict.reason, FALLBACK_RETRY))

    async def _report(self, body: Mapping[str, Any], resource: Resource, report: Report) -> None:
        """Write the status if it changed; tell of a transition to trouble and back."""
        previous = body.get("status") or {}
        now = self._tools.clock()
        status = build_status(previous, report, generation=resource.generation, now=now)
        self._measure(resource, report)
        if status == previous:
            return
        await self._tools.writer.report(resource, status)
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
        await self._warn_of_end(resource, previous, report, now)
        # Outside the managed namespaces only the status may be written.
        if (trouble or recovered) and self._tools.gatherer.manages(resource.namespace):
            await self._tools.writer.event(
                resource,
                warning=trouble,
                reason=ready.reason,
                message=ready.message,
                now=now,
            )

    async def _warn_of_end(
        self, resource: Resource, previous: Mapping[str, Any], report: Report, now: datetime
    ) -> None:
        """Warn once of a certificate that nobody renews, while it still works."""
        verdict = report.verdicts.get(Type.CERTIFICATES_READY)
        if verdict is None or verdict.reason is not Reason.EXPIRING:
            return
        if find_condition(previous, Type.CERTIFICATES_READY).get("reason") != Reason.EXPIRING:
            await self._tools.writer.event(
                resource, warning=True, reason=verdict.reason, message=verdict.message, now=now
            )

    def _measure(self, resource: Resource, report: Report) -> None:
        metrics, labels = self._tools.metrics, (resource.namespace, resource.name)
        metrics.ready.labels(*labels).set(summarize(report.verdicts).is_true)
        for role, certificate in report.certificates.items():
            expiry = certificate.not_after.timestamp()
            metrics.certificate_expiry.labels(*labels, role).set(expiry)
        if report.plugin is not None:
            metrics.info.remove_by_labels(dict(zip(("namespace", "name"), labels, strict=True)))
            metrics.info.labels(*labels, report.plugin.name, report.plugin.version).set(1)


def utc_now() -> datetime:
    """The clock of the composition root; everything below gets `now` as an argument."""
    return datetime.now(UTC)


def _ready_before(status: Mapping[str, Any]) -> tuple[str, str]:
    ready = find_condition(status, Type.READY)
    return str(ready.get("status", "")), str(ready.get("reason", ""))


def _reference(resource: Resource) -> dict[str, str]:
    return {"namespace": resource.namespace, "plugin": resource.name}
