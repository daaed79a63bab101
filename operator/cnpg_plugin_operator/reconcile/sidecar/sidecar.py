"""The stages of a pass over a sidecar: the same conditions, found in CloudNativePG's own pods.

There is no certificate and no Service, and nothing of its own to apply: all sidecars of a namespace
are one part of CloudNativePG's Deployment.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from cnpg_plugin_operator import errors
from cnpg_plugin_operator.api.conditions import Reason, Type, Verdict, unknown, yes
from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.api.sidecar_status import SidecarNote, build_note, read_note
from cnpg_plugin_operator.api.spec import RestartPolicy
from cnpg_plugin_operator.api.status import Report, RestartStatus
from cnpg_plugin_operator.api.untrusted import mapping
from cnpg_plugin_operator.cluster import observe
from cnpg_plugin_operator.cluster.clusters import read_clusters
from cnpg_plugin_operator.cluster.sidecars import SidecarSnapshot
from cnpg_plugin_operator.decide.acceptance.acceptance import decide_acceptance
from cnpg_plugin_operator.decide.facts.cnpg import Announcement, ClusterFacts, RestartRecord
from cnpg_plugin_operator.decide.facts.plugin import HandshakeOutcome, Identity
from cnpg_plugin_operator.decide.registration.touch import REMEDY_TAKES, find_blocked
from cnpg_plugin_operator.decide.sidecar.mode_change import MovingInput, find_seen, may_leave
from cnpg_plugin_operator.decide.sidecar.quarantine import LOOK_WHILE_BLOCKED, is_blocked
from cnpg_plugin_operator.decide.sidecar.registration import (
    find_forgotten,
    find_late,
    forbid_cure,
    judge_handshake,
    judge_registration,
)
from cnpg_plugin_operator.decide.sidecar.rollout import Move, Placing
from cnpg_plugin_operator.decide.sidecar.sidecar import SidecarInput, decide_sidecar
from cnpg_plugin_operator.decide.sidecar.sidecar_set import Seat, note_trouble, retry_time
from cnpg_plugin_operator.reconcile.environment import Environment
from cnpg_plugin_operator.reconcile.pruning import Pruning
from cnpg_plugin_operator.reconcile.registration.restart import Step, restart_cnpg
from cnpg_plugin_operator.reconcile.sidecar.candidates import admit
from cnpg_plugin_operator.reconcile.sidecar.mode_change import follow_move, read_move
from cnpg_plugin_operator.reconcile.sidecar.rollout import Placed, compose_set, place
from cnpg_plugin_operator.reconcile.stages import Failure, Stage, next_look, walk
from cnpg_plugin_operator.reconcile.status import build_report

EVENT_REASON: Final = "RollingCNPG"
"""Reason of the Event about a roll that was begun for sidecars."""


@dataclass(slots=True)
class SidecarPass:
    """One pass over one resource in mode Sidecar."""

    env: Environment
    pruning: Pruning
    plugin: Plugin
    status: Mapping[str, Any]
    now: datetime = field(init=False)
    verdicts: dict[Type, Verdict] = field(default_factory=dict)
    wrote: list[str] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)
    _wake: list[datetime] = field(default_factory=list)
    _seen: SidecarSnapshot = field(init=False)
    _note: SidecarNote = field(init=False)
    _given: SidecarInput = field(init=False)
    _outcome: HandshakeOutcome | None = field(init=False, default=None)
    _registered: str = field(init=False, default="")
    _record: RestartRecord | None = field(init=False, default=None)
    _rolled: RestartStatus | None = field(init=False, default=None)
    failure: Failure | None = field(init=False, default=None)
    """What ended the pass early."""

    async def run(self) -> Report:
        """Go through the stages until one is not True."""
        self._registered = str(mapping(self.status.get("cnpg")).get("registeredRevision", ""))
        self._note = read_note(self.status)
        self._seen = await self.env.sidecars.snapshot(self.plugin)
        if not self.plugin.spec.suspend:
            self.wrote += await follow_move(self.env, self.plugin, self._seen)
        self.now = self.env.clock()
        stages: dict[Type, Stage] = {
            Type.ACCEPTED: self._accept,
            Type.CERTIFICATES_READY: self._certify,
            Type.AVAILABLE: self._place,
            Type.HANDSHAKE_SUCCEEDED: self._shake,
            Type.REGISTERED: self._register,
        }
        self.failure = await walk(stages, self.verdicts)
        report = build_report(
            self.verdicts,
            self._seen.cnpg,
            self._clusters,
            self._identity,
            self._registered,
            self._record,
        )
        done = self.verdicts.get(Type.REGISTERED)
        obsolete = frozenset({"certificates"}) if done and done.is_true else frozenset()
        cnpg = report.cnpg
        if cnpg is not None and self._rolled is not None:
            cnpg = replace(cnpg, restart=self._rolled)
        return replace(report, cnpg=cnpg, sidecar=self._note, obsolete=obsolete)

    def retry_after(self) -> float:
        """Seconds until the next pass, should nothing wake it earlier."""
        return next_look(self.verdicts, self._wake, self.now)

    @property
    def _clusters(self) -> tuple[ClusterFacts, ...]:
        plugin = self.plugin
        return read_clusters(self._seen.clusters, plugin.spec.plugin_name, plugin.name)

    @property
    def _identity(self) -> Identity | None:
        return self._outcome.identity if self._outcome is not None else None

    async def _accept(self) -> Verdict:
        verdict = decide_acceptance(admit(self.plugin, self._seen, self.env.policy))
        standing = any(self.plugin.name in cnpg.sidecars for cnpg in self._seen.cnpg)
        if standing and not verdict.is_true:
            # Even of one that is suspended: it stays unless it keeps CloudNativePG from starting.
            self._tell(await place(self.env, self.plugin))
        self._watch_blockade()
        return verdict

    def _watch_blockade(self) -> None:
        """Come back soon while CloudNativePG's newest pod is not ready."""
        if self._seen.host is not None and is_blocked(self._seen.host):
            self._wake.append(self.now + LOOK_WHILE_BLOCKED)

    async def _certify(self) -> Verdict:
        return yes(Reason.NOT_NEEDED, "A unix socket in CloudNativePG's own pod needs none.")

    async def _place(self) -> Verdict:
        host = self._seen.host
        if host is None:
            return unknown(Reason.ROLLOUT_IN_PROGRESS, "CloudNativePG's Deployment is gone.")
        name = self.plugin.name
        roster = compose_set(self.env, self.plugin.namespace, self._seen, host, self.now)
        if name not in roster.seats:
            raise errors.ConflictError(f"CNPGPlugin {name} is gone")
        cause = roster.blockade.causes.get(name)
        self._note = note = note_trouble(name, roster.seats[name], cause, host, self.now)
        if note.held is not None and (due := retry_time(note)) > self.now:
            self._wake.append(due)
        placed = None
        if roster.drift is not None or note.held != roster.seats[name].note.held:
            placed = await self._change(note)
        if placed is not None and placed.roster is not None and name in placed.roster.seats:
            roster = placed.roster
        self._given = SidecarInput(
            namespace=self.plugin.namespace,
            name=name,
            socket=self.plugin.spec.plugin_name,
            seat=self._describe(roster.seats[name], note),
            placing=placed.placing if placed is not None else Placing(Move.NOTHING),
            pending=name in roster.changed,
            host=host,
            cnpg=self._seen.cnpg[0],
            clusters=self._clusters,
            now=self.now,
            registered=self._registered,
        )
        return decide_sidecar(self._given)

    def _describe(self, seat: Seat, note: SidecarNote) -> Seat:
        """Add what was noted to a seat; a refusal is told of until a try succeeds."""
        revision = seat.wanted.revision if seat.wanted is not None else ""
        plugin = self.plugin
        last = self.env.placements.last_refusal(plugin.namespace, plugin.name, revision)
        return replace(seat, note=note, refused=seat.refused or last)

    async def _change(self, note: SidecarNote) -> Placed:
        """Have the set changed; what was seen is noted first, where nobody takes it back."""
        if note != read_note(self.status):
            status = {**self.status, "sidecar": build_note(note)}
            await self.env.writer.report(self.plugin, status)
        placed = await place(self.env, self.plugin)
        self._tell(placed)
        self._wake += [self.now + placed.after] if placed.after else []
        return placed

    def _tell(self, placed: Placed) -> None:
        """Remember for the report what became of the set."""
        self.wrote += placed.wrote
        if placed.note:
            self.notes.append((EVENT_REASON, placed.note))
            self._rolled = RestartStatus(self.now, placed.reason)

    async def _shake(self) -> Verdict:
        verdict, self._outcome = judge_handshake(self._given)
        if verdict.is_true:
            return verdict
        late = next(find_late(self._given), None)
        return await self._cure(verdict, late) if late is not None else verdict

    async def _register(self) -> Verdict:
        given, outcome = self._given, self._outcome
        verdict = judge_registration(given, outcome.identity if outcome is not None else None)
        late = next(find_late(given), None) or next(find_forgotten(given), None)
        if late is not None:
            return await self._cure(unknown(verdict.reason, verdict.message), late)
        move = read_move(self.plugin, self._seen)
        if verdict.is_true and move is not None:
            verdict = await self._leave_service(verdict, move)
        if verdict.is_true:
            self._registered = given.revision
            self.wrote += await self.pruning.prune(self.env, self.plugin, [], ())
            blocked = bool(find_blocked(given.clusters))
            pause = REMEDY_TAKES if blocked else self.plugin.spec.handshake.interval
            self._wake.append(self.now + pause)
        return verdict

    async def _leave_service(self, verdict: Verdict, move: MovingInput) -> Verdict:
        """End the Service of a plugin that was Standalone, once no leader depends on it."""
        name, service = move.service.name, self._seen.service
        if may_leave(move) and service is not None:
            if observe.read_service(service, self.now).cnpg_finalizer:
                # Without its label, CloudNativePG 1.29.0 to 1.30.0 would never take it off.
                await self.env.remover.strip_cnpg_finalizer(self.plugin, service)
            await self.env.remover.withdraw_service(self.plugin, service)
            self.wrote.append(f"Service {name}")
            return verdict
        waiting = unknown(
            Reason.AWAITING_REGISTRATION,
            f"CloudNativePG reaches the plugin through Service {name}, which it saw when it "
            "started; it is restarted once to use the socket.",
        )
        seen = find_seen(move, self._given.revision)
        return await self._cure(waiting, seen) if seen is not None else waiting

    async def _cure(self, verdict: Verdict, late: Announcement) -> Verdict:
        """Restart CloudNativePG, once, for a sidecar that came right after it had started."""
        given = self._given
        if given.cnpg.restarted_for.get(given.name) == late.revision:
            return verdict
        policy = self.plugin.spec.restart_policy or self.env.policy.restart_policy
        if policy is RestartPolicy.NEVER:
            return forbid_cure(given)
        step = await restart_cnpg(self.env, self.plugin, self.status, Step(verdict), late=late)
        self.notes += [("RestartingCNPG", step.restarted)] if step.restarted else []
        self._record = step.record
        self._wake += [self.now + step.after] if step.after is not None else []
        return step.verdict
