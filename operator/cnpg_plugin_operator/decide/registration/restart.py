"""When CloudNativePG is restarted: once for all plugins that become ready together.

A restarted CloudNativePG reads every published Service, so a restart is recorded for all of them. A
restart never interrupts a rollout that is in progress or stuck, nor a Cluster that is failing over,
switching over or upgrading.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from cnpg_plugin_operator.api.records import RestartRecord
from cnpg_plugin_operator.api.times import display_time
from cnpg_plugin_operator.decide import first
from cnpg_plugin_operator.decide.facts.cnpg import Announcement, CNPGFacts
from cnpg_plugin_operator.decide.facts.plugin import PodFacts
from cnpg_plugin_operator.decide.registration.obstacles import LOOK_AGAIN, Obstacle, find_obstacle
from cnpg_plugin_operator.decide.registration.restart_need import is_covered
from cnpg_plugin_operator.decide.registration.reverts import (
    MOST_ATTEMPTS,
    count_reverts,
    find_unfinished,
    is_carried_out,
)


class Action(StrEnum):
    """What to do about CloudNativePG now."""

    NOTHING = "Nothing"
    WAIT = "Wait"
    RESTART = "Restart"
    """Store `record` unless it is stored, then change the annotations of the pod template."""
    DELETE_POD = "DeletePod"
    """Delete `pod`: OLM would revert a change of the template."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How restarts are spaced; all are settings of the operator."""

    settle: timedelta = timedelta(seconds=10)
    """Wait until no other plugin has become ready for this long."""
    settle_max: timedelta = timedelta(seconds=60)
    """Maximum wait after the first plugin became ready."""
    cooldown: timedelta = timedelta(minutes=5)
    """Minimum time between two restarts."""


@dataclass(frozen=True, slots=True)
class RestartNeed:
    """A plugin's need of a restart, as its own pass declares it."""

    revision: str
    """What CloudNativePG has to read."""
    announced_at: datetime
    """Since when it could have read this."""
    is_lost: bool = False
    """Whether CloudNativePG's leader has read it but no longer uses it."""


@dataclass(frozen=True, slots=True)
class RestartInput:
    """The input of the decision."""

    cnpg: CNPGFacts
    needs: Mapping[str, RestartNeed]
    """The plugins that need a restart, by the name of their `CNPGPlugin`."""
    published: Mapping[str, Announcement]
    """Every published plugin of the namespace, by the same names: a restart serves all of them."""
    coming: int
    """How many other plugins of the namespace may be published soon."""
    pace: Pace
    now: datetime
    busy: tuple[str, ...] = ()
    """The Clusters that are failing over, switching over or upgrading."""
    sidecars_change: bool = False
    """Whether the set of sidecars is about to change, which restarts CloudNativePG as well."""


@dataclass(frozen=True, slots=True)
class RestartDecision:
    """An action with its reason, and when to decide again."""

    action: Action
    reason: str
    after: timedelta = field(default=timedelta(0), compare=False)
    record: RestartRecord | None = None
    """The record to write before the restart."""
    pod: str = ""
    """The pod to delete."""


def find_pause(cnpg: CNPGFacts, pace: Pace, now: datetime) -> Obstacle | None:
    """Return how long to wait after this operator's last roll of CloudNativePG, for any purpose.

    A time in the future, from a clock that was ahead, counts as none.
    """
    times = [at for at in (cnpg.restarted_at, cnpg.rolled_at) if at is not None]
    if cnpg.record is not None and (cnpg.olm or is_carried_out(cnpg.record, cnpg)):
        times.append(cnpg.record.at)
    last = max((at for at in times if at <= now), default=None)
    if last is None or last + pace.cooldown <= now:
        return None
    reason = f"CloudNativePG was last rolled at {display_time(last)}"
    return Obstacle(reason, last + pace.cooldown - now)


def decide_restart(given: RestartInput) -> RestartDecision:
    """Decide for a namespace in which at least one plugin needs CloudNativePG restarted."""
    return first(CHECKS, given) or _restart(given)


def find_uncovered(given: RestartInput) -> dict[str, RestartNeed]:
    """Return what the leader has not read and a restart in progress will not make it read."""
    return {
        name: need
        for name, need in given.needs.items()
        if need.is_lost or not is_covered(name, need, given.cnpg)
        if given.cnpg.restarted_for.get(name) != need.revision
        if count_reverts(name, need.revision, given.cnpg) < MOST_ATTEMPTS
    }


def _revisions(read: Mapping[str, Announcement | RestartNeed]) -> dict[str, str]:
    return {name: each.revision for name, each in sorted(read.items())}


def _nothing_left(given: RestartInput) -> RestartDecision | None:
    """Every announcement has been or will be read, or its restart was given up."""
    if find_uncovered(given):
        return None
    return RestartDecision(Action.NOTHING, "no plugin needs a restart")


def _obstructed(given: RestartInput) -> RestartDecision | None:
    """A rollout is in progress, or a Cluster is busy."""
    obstacle = find_obstacle(given.cnpg, given.busy)
    return RestartDecision(Action.WAIT, obstacle.reason, obstacle.after) if obstacle else None


def _sidecars_change(given: RestartInput) -> RestartDecision | None:
    """The set of sidecars is about to change; one roll serves both."""
    if not given.sidecars_change:
        return None
    return RestartDecision(
        Action.WAIT, "sidecars are about to change, which restarts it anyway", LOOK_AGAIN
    )


def _replacing_pods(given: RestartInput) -> RestartDecision | None:
    """Under OLM: the next pod that is older than the recorded restart, the leader last."""
    record = given.cnpg.record
    if not given.cnpg.olm or record is None:
        return None
    recorded = record.revisions
    if not any(recorded.get(name) == each.revision for name, each in find_uncovered(given).items()):
        return None
    old = [each.pod for each in given.cnpg.pods if each.pod.created <= record.at]
    if not old:
        return None
    return RestartDecision(
        Action.DELETE_POD,
        "OLM would revert a change of its pod template, so its pods are deleted one by one",
        pod=_next_pod(old, given.cnpg).name,
    )


def _next_pod(old: list[PodFacts], cnpg: CNPGFacts) -> PodFacts:
    """Choose the leader last, so that the Lease changes its holder only once."""
    leader = cnpg.leader.pod if cnpg.leader else ""
    return min(old, key=lambda pod: (pod.name == leader, pod.created, pod.name))


def _resuming(given: RestartInput) -> RestartDecision | None:
    """The operator died after it recorded a restart and before it requested it."""
    record = find_unfinished(_revisions(find_uncovered(given)), given.cnpg)
    if record is None:
        return None
    return RestartDecision(Action.RESTART, "a recorded restart is carried out", record=record)


def _cooling_down(given: RestartInput) -> RestartDecision | None:
    """The last restart was a short time ago."""
    pause = find_pause(given.cnpg, given.pace, given.now)
    return RestartDecision(Action.WAIT, pause.reason, pause.after) if pause is not None else None


def _settling(given: RestartInput) -> RestartDecision | None:
    """Another plugin has just become ready, or is about to; more may follow."""
    times = sorted(need.announced_at for need in find_uncovered(given).values())
    latest = times[0] + given.pace.settle_max
    due = latest if given.coming else min(times[-1] + given.pace.settle, latest)
    if due <= given.now:
        return None
    # Their number would change with each of them, and with it the statuses of all others.
    reason = "more plugins may become ready"
    return RestartDecision(Action.WAIT, reason, min(due - given.now, LOOK_AGAIN))


def _restart(given: RestartInput) -> RestartDecision:
    """Restart for everything that is published."""
    uncovered, cnpg = find_uncovered(given), given.cnpg
    read = _revisions({**given.published, **uncovered})
    reverts = {name: count_reverts(name, revision, cnpg) for name, revision in read.items()}
    return RestartDecision(
        Action.RESTART,
        f"{len(uncovered)} announced revisions are new to CloudNativePG",
        record=RestartRecord(
            at=given.now.replace(microsecond=0),
            revisions=read,
            attempts=1 + max((reverts[name] for name in uncovered), default=0),
            generation=cnpg.generation,
            given_up=frozenset(n for n, times in reverts.items() if times >= MOST_ATTEMPTS),
        ),
    )


CHECKS: Final = (
    _nothing_left,
    _obstructed,
    _sidecars_change,
    _replacing_pods,
    _resuming,
    _cooling_down,
    _settling,
)
"""In this order: whether there is anything to do, obstacles, unfinished work, reasons to wait."""
