"""Applies the set of sidecars to CloudNativePG's Deployment: once for all plugins of a namespace.

The observations of each sidecar are recorded first, in the status, where they survive. A sidecar
that the API server refuses does not block any other.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from cnpg_plugin_operator import errors
from cnpg_plugin_operator.api.conditions import Reason, Verdict, no
from cnpg_plugin_operator.api.records import RestartRecord, SidecarRecord
from cnpg_plugin_operator.cluster.clusters import ClusterRecord, name_busy
from cnpg_plugin_operator.decide.facts.cnpg import CNPGFacts
from cnpg_plugin_operator.decide.registration.obstacles import LOOK_AGAIN
from cnpg_plugin_operator.decide.sidecar.quarantine import LOOK_WHILE_BLOCKED, is_blocked
from cnpg_plugin_operator.decide.sidecar.rollout import (
    Roll,
    Rollout,
    RolloutInput,
    decide_rollout,
)
from cnpg_plugin_operator.decide.sidecar.sidecar_set import (
    SidecarSet,
    retry_time,
    update_quarantine,
)
from cnpg_plugin_operator.desired.objects import digest
from cnpg_plugin_operator.reconcile.records import Records
from cnpg_plugin_operator.reconcile.sidecar.candidates import Candidates
from cnpg_plugin_operator.reconcile.sidecar.mode_change import hide_services
from cnpg_plugin_operator.reconcile.sidecar.pending import Pending
from cnpg_plugin_operator.reconcile.stages import Progress
from cnpg_plugin_operator.reconcile.writes import ApplySidecars

EVENT_REASON: Final = "RollingCNPG"
"""Reason of the Event about a roll for sidecars."""

REFUSING: Final = (
    errors.RejectedError,
    errors.ForbiddenError,
    RecursionError,
    TypeError,
    ValueError,
)
"""Errors that the content of an apply causes: it is invalid, admission refuses it, or it cannot
even be written as JSON."""


@dataclass(frozen=True, slots=True)
class Rolled:
    """The outcome for the difference between a Deployment and the desired set."""

    sidecars: SidecarSet
    decision: Rollout
    after: timedelta | None = None
    """When to requeue."""


@dataclass(frozen=True, slots=True)
class SidecarRollout:
    """The sidecars of one CloudNativePG, during one pass over their namespace."""

    progress: Progress
    namespace: str
    cnpg: CNPGFacts
    candidates: Candidates
    clusters: tuple[ClusterRecord, ...]
    services: Collection[Mapping[str, Any]]
    records: Records
    pending: Pending
    now: datetime

    @property
    def key(self) -> str:
        """The key of this Deployment's state in memory."""
        return f"{self.namespace}/{self.cnpg.deployment}"

    async def advance(self) -> Rolled:
        """Bring CloudNativePG's Deployment closer to the desired set of sidecars."""
        refused = self.pending.refused(self.key, self.now)
        settings = self.progress.env.settings
        sidecars = self.candidates.compose(settings, self.now, refused)
        changed = self._find_records(sidecars)
        if changed:
            sidecars = self.candidates.compose(settings, self.now, refused, changed)
        for name, record in changed.items():
            await self.progress.make(*self.records.record_sidecar(name, record))
        decision = self._decide(sidecars)
        if decision.action is not Roll.APPLY:
            return self._result(sidecars, decision)
        return await self._apply(sidecars, decision)

    def _find_records(self, sidecars: SidecarSet) -> dict[str, SidecarRecord]:
        """Update the record of each sidecar that changed."""
        known = {each.name: each.record for each in self.candidates.each}
        found = {}
        for name, member in sidecars.members.items():
            cause = sidecars.blockade.causes.get(name)
            record = update_quarantine(name, member, cause, self.cnpg, self.now)
            if record != known[name]:
                found[name] = record
        return found

    def _decide(self, sidecars: SidecarSet) -> Rollout:
        pending = self.pending
        wanted = digest([sidecars.template, sorted(sidecars.changed)])
        first, last = pending.record(self.key, wanted, self.now)
        decision = decide_rollout(
            RolloutInput(
                differs=sidecars.drift is not None,
                forbidden=sidecars.forbidden,
                unblocking=sidecars.unblocking,
                cnpg=self.cnpg,
                busy=tuple(name_busy(self.clusters, self.cnpg.watches)),
                first=first,
                last=last,
                pace=self.progress.env.settings.pace,
                now=self.now,
            )
        )
        if decision.action is Roll.NOTHING:
            pending.settle(self.key)
        return decision

    async def _apply(self, sidecars: SidecarSet, decision: Rollout) -> Rolled:
        progress, cnpg = self.progress, self.cnpg
        coming = {
            name
            for name, member in sidecars.members.items()
            if member.wanted is not None and member.applied is not None
        }
        await hide_services(progress, cnpg, self.services, coming)
        # Without a pod, nothing rolls.
        rolled_at = self.now if cnpg.replicas else cnpg.rolled_at
        try:
            await progress.make(ApplySidecars(cnpg, sidecars.template, rolled_at))
        except REFUSING as error:
            await self._isolate(sidecars, error)
            refused = self.pending.refused(self.key, self.now)
            sidecars = self.candidates.compose(progress.env.settings, self.now, refused)
            rest = Rollout(Roll.WAIT, "a sidecar was refused", LOOK_AGAIN)
            return self._result(sidecars, rest if sidecars.drift else Rollout(Roll.NOTHING))
        self.pending.settle(self.key)
        for name in sidecars.changed:
            self.pending.accept(self.key, name)
        await self._report(sidecars)
        return Rolled(sidecars, decision)

    async def _report(self, sidecars: SidecarSet) -> None:
        """Report a roll in the metrics, the status, and Events on the resources that it is for."""
        cnpg, changed = self.cnpg, sorted(sidecars.changed)
        if cnpg.replicas:
            self.progress.env.metrics.restarts.labels(self.namespace).inc()
        reason = f"sidecars change ({', '.join(changed) or sidecars.drift})"
        record = RestartRecord(self.now, reason=reason)
        message = f"Deployment {cnpg.deployment} is rolled: {reason}."
        await self.progress.make(
            *self.records.record_restart(changed, cnpg.deployment, record),
            *self.records.record_event(changed, EVENT_REASON, message),
        )

    def _result(self, sidecars: SidecarSet, decision: Rollout) -> Rolled:
        """Return when to requeue: for the decision, the end of a quarantine, or a blockade."""
        due = [decision.after] if decision.after else []
        records = [member.record for member in sidecars.members.values()]
        retries = [retry_time(record) for record in records if record.quarantine is not None]
        due += [at - self.now for at in retries if at > self.now]
        due += [LOOK_WHILE_BLOCKED] if is_blocked(self.cnpg) and self.cnpg.sidecars else []
        last = self.pending.last_refusals(self.key)
        members = {
            name: replace(
                member,
                refused=member.refused
                or last.get((name, member.wanted.revision if member.wanted else "")),
            )
            for name, member in sidecars.members.items()
        }
        return Rolled(replace(sidecars, members=members), decision, after=min(due, default=None))

    async def _isolate(self, sidecars: SidecarSet, error: Exception) -> None:
        """Find out which of the changed sidecars cannot be applied; leave them out for a while.

        Each is tried alone, with the others unchanged, in a dry run, which rolls nothing. Raises
        the error where no added or changed sidecar is at fault.
        """
        coming = sorted(n for n in sidecars.changed if (s := sidecars.members.get(n)) and s.applied)
        if not coming:
            raise error
        found: dict[str, Exception] = {}
        if sidecars.changed == {*coming} and len(coming) == 1:
            found = {coming[0]: error}
        else:
            for name in coming:
                refusal = await self._try_alone(name)
                found |= {name: refusal} if refusal is not None else {}
        # If each could be applied alone, they only fail together: the last one waits.
        for name, reason in (found or {coming[-1]: error}).items():
            applied = sidecars.members[name].applied
            revision = applied.revision if applied is not None else ""
            verdict = _judge(self.cnpg, reason)
            self.pending.refuse(self.key, name, revision, verdict, self.now)

    async def _try_alone(self, name: str) -> Exception | None:
        """Ask the API server whether it would accept one changed sidecar alone."""
        alone = self.candidates.compose(self.progress.env.settings, self.now, {}, only=name)
        try:
            await self.progress.env.sidecars.apply(
                self.namespace, self.cnpg, alone.template, None, dry_run=True
            )
        except REFUSING as refusal:
            return refusal
        return None


def _judge(cnpg: CNPGFacts, error: Exception) -> Verdict:
    """Return why a sidecar cannot be added to CloudNativePG's Deployment."""
    target = f"Deployment {cnpg.deployment} cannot take the sidecar"
    # A ValidatingAdmissionPolicy refuses with status 422, like a schema, but says "is forbidden".
    if isinstance(error, errors.ForbiddenError) or "is forbidden:" in str(error):
        return no(Reason.PODS_REFUSED, f"{target}: {error}")
    if isinstance(error, errors.ClusterError):
        return no(Reason.INVALID_SPEC, f"{target}: {error}")
    kind = "nested too deep" if isinstance(error, RecursionError) else "no valid JSON"
    return no(Reason.INVALID_SPEC, f"{target}: a field of its spec is {kind}.")
