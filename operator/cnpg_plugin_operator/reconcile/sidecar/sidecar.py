"""The stages of a pass over a sidecar: the same conditions, read from CloudNativePG's own pods.

There is no certificate and no Service, and nothing of its own to apply: all sidecars of a namespace
are one part of CloudNativePG's Deployment, which the namespace's pass applies.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, ClassVar

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.conditions import (
    Reason,
    Type,
    Verdict,
    no,
    read_verdict,
    unknown,
    yes,
)
from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.api.spec import RestartPolicy
from cnpg_plugin_operator.api.status import Report
from cnpg_plugin_operator.api.untrusted import mapping
from cnpg_plugin_operator.cluster.sidecars import SidecarSnapshot
from cnpg_plugin_operator.decide.acceptance.acceptance import decide_acceptance
from cnpg_plugin_operator.decide.facts.cnpg import Announcement, ClusterFacts
from cnpg_plugin_operator.decide.facts.plugin import HandshakeOutcome, Identity
from cnpg_plugin_operator.decide.registration.restart import RestartNeed
from cnpg_plugin_operator.decide.registration.touch import TOUCH_GRACE, find_blocked
from cnpg_plugin_operator.decide.sidecar.mode_change import (
    MovingInput,
    find_seen,
    may_leave,
    was_restarted,
)
from cnpg_plugin_operator.decide.sidecar.registration import (
    find_forgotten,
    find_late,
    forbid_restart,
    judge_handshake,
    judge_registration,
)
from cnpg_plugin_operator.decide.sidecar.rollout import Roll, Rollout
from cnpg_plugin_operator.decide.sidecar.sidecar import SidecarInput, decide_sidecar
from cnpg_plugin_operator.reconcile.environment import Environment
from cnpg_plugin_operator.reconcile.pruning import Pruning, plan_remnants
from cnpg_plugin_operator.reconcile.registration.registration import await_restart
from cnpg_plugin_operator.reconcile.shared import CNPGView, Wants
from cnpg_plugin_operator.reconcile.sidecar.candidates import judge_by
from cnpg_plugin_operator.reconcile.sidecar.mode_change import read_move, withdraw_service
from cnpg_plugin_operator.reconcile.stages import Failure, Plan, Progress, Stages, next_look, walk
from cnpg_plugin_operator.reconcile.status import build_report, log_reference


@dataclass(slots=True)
class SidecarPass:
    """One pass over one resource in mode Sidecar."""

    env: Environment
    pruning: Pruning
    plugin: Plugin
    view: CNPGView
    status: Mapping[str, Any]
    now: datetime = field(init=False)
    verdicts: dict[Type, Verdict] = field(default_factory=dict)
    _progress: Progress = field(init=False)
    deferred: bool = field(init=False, default=False)
    """Whether the namespace's pass has to evaluate this generation first, without a report."""
    _seen: SidecarSnapshot = field(init=False)
    _given: SidecarInput = field(init=False)
    _outcome: HandshakeOutcome | None = field(init=False, default=None)
    _registered: str = field(init=False, default="")
    _need: RestartNeed | None = field(init=False, default=None)
    failure: Failure | None = field(init=False, default=None)
    """What ended the pass early."""

    async def run(self) -> Report:
        """Run the stages until one is not True; of a suspended plugin only its removal counts."""
        self._registered = str(mapping(self.status.get("cnpg")).get("registeredRevision", ""))
        self._seen = await self.env.sidecars.snapshot(self.plugin, self.view.cnpg)
        self.now = self.env.clock()
        self._progress = Progress(self.env)
        stages: Stages = {
            Type.ACCEPTED: (self._accept,),
            Type.CERTIFICATES_READY: (self._certify,),
            Type.AVAILABLE: (self._run,),
            Type.HANDSHAKE_SUCCEEDED: (self._shake,),
            Type.REGISTERED: (self._register, self._prune),
        }
        if self.plugin.spec.suspend:
            stages = {Type.AVAILABLE: (self._report_removal,)}
        self.failure = await walk(stages, self._progress, self.verdicts, log_reference(self.plugin))
        report = build_report(
            self.verdicts, self.view.cnpg, self._seen.clusters, self._identity, self._registered
        )
        done = self.verdicts.get(Type.REGISTERED)
        obsolete = frozenset({"certificates"}) if done and done.is_true else frozenset()
        return replace(report, obsolete=obsolete)

    unrecorded: ClassVar[bool] = False
    """A sidecar takes nothing over."""

    @property
    def waits(self) -> bool:
        """Whether the plugin needs what the namespace's next pass decides."""
        return self.deferred

    def retry_after(self) -> float:
        """Seconds until the next pass, if nothing wakes it earlier."""
        return next_look(self.verdicts, self._progress.looks, self.now)

    @property
    def wrote(self) -> list[str]:
        """What this pass wrote, for the log."""
        return self._progress.wrote

    @property
    def wants(self) -> Wants:
        """What the plugin needs from the shared parts of its namespace."""
        plugin, accepted = self.plugin, self.verdicts.get(Type.ACCEPTED)
        last = next(reversed(self.verdicts.values()), None)
        waits = last is not None and not last.is_true
        return Wants(
            plugin.uid,
            plugin.generation,
            plugin.cnpg_reference,
            sidecar=accepted is not None and accepted.is_true,
            restart=self._need,
            look_within=self.retry_after() if waits else None,
        )

    @property
    def clusters(self) -> tuple[ClusterFacts, ...]:
        """The Clusters that use the plugin."""
        return self._seen.clusters

    @property
    def _identity(self) -> Identity | None:
        return self._outcome.identity if self._outcome is not None else None

    async def _accept(self) -> Plan:
        settings = self.env.settings
        given = judge_by(self.plugin, self.view, self._seen, settings)
        remnants = await plan_remnants(self.env, self.plugin, given.foreign, self.now)
        return replace(remnants, verdict=decide_acceptance(given))

    async def _certify(self) -> Plan:
        message = "A unix socket in CloudNativePG's own pod needs none."
        return Plan(yes(Reason.NOT_NEEDED, message))

    async def _run(self) -> Plan:
        plugin, view = self.plugin, self.view
        if (error := view.failed.get(Type.AVAILABLE)) is not None:
            raise error
        judged = view.judged.get(plugin.name) == (plugin.uid, plugin.generation)
        member = view.sidecars.members.get(plugin.name) if view.sidecars is not None else None
        if not judged or view.sidecars is None or member is None:
            self.deferred = True
            return Plan(unknown(Reason.SIDECAR_PENDING, "The sidecar has not been evaluated yet."))
        self._given = SidecarInput(
            namespace=plugin.namespace,
            name=plugin.name,
            socket=plugin.spec.plugin_name,
            member=member,
            rollout=view.rollout or Rollout(Roll.NOTHING),
            pending=plugin.name in view.sidecars.changed,
            cnpg=view.cnpg[0],
            clusters=self._seen.clusters,
            now=self.now,
            registered=self._registered,
        )
        return Plan(decide_sidecar(self._given))

    async def _report_removal(self) -> Plan:
        """Report that a suspended sidecar was removed, as where CloudNativePG cannot start."""
        known = read_verdict(self.status, Type.AVAILABLE)
        if known is None or not known.is_true or len(self.view.cnpg) != 1:
            return Plan()
        [cnpg] = self.view.cnpg
        if self.plugin.name in cnpg.sidecars:
            return Plan()
        message = (
            f"Deployment {cnpg.deployment} no longer contains the sidecar; the operator does not "
            "add it while spec.suspend is set."
        )
        return Plan(no(Reason.SIDECAR_PENDING, message))

    async def _shake(self) -> Plan:
        verdict, self._outcome = judge_handshake(self._given)
        late = None if verdict.is_true else next(find_late(self._given), None)
        return Plan(self._request_restart(verdict, late) if late is not None else verdict)

    async def _register(self) -> Plan:
        given, outcome = self._given, self._outcome
        verdict = judge_registration(given, outcome.identity if outcome is not None else None)
        late = next(find_late(given), None) or next(find_forgotten(given), None)
        if late is not None:
            return Plan(self._request_restart(unknown(verdict.reason, verdict.message), late))
        move = read_move(self.plugin, self._seen.service, self.view.cnpg[0])
        plan = Plan(verdict)
        if verdict.is_true and move is not None:
            plan = self._leave_service(verdict, move)
        if plan.verdict is None or not plan.verdict.is_true:
            return plan
        self._registered = given.revision
        blocked = bool(find_blocked(given.clusters))
        pause = TOUCH_GRACE if blocked else self.plugin.spec.handshake.interval
        return replace(plan, looks=(self.now + pause,))

    async def _prune(self) -> Plan:
        return await self.pruning.plan(self.env, self.plugin, [], ())

    def _leave_service(self, verdict: Verdict, move: MovingInput) -> Plan:
        """Delete the Service of a plugin that was Standalone, once no leader depends on it."""
        name, service = move.service.name, self._seen.service
        if may_leave(move) and service is not None:
            return Plan(verdict, withdraw_service(service, self.now))
        words = (
            f"CloudNativePG reaches the plugin through Service {name}, which it saw when it "
            "started; it is restarted once to use the socket."
        )
        if was_restarted(move, self._given.revision):
            words = (
                f"CloudNativePG still reaches the plugin through Service {name} after a restart, "
                f"because another client sets the label {names.cnpg.PLUGIN_NAME} on it. Stop that "
                "client, remove the label, and restart CloudNativePG."
            )
        waiting = unknown(Reason.AWAITING_REGISTRATION, words)
        seen = find_seen(move, self._given.revision)
        return Plan(self._request_restart(waiting, seen) if seen is not None else waiting)

    def _request_restart(self, verdict: Verdict, late: Announcement) -> Verdict:
        """Request one restart of CloudNativePG for a sidecar that became ready too late for it."""
        given = self._given
        if given.cnpg.restarted_for.get(given.name) == late.revision:
            return verdict
        policy = self.plugin.spec.cnpg.restart_policy or self.env.settings.restart_policy
        if policy is RestartPolicy.NEVER:
            return forbid_restart(given)
        self._need = RestartNeed(late.revision, late.announced_at)
        return await_restart(verdict, self.view)
