"""The Service that a plugin had in mode Standalone, while a sidecar replaces it.

CloudNativePG keeps its connection when only the label of a Service is removed, and a process that
starts later never sees the Service (1.24.0 to 1.30.1). So the Service loses its label right before
CloudNativePG is rolled: the old leader keeps using it, the new one knows only the socket. Pods that
may have seen the label are recorded by name; no step depends on timing.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from cnpg_plugin_operator.decide.facts.cnpg import Announcement, CNPGFacts, CNPGPod
from cnpg_plugin_operator.desired.sidecars import read_sidecars

AGAIN: Final = "@service/"
"""In the revision of a restart for a plugin whose previous Service the leader has seen."""


class Visibility(StrEnum):
    """What to do with the label of the old Service."""

    SHOW = "Show"
    """CloudNativePG should find the plugin through it, and there is no record of who has."""
    HIDE = "Hide"
    """A leader that starts with the sidecar must not find the plugin through it."""
    KEEP = "Keep"


@dataclass(frozen=True, slots=True)
class PreviousService:
    """The old Service, as it was read."""

    name: str
    labelled: bool
    announced: bool
    """Whether it has the annotations that CloudNativePG reads."""
    seen_by: frozenset[str] | None
    """CloudNativePG's pods that existed when the label was removed; None where that is unknown."""


@dataclass(frozen=True, slots=True)
class MovingInput:
    """What is known of a plugin whose sidecar replaces its Service."""

    name: str
    """Of the `CNPGPlugin`."""
    socket: str
    service: PreviousService
    cnpg: CNPGFacts

    @property
    def leading(self) -> CNPGPod | None:
        """The leading pod, unless it is terminating."""
        leader = self.cnpg.leader
        name = leader.pod if leader else ""
        return next((pod for pod in self.cnpg.current_pods if pod.pod.name == name), None)

    @property
    def proven(self) -> bool:
        """Whether the leader started with the sidecar, after the sidecar had answered."""
        pod = self.leading
        outcome = pod.verdicts.get(self.socket) if pod is not None else None
        return (
            pod is not None
            and self.name in pod.sidecars
            and pod.gate_ended is not None
            and outcome is not None
            and outcome.succeeded
        )


def decide_visibility(given: MovingInput) -> Visibility:
    """Decide whether CloudNativePG should see the Service."""
    service, pod = given.service, given.leading
    placed = given.name in read_sidecars(given.cnpg.template)
    if placed and not service.labelled and service.seen_by is None:
        # A process died in between, or it never had the label: later pods cannot have seen it.
        return Visibility.HIDE
    if not service.announced:
        return Visibility.KEEP
    wanted = Visibility.KEEP
    if not placed:
        wanted = Visibility.SHOW
    elif pod is not None and given.name not in pod.sidecars:
        wanted = Visibility.HIDE
    elif pod is not None and pod.gate_ended is not None and not given.proven:
        wanted = Visibility.SHOW
    if wanted is Visibility.KEEP and service.labelled and service.seen_by is not None:
        # Another client set the label again: the record says nothing of who has seen it since.
        return Visibility.SHOW
    done = (wanted is Visibility.SHOW) is service.labelled
    return Visibility.KEEP if done else wanted


def may_leave(given: MovingInput) -> bool:
    """Whether the Service may be deleted: the leader uses the socket and never saw the label."""
    service, pod = given.service, given.leading
    unseen = not service.labelled and service.seen_by is not None
    return (
        given.proven and unseen and pod is not None and pod.pod.name not in (service.seen_by or ())
    )


def was_restarted(given: MovingInput, revision: str) -> bool:
    """Whether the leader was restarted because its predecessor used the Service."""
    leader = given.cnpg.leader
    record = leader.restarted_for.get(given.name, "") if leader is not None else ""
    return record.startswith(f"{revision}{AGAIN}")


def find_seen(given: MovingInput, revision: str) -> Announcement | None:
    """Find a leader that has the sidecar but uses the Service, as if it had started too early.

    A leader that was restarted for this reason is left alone: another restart would not help.
    """
    leader = given.cnpg.leader
    if leader is None or not given.proven or may_leave(given):
        return None
    if was_restarted(given, revision):
        return None
    since = leader.since or leader.created
    return Announcement(f"{revision}{AGAIN}{leader.pod}", "", since, None, {})
