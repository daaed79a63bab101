"""Which sidecars keep CloudNativePG from starting, and so are quarantined.

Native sidecars start before CloudNativePG's own container: one that cannot be created stops the
whole pod, and one that stays down keeps it unready. Others do so indirectly: they use a port of
CloudNativePG, or request more than any node has. So any problem of a new pod is attributed to the
last change, unless it is clearly CloudNativePG's own.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.conditions import Reason
from cnpg_plugin_operator.decide.facts.cnpg import CNPGFacts, CNPGPod
from cnpg_plugin_operator.decide.facts.plugin import ContainerFacts
from cnpg_plugin_operator.decide.sidecar.messages import name_evicted, narrow
from cnpg_plugin_operator.decide.workload.workload import (
    IMAGE_REASONS,
    describe_missing_image,
    name_ending,
    stays_down,
)
from cnpg_plugin_operator.desired.sidecars import read_sidecars

QUARANTINE_AFTER: Final = timedelta(seconds=20)
"""How long a container may keep CloudNativePG from starting before it is quarantined."""

QUARANTINE_SPARE_AFTER: Final = timedelta(seconds=60)
"""The same while an older pod still serves: a temporary problem may resolve itself."""

READY_WITHIN: Final = timedelta(seconds=45)
"""Time after the end of the gate within which CloudNativePG is ready: its startup probe allows 30 s
(1.25.0 to 1.30.0)."""

TRUST_PROVEN_FOR: Final = timedelta(minutes=2)
"""Additional time where all sidecars have worked before: the cause is then usually elsewhere, but a
working CloudNativePG matters more."""

SETTLED: Final = timedelta(seconds=10)
"""A pod that has been ready this long proves its sidecars; a crashing one is ready only briefly
each time."""

RECENT: Final = timedelta(minutes=4)
"""How long an eviction counts: less than the first pause before another attempt."""

LOOPS_AFTER: Final = 2
"""Restarts with a back-off by the kubelet after which a problem counts as permanent."""

LOOK_WHILE_BLOCKED: Final = timedelta(seconds=5)
"""Interval of the checks while CloudNativePG's newest pod is not ready."""


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a sidecar is quarantined."""

    reason: Reason
    message: str
    shared: bool = False
    """Whether others are quarantined for the same problem, although only one may be its cause."""


@dataclass(frozen=True, slots=True)
class History:
    """What the status of a resource records about its sidecar."""

    registered: str = ""
    """The revision that CloudNativePG has used."""
    quarantined_at: datetime | None = None
    """When it was quarantined last; None where it has worked since."""


@dataclass(frozen=True, slots=True)
class Blockade:
    """How sidecars affect CloudNativePG's rollout."""

    causes: Mapping[str, Cause] = field(default_factory=dict)
    """The sidecars to quarantine now."""
    suspects: frozenset[str] = frozenset()
    """Sidecars that may be the reason why CloudNativePG's pod is not ready, from the first moment.
    Their change or removal waits for nothing."""


@dataclass(frozen=True, slots=True)
class Symptom:
    """The problem of the newest pod, or of its creation."""

    reason: Reason
    message: str
    due: datetime
    """When it starts to count."""
    certain: bool = False
    """Whether the API server, the scheduler or the kubelet reports it, rather than a timeout."""
    own: bool = False
    """Whether clearly no sidecar causes it."""


def is_blocked(cnpg: CNPGFacts) -> bool:
    """Whether CloudNativePG's newest pod is not ready, or cannot be created."""
    if not cnpg.replicas or cnpg.paused:
        return False
    return bool(cnpg.refused) or (cnpg.newest is not None and not cnpg.newest.pod.ready)


def find_blockade(cnpg: CNPGFacts, histories: Mapping[str, History], now: datetime) -> Blockade:
    """Name the sidecars that keep CloudNativePG from starting, each with the cause."""
    standing = read_sidecars(cnpg.template)
    evicted = dict(_find_evicted(cnpg, standing, histories, now))
    if not standing or not is_blocked(cnpg):
        return Blockade(evicted)
    certain = _find_certain(cnpg, standing)
    unproven = _find_unproven(cnpg, standing, histories, now)
    suspects = unproven | frozenset(certain) or frozenset(standing)
    due = quarantine_time(cnpg)
    if evicted or (certain and (_loops(cnpg, certain) or (due is not None and now >= due))):
        return Blockade({**certain, **evicted}, suspects)
    return Blockade(_suspect(cnpg, standing, unproven, now) if not certain else {}, suspects)


def _find_evicted(
    cnpg: CNPGFacts,
    standing: Mapping[str, str],
    histories: Mapping[str, History],
    now: datetime,
) -> Iterator[tuple[str, Cause]]:
    """Find the sidecars that caused evictions since their last quarantine."""
    for eviction in cnpg.evictions:
        for name in name_evicted(eviction, cnpg.template):
            quarantined_at = histories.get(name, History()).quarantined_at
            known = quarantined_at is not None and eviction.created <= quarantined_at
            same = eviction.sidecars[name] == standing.get(name)
            if same and not known and now - eviction.ended < RECENT:
                words = eviction.message.strip().rstrip(".")
                yield name, Cause(Reason.EVICTED, f"Pod {eviction.pod} was evicted: {words}.")


def _find_certain(cnpg: CNPGFacts, standing: Mapping[str, str]) -> dict[str, Cause]:
    """Name the sidecars that keep exiting, or cannot be created.

    If the gate itself cannot be created, all sidecars are the cause.
    """
    newest = cnpg.newest
    if newest is None or newest.pod.ready:
        return {}
    here = [name for name, revision in newest.sidecars.items() if standing.get(name) == revision]
    found = {}
    for name in here:
        container = newest.container(names.sidecars.container(name))
        if container is not None and (cause := find_cause(newest, container)):
            found[name] = Cause(*cause)
    gate = newest.container(names.sidecars.GATE)
    if not found and gate is not None and (cause := find_cause(newest, gate)):
        return dict.fromkeys(here, Cause(*cause))
    return found


def _loops(cnpg: CNPGFacts, certain: Collection[str]) -> bool:
    """Whether a sidecar crashes repeatedly, and all pods contain it."""
    newest = cnpg.newest
    if newest is None or _has_spare(cnpg, newest):
        return False
    found = (newest.container(names.sidecars.container(name)) for name in certain)
    return any(
        c is not None and c.waiting_reason == "CrashLoopBackOff" and c.restarts >= LOOPS_AFTER
        for c in found
    )


def _has_spare(cnpg: CNPGFacts, newest: CNPGPod) -> bool:
    """Whether an older pod, without the change, still serves."""
    return cnpg.available and any(pod.sidecars != newest.sidecars for pod in cnpg.current_pods)


def quarantine_time(cnpg: CNPGFacts) -> datetime | None:
    """Return when a sidecar that keeps the newest pod from starting is quarantined.

    While an older pod still serves, there is time, but only until the gate has ended. From then on
    the new pod is ready whenever the crashing container runs; a ready time longer than
    `MIN_READY_SECONDS` ends the older pod.
    """
    newest = cnpg.newest
    if newest is None:
        return None
    if _has_spare(cnpg, newest):
        return newest.gate_ended or newest.pod.created + QUARANTINE_SPARE_AFTER
    return (
        max(newest.pod.created, newest.pod.unready_since or newest.pod.created) + QUARANTINE_AFTER
    )


def find_cause(pod: CNPGPod, container: ContainerFacts) -> tuple[Reason, str] | None:
    """Return why a container cannot be created, or keeps exiting; None where neither applies."""
    if container.waiting_reason in IMAGE_REASONS:
        return Reason.IMAGE_PULL_ERROR, describe_missing_image(pod.pod, container)
    if stays_down(container):
        return Reason.CRASH_LOOP, name_ending(pod.pod, container)
    return None


def _find_unproven(
    cnpg: CNPGFacts,
    standing: Mapping[str, str],
    histories: Mapping[str, History],
    now: datetime,
) -> frozenset[str]:
    """Name the sidecars whose revision was never observed in a ready pod."""
    ready = [pod for pod in cnpg.current_pods if is_settled(pod, now)]
    unknown = History()
    return frozenset(
        name
        for name, revision in standing.items()
        if not any(pod.sidecars.get(name) == revision for pod in ready)
        and (
            (known := histories.get(name, unknown)).registered != revision
            or known.quarantined_at is not None
        )
    )


def is_settled(pod: CNPGPod, now: datetime) -> bool:
    """Whether a pod has been ready for long enough."""
    return pod.pod.ready and (pod.ready_since is None or now - pod.ready_since >= SETTLED)


def _suspect(
    cnpg: CNPGFacts, standing: Mapping[str, str], unproven: frozenset[str], now: datetime
) -> dict[str, Cause]:
    """Attribute the newest pod's problem to sidecars that have not worked yet, finally to all."""
    symptom = find_symptom(cnpg)
    if symptom is None or symptom.own or now < symptom.due:
        return {}
    if not unproven and now < symptom.due + TRUST_PROVEN_FOR:
        return {}
    chosen = narrow(unproven or frozenset(standing), symptom.reason, symptom.message, cnpg.template)
    cause = Cause(symptom.reason, symptom.message, shared=len(chosen) > 1)
    return dict.fromkeys(chosen, cause)


def find_symptom(cnpg: CNPGFacts) -> Symptom | None:
    """Return the problem of the newest pod, or of its creation; None while it just starts."""
    newest = cnpg.newest
    if cnpg.refused:
        since = cnpg.refused_since or datetime.min.replace(tzinfo=UTC)
        patience = QUARANTINE_SPARE_AFTER if cnpg.available else QUARANTINE_AFTER
        said = f"Pods of Deployment {cnpg.deployment} are refused: {cnpg.refused.rstrip('.')}."
        return Symptom(Reason.PODS_REFUSED, said, since + patience, certain=True)
    if newest is None or newest.pod.ready or newest.sidecars != read_sidecars(cnpg.template):
        return None
    if newest.gate_ended is not None:
        return _find_late_symptom(newest, newest.gate_ended)
    return None if newest.gate_started else _find_early_symptom(cnpg, newest)


def _find_early_symptom(cnpg: CNPGFacts, newest: CNPGPod) -> Symptom:
    """Return why a pod's first containers were not started."""
    pod = newest.pod
    due = quarantine_time(cnpg) or pod.created + QUARANTINE_SPARE_AFTER
    if pod.unschedulable:
        said = f"Pod {pod.name} cannot be scheduled: {pod.unschedulable.rstrip('.')}."
        return Symptom(Reason.UNSCHEDULABLE, said, due, certain=True)
    if newest.unmounted:
        said = f"A volume of pod {pod.name} cannot be mounted: {newest.unmounted.rstrip('.')}."
        return Symptom(Reason.MOUNT_FAILED, said, due, certain=True)
    said = f"Pod {pod.name} did not start its containers within {_seconds(QUARANTINE_SPARE_AFTER)}."
    return Symptom(Reason.CNPG_BLOCKED, said, pod.created + QUARANTINE_SPARE_AFTER)


def _find_late_symptom(newest: CNPGPod, gate_ended: datetime) -> Symptom | None:
    """Return why a pod is not ready although its sidecars run."""
    since = max(gate_ended, newest.pod.unready_since or gate_ended)
    manager = newest.container(names.cnpg.CONTAINER)
    if manager is None or manager.ready:
        return None
    if manager.waiting_reason in IMAGE_REASONS:
        said = describe_missing_image(newest.pod, manager)
        return Symptom(Reason.IMAGE_PULL_ERROR, said, since, certain=True, own=True)
    if stays_down(manager):
        said = f"CloudNativePG keeps exiting beside it. {name_ending(newest.pod, manager)}"
        return Symptom(Reason.CNPG_BLOCKED, said, since + QUARANTINE_AFTER, certain=True)
    said = (
        f"CloudNativePG does not become ready beside it: container {manager.name} of pod "
        f"{newest.pod.name} was not ready within {_seconds(READY_WITHIN)}."
    )
    return Symptom(Reason.CNPG_BLOCKED, said, since + READY_WITHIN)


def _seconds(time: timedelta) -> str:
    return f"{time.total_seconds():g} s"
