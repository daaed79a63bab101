"""From what a pass saw to what users read in the status, and beside it in Events and metrics."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from cnpg_plugin_operator.api.conditions import (
    NOT_YET_REPORTED,
    SUMMED_UP,
    Reason,
    Status,
    Type,
    Verdict,
    find_condition,
    read_verdict,
    summarize,
    yes,
)
from cnpg_plugin_operator.api.plugin import Resource
from cnpg_plugin_operator.api.status import (
    CertificateStatus,
    ClustersStatus,
    CNPGStatus,
    Report,
    TakeOverStatus,
    build_status,
    own_part,
    read_status,
)
from cnpg_plugin_operator.api.times import read_time
from cnpg_plugin_operator.decide.facts.cnpg import ClusterFacts, CNPGFacts
from cnpg_plugin_operator.decide.facts.plugin import Identity
from cnpg_plugin_operator.decide.facts.take_over import Previous
from cnpg_plugin_operator.decide.facts.version_skew import read_skew
from cnpg_plugin_operator.decide.registration.cluster_reports import find_outdated
from cnpg_plugin_operator.reconcile.certificates.certificates import Certified
from cnpg_plugin_operator.reconcile.environment import (
    IN_PASSING,
    ON_ITS_WAY,
    PASSING,
    PROGRESS,
    Environment,
)
from cnpg_plugin_operator.reconcile.stages import Progress
from cnpg_plugin_operator.reconcile.writes import RecordEvent, ReportStatus

logger = logging.getLogger(__name__)

RENEWED: Final = "CertificatesRenewed"
"""Reason of the Event about certificates that end later than before."""

SKEW: Final = "VersionSkew"
"""Reason of the Event about versions that are known not to work together."""

NAMED_BLOCKED: Final = 10
"""How many blocked Clusters the status names."""


def build_report(
    verdicts: Mapping[Type, Verdict],
    cnpg: Sequence[CNPGFacts],
    clusters: tuple[ClusterFacts, ...],
    identity: Identity | None,
    registered: str,
) -> Report:
    """Build the report of a pass; what the pass did not evaluate stays unchanged."""
    return Report(
        verdicts=verdicts,
        plugin=identity.section() if identity is not None else None,
        cnpg=_cnpg(cnpg[0], registered) if len(cnpg) == 1 else None,
        clusters=_clusters(clusters, identity),
    )


def suspend(previous: Mapping[str, Any], report: Report) -> Report:
    """Repeat the last verdicts of a suspended plugin beside the condition that says so.

    One that was suspended from the start has none: then `Accepted` says it, too.
    """
    verdict = yes(
        Reason.SUSPENDED,
        "spec.suspend is set: the operator changes nothing until you unset it. The other "
        "conditions are as they were last seen.",
    )
    kept = {kind: read_verdict(previous, kind) for kind in SUMMED_UP if kind not in report.verdicts}
    verdicts = {kind: known for kind, known in kept.items() if known is not None}
    verdicts |= (
        report.verdicts or verdicts or {Type.ACCEPTED: replace(verdict, status=Status.UNKNOWN)}
    )
    verdicts[Type.SUSPENDED] = verdict
    unseen = kept if report.verdicts else (*kept, Type.READY)
    return replace(report, verdicts=verdicts, kept=frozenset(unseen))


def build_certificates(
    verdicts: Mapping[Type, Verdict], certified: Certified | None
) -> dict[str, CertificateStatus]:
    """Report the times of both certificates together; they are issued one by one."""
    if verdicts.get(Type.CERTIFICATES_READY, NOT_YET_REPORTED).status is Status.UNKNOWN:
        return {}
    if certified is None:
        return {}
    pairs = (certified.server, certified.client)
    return {
        role: CertificateStatus(pair.secret, pair.leaf.not_after, renewal)
        for role, pair, renewal in zip(("server", "client"), pairs, certified.renewals, strict=True)
        if pair.leaf is not None
    }


def report_take_over(report: Report, previous: Previous | None) -> Report:
    """Report what is left of a previous installation; what a refused resource names stays."""
    if not report.verdicts.get(Type.ACCEPTED, NOT_YET_REPORTED).is_true:
        return report
    if previous is None or not previous.left:
        return replace(report, obsolete=report.obsolete | {"takeOver"})
    return replace(report, take_over=TakeOverStatus(previous.service, previous.left))


def _clusters(clusters: tuple[ClusterFacts, ...], identity: Identity | None) -> ClustersStatus:
    blocked = sorted((c.namespace, c.name) for c in clusters if c.blocked)[:NAMED_BLOCKED]
    return ClustersStatus(
        using=len(clusters),
        unready=sum(not cluster.healthy for cluster in clusters),
        outdated=len(find_outdated(clusters, identity)),
        blocked=tuple({"namespace": namespace, "name": name} for namespace, name in blocked),
    )


def _cnpg(cnpg: CNPGFacts, registered: str) -> CNPGStatus:
    return CNPGStatus(cnpg.deployment, cnpg.version, registered)


class Reporter:
    """Writes statuses, each only if it changed, and the Events beside them."""

    def __init__(self, env: Environment) -> None:
        self._env = env
        self._reported: dict[tuple[str, str], datetime] = {}
        """When each status was last written, to limit reports of mere progress."""
        self._left: dict[tuple[str, str], datetime] = {}
        """Since when reports about a resource have been left to the next pass."""
        self._measured: dict[tuple[str, str], object] = {}
        """What each resource's metrics were set from: removing series reads those of all others."""

    async def report(self, body: Mapping[str, Any], resource: Resource, report: Report) -> None:
        """Write the status if it changed, and an Event where Ready turns or has a new problem."""
        previous = read_status(body)
        now = self._env.clock()
        self._left.pop((resource.namespace, resource.name), None)
        status = build_status(previous, report, generation=resource.generation, now=now)
        # The sidecar's record is the namespace's.
        self._measure(resource, report, {"sidecar": previous.get("sidecar"), **status})
        if status == own_part(body.get("status")):
            return
        progress = Progress(self._env)
        await progress.make(ReportStatus(resource, status))
        self._reported[resource.namespace, resource.name] = now
        ready = summarize(report.verdicts)
        before = find_condition(previous, Type.READY)
        _log_change(resource, before, ready, report.verdicts.get(Type.SUSPENDED))
        trouble = ready.status is Status.FALSE
        turned = ready.status != before.get("status", Status.UNKNOWN)
        told = turned or (trouble and ready.reason != before.get("reason"))
        await self._tell_of_renewal(resource, previous, status)
        await self._warn_of_end(resource, previous, report)
        await self._warn_of_skew(resource, previous, status)
        # Outside the managed namespaces only the status may be written.
        if told and self._env.reader.manages(resource.namespace):
            await progress.make(RecordEvent(resource, ready.reason, ready.message, warning=trouble))

    async def _tell_of_renewal(
        self, resource: Resource, previous: Mapping[str, Any], status: Mapping[str, Any]
    ) -> None:
        """Tell once that certificates were renewed, and until when they work."""
        before, after = _ends(previous), _ends(status)
        renewed = [role for role, end in after.items() if before.get(role, end) < end]
        if renewed:
            message = " ".join(
                f"The {role} certificate works until {after[role]}." for role in renewed
            )
            await Progress(self._env).make(RecordEvent(resource, RENEWED, message))

    async def _warn_of_end(
        self, resource: Resource, previous: Mapping[str, Any], report: Report
    ) -> None:
        """Warn once about a certificate that is not renewed, while it still works."""
        verdict = report.verdicts.get(Type.CERTIFICATES_READY)
        if verdict is None or verdict.reason is not Reason.EXPIRING:
            return
        if find_condition(previous, Type.CERTIFICATES_READY).get("reason") != Reason.EXPIRING:
            event = RecordEvent(resource, verdict.reason, verdict.message, warning=True)
            await Progress(self._env).make(event)

    async def _warn_of_skew(
        self, resource: Resource, previous: Mapping[str, Any], status: Mapping[str, Any]
    ) -> None:
        """Warn once about two versions that are known not to work together."""
        skew = read_skew(status)
        if skew and skew != read_skew(previous):
            await Progress(self._env).make(RecordEvent(resource, SKEW, skew, warning=True))

    def _measure(self, resource: Resource, report: Report, status: Mapping[str, Any]) -> None:
        """Set the metrics from the status; series that it no longer supports are removed."""
        metrics, labels = self._env.metrics, (resource.namespace, resource.name)
        ready = summarize(report.verdicts).is_true
        if self._measured.get(labels) == (ready, status):
            return
        self._measured[labels] = (ready, status)
        metrics.forget(*labels)
        metrics.ready.labels(*labels).set(ready)
        metrics.states.set(*labels, status)
        for role, certificate in (status.get("certificates") or {}).items():
            ends = read_time(certificate.get("notAfter"))
            if ends is not None:
                metrics.certificate_expiry.labels(*labels, role).set(ends.timestamp())
        said = status.get("plugin") or {}
        if said:
            metrics.info.labels(*labels, said.get("name", ""), said.get("version", "")).set(1)

    def may_leave(self, resource: Resource, reason: Reason, after: float, now: datetime) -> bool:
        """Whether progress may be left to the next pass, which follows `after` so many seconds.

        Only for a while: passes may follow soon again and again.
        """
        key = (resource.namespace, resource.name)
        told = self._reported.get(key)
        if reason in ON_ITS_WAY and told is not None and _is_recent(told, now):
            return True
        first = self._left.setdefault(key, now)
        return after <= PASSING.get(reason, IN_PASSING) and _is_recent(first, now)

    def forget(self, namespace: str, name: str) -> None:
        """Drop what is known of a resource that is gone, and its metrics."""
        self._reported.pop((namespace, name), None)
        self._left.pop((namespace, name), None)
        self._measured.pop((namespace, name), None)
        self._env.metrics.forget(namespace, name)


def _is_recent(moment: datetime, now: datetime) -> bool:
    """Whether a moment is less than `PROGRESS` ago; one in the future is not, the clock was set."""
    return timedelta(0) <= now - moment < timedelta(seconds=PROGRESS)


def _log_change(
    resource: Resource, before: Mapping[str, Any], ready: Verdict, suspended: Verdict | None
) -> None:
    """Log what Ready says now; details that change nothing of it are for those who debug."""
    same = before.get("reason") == ready.reason and before.get("message") == ready.message
    told = suspended or ready
    logger.log(
        logging.DEBUG if same and suspended is None else logging.INFO,
        "%s: %s",
        told.reason,
        told.message,
        extra={**log_reference(resource), "ready": ready.status},
    )


def _ends(status: Mapping[str, Any]) -> dict[str, str]:
    """When each certificate ends, as the status writes times: the later, the greater."""
    found = status.get("certificates") or {}
    return {role: str(each["notAfter"]) for role, each in found.items() if each.get("notAfter")}


def log_reference(resource: Resource) -> dict[str, str]:
    """Name a resource in the log."""
    return {"namespace": resource.namespace, "plugin": resource.name}
