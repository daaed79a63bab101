"""Which sidecars CloudNativePG's Deployment should contain, decided for all of them at once.

All sidecars of a namespace are written in one apply, so every pass composes the same set from the
same facts. A sidecar that must not be changed now stays as it is; invalid input removes nothing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from cnpg_plugin_operator.api.conditions import Reason, Status, Type, Verdict, find_condition
from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.api.records import Quarantine, SidecarRecord
from cnpg_plugin_operator.api.spec import RestartPolicy, UpgradePolicy
from cnpg_plugin_operator.api.status import read_status
from cnpg_plugin_operator.api.times import is_over
from cnpg_plugin_operator.decide.facts.cnpg import CNPGFacts
from cnpg_plugin_operator.decide.sidecar.quarantine import Blockade, Cause, is_settled
from cnpg_plugin_operator.decide.workload.upgrade import TOKEN_DIGITS
from cnpg_plugin_operator.desired.drift import first_difference
from cnpg_plugin_operator.desired.sidecars import (
    Gate,
    Place,
    Sidecar,
    build_sidecar,
    build_template,
    find_template_drift,
    keep_sidecar,
    read_sidecars,
)

MOST_REVERTS: Final = 3
"""How often another party may remove a sidecar before the operator gives up. Each time costs
CloudNativePG two rolls."""

FIRST_RETRY: Final = timedelta(minutes=5)
"""Time after which a quarantined sidecar is tried again; doubled each time. During a failing
attempt, CloudNativePG's previous pod keeps serving."""

LAST_RETRY: Final = timedelta(hours=6)

TRIAL_AFTER: Final = timedelta(seconds=30)
"""Time after which a sidecar that was quarantined together with others is tried again, alone."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One resource of the namespace, as far as sidecars are concerned."""

    name: str
    socket: str
    """The CNPG-I name."""
    plugin: Plugin | None
    """None where its spec cannot be read."""
    accepted: bool
    """Whether the spec is valid here."""
    record: SidecarRecord
    policy: RestartPolicy
    leaving: bool = False
    """Whether its sidecar should be removed: it is deleted, or reachable through a Service."""
    deleting: bool = False
    """Whether it is being deleted; its sidecar stays while Clusters use the plugin."""
    refused: Mapping[str, Verdict] = field(default_factory=dict)
    """Why the API server rejects the sidecar, by revision."""
    used: bool = False
    """Whether Clusters use the plugin."""
    approval: str = ""
    """The change that a user approved."""


@dataclass(frozen=True, slots=True)
class Member:
    """The outcome for one candidate."""

    record: SidecarRecord
    """The updated record."""
    wanted: Sidecar | None = None
    """As the spec wants it."""
    applied: Sidecar | None = None
    """As the Deployment should contain it now; None for not at all."""
    reverted: bool = False
    """Whether the operator gave up, because another party removed it repeatedly."""
    awaiting: str = ""
    """The token of a change that waits for approval, or empty."""
    quarantined: bool = False
    """Whether it is in quarantine, because it kept CloudNativePG from starting."""
    refused: Verdict | None = None
    """Why the API server rejects it."""


@dataclass(frozen=True, slots=True)
class SidecarSet:
    """The outcome for all candidates, and the pod template that follows from it."""

    members: Mapping[str, Member]
    template: dict[str, Any] = field(repr=False)
    """This operator's part of it."""
    blockade: Blockade = field(repr=False)
    """How sidecars affect CloudNativePG's rollout."""
    drift: str | None
    """The first field in which the Deployment differs, or None."""
    changed: frozenset[str]
    """The resources whose sidecars should be added, changed or removed."""
    forbidden: bool
    """Whether no resource that wants a change allows a restart."""

    @property
    def unblocking(self) -> bool:
        """Whether a change concerns a sidecar that blocks CloudNativePG's rollout."""
        named = self.blockade.suspects | frozenset(self.blockade.causes)
        return not self.changed.isdisjoint(named)


def compose(
    candidates: Iterable[Candidate],
    cnpg: CNPGFacts,
    place: Place,
    gate: Gate,
    now: datetime,
    blockade: Blockade | None = None,
) -> SidecarSet:
    """Compose the set of sidecars, without those that keep CloudNativePG from starting."""
    known = {candidate.name: candidate for candidate in candidates}
    blockade = blockade or Blockade()
    members = {name: _judge(each, cnpg.template, place, now) for name, each in known.items()}
    members |= _postpone(known, members, cnpg)
    for name, member in members.items():
        # A sidecar that is only kept has no record to be quarantined in; and a deletion does not
        # wait.
        kept = name in blockade.causes and member.applied is not member.wanted
        if kept or (known[name].deleting and name in blockade.suspects):
            members[name] = replace(member, applied=None)
    applied = [member.applied for member in members.values() if member.applied is not None]
    template = build_template(applied, place, gate, cnpg.template)
    changed = _find_changed(applied, cnpg.template)
    drift = find_template_drift(template, cnpg.template)
    # Parts that belong to all of them (the gate, the mount) are restored for any of them.
    asking = changed or ({sidecar.name for sidecar in applied} if drift else set())
    return SidecarSet(
        members=members,
        template=template,
        blockade=blockade,
        drift=drift,
        changed=changed,
        forbidden=bool(asking)
        and not any(_allows(known.get(name), members.get(name)) for name in asking),
    )


def _postpone(
    known: Mapping[str, Candidate], members: Mapping[str, Member], cnpg: CNPGFacts
) -> dict[str, Member]:
    """Retry one quarantined sidecar at a time, which shows which one is faulty.

    One that may not roll CloudNativePG comes last, because it may never get its turn.
    """
    trials = {
        name: member
        for name, member in members.items()
        if member.applied is not None
        and member.applied is member.wanted
        and (quarantine := member.record.quarantine) is not None
        and quarantine.revision == member.applied.revision
    }
    standing = read_sidecars(cnpg.template)
    running = {
        n
        for n, member in trials.items()
        if member.record.quarantine and standing.get(n) == member.record.quarantine.revision
    }
    order = sorted(
        (known[n].policy is RestartPolicy.NEVER, _times(member), n) for n, member in trials.items()
    )
    chosen = running or {name for _, _, name in order[:1]}
    return {
        n: replace(s, applied=None, quarantined=True) for n, s in trials.items() if n not in chosen
    }


def _times(member: Member) -> int:
    return member.record.quarantine.attempts if member.record.quarantine is not None else 0


def _allows(candidate: Candidate | None, member: Member | None) -> bool:
    """Whether a change of this sidecar may roll CloudNativePG; a removal always may."""
    if candidate is None or member is None or member.applied is None:
        return True
    return candidate.policy is not RestartPolicy.NEVER


def _find_changed(applied: Iterable[Sidecar], live: Mapping[str, Any]) -> frozenset[str]:
    """Name the sidecars that differ, including those that others edited."""
    wanted = {sidecar.name: sidecar for sidecar in applied}
    standing = read_sidecars(live)
    found = {name for name in standing if name not in wanted}
    for name, sidecar in wanted.items():
        if standing.get(name) != sidecar.revision or not is_intact(sidecar, live):
            found.add(name)
    return frozenset(found)


def is_intact(sidecar: Sidecar, live: Mapping[str, Any]) -> bool:
    """Whether a pod template contains a sidecar as it was applied."""
    own = {
        "spec": {"initContainers": [sidecar.container], "volumes": list(sidecar.volumes)},
    }
    containers = (live.get("spec") or {}).get("initContainers") or []
    there = any(c.get("name") == sidecar.container["name"] for c in containers)
    return there and first_difference(own, live) is None


def _judge(candidate: Candidate, live: Mapping[str, Any], place: Place, now: datetime) -> Member:
    plugin = candidate.plugin
    standing = keep_sidecar(candidate.name, candidate.socket, live)
    if candidate.leaving:
        return Member(candidate.record)
    if plugin is None or not plugin.is_sidecar or plugin.deleting or not candidate.accepted:
        return Member(candidate.record, applied=standing)
    wanted = build_sidecar(plugin, place)
    record = bring_up_to_date(candidate.record, plugin.generation, wanted, live)
    if refused := candidate.refused.get(wanted.revision):
        return Member(record, wanted, applied=standing, refused=refused)
    return _admit(candidate, plugin, Member(record, wanted, applied=wanted), standing, now)


def _admit(
    candidate: Candidate, plugin: Plugin, member: Member, standing: Sidecar | None, now: datetime
) -> Member:
    """Place the desired sidecar, unless something keeps it unchanged, or out."""
    wanted, record = member.wanted, member.record
    if wanted is None or plugin.spec.suspend:
        return replace(member, applied=standing)
    if record.reverts >= MOST_REVERTS:
        return replace(member, applied=standing, reverted=True)
    if is_quarantined(record, wanted.revision, now):
        return replace(member, applied=None, quarantined=True)
    token = wanted.revision[:TOKEN_DIGITS]
    manual = plugin.spec.upgrade_policy is UpgradePolicy.MANUAL and candidate.used
    changes = standing is not None and standing.revision != wanted.revision
    if manual and changes and candidate.approval != token:
        return replace(member, applied=standing, awaiting=token)
    return member


def bring_up_to_date(
    record: SidecarRecord, generation: int, wanted: Sidecar, live: Mapping[str, Any]
) -> SidecarRecord:
    """Update the record with the present state; removals by others are counted."""
    revision = read_sidecars(live).get(wanted.name, "")
    if record.generation != generation:
        record = replace(record, generation=generation, reverts=0)
    if record.quarantine is not None and record.quarantine.revision != wanted.revision:
        record = replace(record, quarantine=None)
    if record.quarantine is not None:
        # Quarantined by this operator, or about to be: that is no revert.
        return replace(record, present=False)
    lost = not revision or (revision == wanted.revision and not is_intact(wanted, live))
    if record.present and lost:
        return replace(record, present=False, reverts=record.reverts + 1)
    if not lost:
        return replace(record, present=True, revision=revision)
    return record


def is_quarantined(record: SidecarRecord, revision: str, now: datetime) -> bool:
    """Whether a sidecar that kept CloudNativePG from starting is still in quarantine."""
    quarantine = record.quarantine
    return quarantine is not None and quarantine.revision == revision and _keeps_out(record, now)


def _keeps_out(record: SidecarRecord, now: datetime) -> bool:
    return (
        record.quarantine is not None
        and is_over(record.quarantine.at, now)
        and now < retry_time(record)
    )


def retry_time(record: SidecarRecord) -> datetime:
    """Return when a quarantined sidecar is tried again."""
    if record.quarantine is None:
        raise ValueError("nothing is quarantined")
    if record.quarantine.attempts < 1:
        return record.quarantine.at + TRIAL_AFTER
    return record.quarantine.at + min(
        FIRST_RETRY * (1 << min(record.quarantine.attempts - 1, 16)), LAST_RETRY
    )


def is_leaving(body: Mapping[str, Any], plugin: Plugin | None) -> bool:
    """Whether a resource's own status says that its sidecar is no longer needed.

    It is deleted and nothing blocks that, or it is reached through a Service by now.
    """
    status = read_status(body)
    accepted = find_condition(status, Type.ACCEPTED)
    if body["metadata"].get("deletionTimestamp"):
        return bool(accepted.get("reason") == Reason.DELETING)
    if plugin is None or plugin.is_sidecar:
        return False
    ready = find_condition(status, Type.READY)
    current = ready.get("observedGeneration") == plugin.generation
    return bool(ready.get("status") == Status.TRUE and current)


def update_quarantine(
    name: str, member: Member, cause: Cause | None, cnpg: CNPGFacts, now: datetime
) -> SidecarRecord:
    """Record that a sidecar is quarantined, or that it has worked since."""
    record, wanted = member.record, member.wanted
    standing = read_sidecars(cnpg.template).get(name)
    if wanted is None or standing != wanted.revision or member.quarantined:
        return record
    if cause is None:
        newest = cnpg.newest
        proven = (
            newest is not None
            and newest.sidecars.get(name) == standing
            and newest.gate_ended is not None
            and is_settled(newest, now)
        )
        return replace(record, quarantine=None) if proven else record
    # Sidecars that are quarantined together are each tried alone before the fault counts as their
    # own.
    before = record.quarantine.attempts if record.quarantine is not None else 0
    quarantine = Quarantine(
        revision=standing,
        reason=cause.reason,
        message=cause.message,
        at=now.replace(microsecond=0),
        attempts=0 if cause.shared else before + 1,
    )
    return replace(record, quarantine=quarantine, present=False)
