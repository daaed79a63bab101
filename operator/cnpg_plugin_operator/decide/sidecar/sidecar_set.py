"""Which plugins' sidecars CloudNativePG's Deployment is to hold, decided for all of them at once.

All sidecars of a namespace are one apply, so each pass composes the same set, from the same facts,
in every pass. What must not be changed now stays as it is; bad input loses nothing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from cnpg_plugin_operator.api.conditions import Reason, Status, Type, Verdict, find_condition
from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.api.records import Held, SidecarRecord
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
"""Times that another party removes a sidecar before it is left to people. Each costs CloudNativePG
two rolls."""

FIRST_RETRY: Final = timedelta(minutes=5)
"""After which a sidecar that was taken out is tried again; doubled each time. A failing try leaves
CloudNativePG's previous pod in charge."""

LAST_RETRY: Final = timedelta(hours=6)

TRIAL_AFTER: Final = timedelta(seconds=30)
"""After which one that was taken out together with others is tried again, alone."""


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
    """Whether its sidecar is to go: it is deleted, or has become reachable otherwise."""
    deleting: bool = False
    """Whether it is being deleted; while Clusters use the plugin, its sidecar stays."""
    refused: Mapping[str, Verdict] = field(default_factory=dict)
    """Why the API server does not let the sidecar in, by revision."""
    used: bool = False
    """Whether Clusters use the plugin."""
    approval: str = ""
    """The change that a person approved."""


@dataclass(frozen=True, slots=True)
class Member:
    """What becomes of one candidate."""

    record: SidecarRecord
    """Brought up to date."""
    wanted: Sidecar | None = None
    """As the spec wants it."""
    applied: Sidecar | None = None
    """As it is to stand in the Deployment now; None: not at all."""
    reverted: bool = False
    """Whether it is left to people, for it was taken out again and again."""
    awaiting: str = ""
    """The token of a change that waits for approval, or empty."""
    held: bool = False
    """Whether it stays out for a while, for it kept CloudNativePG from starting."""
    refused: Verdict | None = None
    """Why the API server does not let it in."""


@dataclass(frozen=True, slots=True)
class SidecarSet:
    """All members, and the pod template that follows."""

    members: Mapping[str, Member]
    template: dict[str, Any] = field(repr=False)
    """This operator's part of it."""
    blockade: Blockade = field(repr=False)
    """What sidecars do to CloudNativePG's rollout."""
    drift: str | None
    """The first field in which the Deployment differs, or None."""
    changed: frozenset[str]
    """The resources whose sidecars are to come, change or go."""
    forbidden: bool
    """Whether no resource that wants a change allows a restart."""

    @property
    def unblocking(self) -> bool:
        """Whether a change is about what keeps CloudNativePG's rollout from completing."""
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
        # What is only kept has no record to be quarantined in; and a deletion does not wait.
        kept = name in blockade.causes and member.applied is not member.wanted
        if kept or (known[name].deleting and name in blockade.suspects):
            members[name] = replace(member, applied=None)
    applied = [member.applied for member in members.values() if member.applied is not None]
    template = build_template(applied, place, gate, cnpg.template)
    changed = _find_changed(applied, cnpg.template)
    drift = find_template_drift(template, cnpg.template)
    # What belongs to all of them (the gate, the mount) is everybody's to have put back.
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
    """Keep out what was taken out and is due again, all but one: so it shows which one it was.

    One that may not roll CloudNativePG comes last, for it may never get its turn.
    """
    trials = {
        name: member
        for name, member in members.items()
        if member.applied is not None
        and member.applied is member.wanted
        and (held := member.record.held) is not None
        and held.revision == member.applied.revision
    }
    standing = read_sidecars(cnpg.template)
    running = {
        n
        for n, member in trials.items()
        if member.record.held and standing.get(n) == member.record.held.revision
    }
    order = sorted(
        (known[n].policy is RestartPolicy.NEVER, _times(member), n) for n, member in trials.items()
    )
    chosen = running or {name for _, _, name in order[:1]}
    return {n: replace(s, applied=None, held=True) for n, s in trials.items() if n not in chosen}


def _times(member: Member) -> int:
    return member.record.held.times if member.record.held is not None else 0


def _allows(candidate: Candidate | None, member: Member | None) -> bool:
    """Whether a change of this sidecar may roll CloudNativePG; a removal always may."""
    if candidate is None or member is None or member.applied is None:
        return True
    return candidate.policy is not RestartPolicy.NEVER


def _find_changed(applied: Iterable[Sidecar], live: Mapping[str, Any]) -> frozenset[str]:
    """Name what differs, one by one; what others edited counts as well."""
    wanted = {sidecar.name: sidecar for sidecar in applied}
    standing = read_sidecars(live)
    found = {name for name in standing if name not in wanted}
    for name, sidecar in wanted.items():
        if standing.get(name) != sidecar.revision or not is_intact(sidecar, live):
            found.add(name)
    return frozenset(found)


def is_intact(sidecar: Sidecar, live: Mapping[str, Any]) -> bool:
    """Whether a pod template holds a sidecar as it was applied."""
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
    """Let the wanted sidecar in, unless something keeps it as it is, or out."""
    wanted, record = member.wanted, member.record
    if wanted is None or plugin.spec.suspend:
        return replace(member, applied=standing)
    if record.reverts >= MOST_REVERTS:
        return replace(member, applied=standing, reverted=True)
    if is_held(record, wanted.revision, now):
        return replace(member, applied=None, held=True)
    token = wanted.revision[:TOKEN_DIGITS]
    manual = plugin.spec.upgrade_policy is UpgradePolicy.MANUAL and candidate.used
    changes = standing is not None and standing.revision != wanted.revision
    if manual and changes and candidate.approval != token:
        return replace(member, applied=standing, awaiting=token)
    return member


def bring_up_to_date(
    record: SidecarRecord, generation: int, wanted: Sidecar, live: Mapping[str, Any]
) -> SidecarRecord:
    """Compare what was seen before with what is there; what others removed is counted."""
    revision = read_sidecars(live).get(wanted.name, "")
    if record.generation != generation:
        record = replace(record, generation=generation, reverts=0)
    if record.held is not None and record.held.revision != wanted.revision:
        record = replace(record, held=None)
    if record.held is not None:
        # Taken out by this operator, or about to be: that is no revert.
        return replace(record, present=False)
    lost = not revision or (revision == wanted.revision and not is_intact(wanted, live))
    if record.present and lost:
        return replace(record, present=False, reverts=record.reverts + 1)
    if not lost:
        return replace(record, present=True, revision=revision)
    return record


def is_held(record: SidecarRecord, revision: str, now: datetime) -> bool:
    """Whether a sidecar that kept CloudNativePG from starting stays out for now."""
    held = record.held
    return held is not None and held.revision == revision and _keeps_out(record, now)


def _keeps_out(record: SidecarRecord, now: datetime) -> bool:
    return record.held is not None and is_over(record.held.at, now) and now < retry_time(record)


def retry_time(record: SidecarRecord) -> datetime:
    """Say when a sidecar that was taken out is tried again."""
    if record.held is None:
        raise ValueError("nothing was taken out")
    if record.held.times < 1:
        return record.held.at + TRIAL_AFTER
    return record.held.at + min(FIRST_RETRY * (1 << min(record.held.times - 1, 16)), LAST_RETRY)


def is_leaving(body: Mapping[str, Any], plugin: Plugin | None) -> bool:
    """Whether a resource's own status says that its sidecar has nothing left to do.

    It is deleted and nothing holds that up; or it is reached through a Service by now.
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


def record_trouble(
    name: str, member: Member, cause: Cause | None, cnpg: CNPGFacts, now: datetime
) -> SidecarRecord:
    """Note that a sidecar has to be taken out, or that it has proven itself since it was."""
    record, wanted = member.record, member.wanted
    standing = read_sidecars(cnpg.template).get(name)
    if wanted is None or standing != wanted.revision or member.held:
        return record
    if cause is None:
        newest = cnpg.newest
        proven = (
            newest is not None
            and newest.sidecars.get(name) == standing
            and newest.gate_ended is not None
            and is_settled(newest, now)
        )
        return replace(record, held=None) if proven else record
    # Of several that are taken out together, each is tried alone before it counts as its own fault.
    times = 0 if cause.shared else 1 + (record.held.times if record.held is not None else 0)
    held = Held(standing, cause.reason, cause.message, now.replace(microsecond=0), times)
    return replace(record, held=held, present=False)
