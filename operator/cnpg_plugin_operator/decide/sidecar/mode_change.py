"""The Service that a plugin had in mode Standalone, once its sidecar is to take its place.

CloudNativePG keeps its connection when only the label is taken off a Service, and a process that
starts later never sees it (1.24.0 to 1.30.1). So the Service loses its label right before
CloudNativePG is rolled: the old leader goes on with it, the new one knows the socket alone. Pods
that may have seen the label are noted by name; no step depends on how long anything takes.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from cnpg_plugin_operator.decide.facts.cnpg import Announcement, CNPGFacts, CNPGPod
from cnpg_plugin_operator.desired.sidecars import read_sidecars

AGAIN: Final = "@service/"
"""In the revision of a restart for a plugin whose previous Service the leader has seen."""


class Sight(StrEnum):
    """What is done about the label of the old Service."""

    SHOW = "Show"
    """CloudNativePG is to find the plugin through it."""
    HIDE = "Hide"
    """A leader that starts with the sidecar must not find it."""
    KEEP = "Keep"


@dataclass(frozen=True, slots=True)
class FormerService:
    """The Service as it is."""

    name: str
    labelled: bool
    announced: bool
    """Whether it says what CloudNativePG is to dial."""
    seen_by: frozenset[str] | None
    """CloudNativePG's pods that were there when the label went; None where nothing tells."""


@dataclass(frozen=True, slots=True)
class MovingInput:
    """What is known of a plugin whose sidecar replaces its Service."""

    name: str
    """Of the `CNPGPlugin`."""
    socket: str
    service: FormerService
    cnpg: CNPGFacts

    @property
    def leading(self) -> CNPGPod | None:
        """The pod that leads, unless it is on its way out."""
        leader = self.cnpg.leader
        name = leader.pod if leader else ""
        return next((pod for pod in self.cnpg.current_pods if pod.pod.name == name), None)

    @property
    def proven(self) -> bool:
        """Whether the leader started with the sidecar, after that had answered."""
        pod = self.leading
        outcome = pod.verdicts.get(self.socket) if pod is not None else None
        return (
            pod is not None
            and self.name in pod.sidecars
            and pod.gate_ended is not None
            and outcome is not None
            and outcome.succeeded
        )


def decide_sight(given: MovingInput) -> Sight:
    """Decide whether CloudNativePG is to see the Service."""
    service, pod = given.service, given.leading
    if not service.announced:
        return Sight.KEEP
    wanted = Sight.KEEP
    if given.name not in read_sidecars(given.cnpg.template):
        wanted = Sight.SHOW
    elif pod is not None and given.name not in pod.sidecars:
        wanted = Sight.HIDE
    elif pod is not None and pod.gate_ended is not None and not given.proven:
        wanted = Sight.SHOW
    done = (wanted is Sight.SHOW) is service.labelled
    return Sight.KEEP if done else wanted


def may_leave(given: MovingInput) -> bool:
    """Whether the Service may be deleted: the leader uses the socket and never saw the label."""
    service, pod = given.service, given.leading
    unseen = not service.labelled and service.seen_by is not None
    return (
        given.proven and unseen and pod is not None and pod.pod.name not in (service.seen_by or ())
    )


def find_seen(given: MovingInput, revision: str) -> Announcement | None:
    """Find a leader that has the sidecar but took the Service, as if it came too early for it.

    One that was restarted for that very reason is left alone: another restart would not end it.
    """
    leader = given.cnpg.leader
    if leader is None or not given.proven or may_leave(given):
        return None
    if leader.restarted_for.get(given.name, "").startswith(f"{revision}{AGAIN}"):
        return None
    since = leader.since or leader.created
    return Announcement(f"{revision}{AGAIN}{leader.pod}", "", since, None, {})
