"""Whether CloudNativePG's pods run the desired sidecar, and their own reasons if not."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.conditions import Reason, Verdict, no, unknown, yes
from cnpg_plugin_operator.api.times import display_time, is_over
from cnpg_plugin_operator.decide import first
from cnpg_plugin_operator.decide.facts.cnpg import ClusterFacts, CNPGFacts, CNPGPod
from cnpg_plugin_operator.decide.registration.cluster_reports import list_names
from cnpg_plugin_operator.decide.registration.reverts import describe_other_writer
from cnpg_plugin_operator.decide.sidecar.quarantine import find_cause, find_symptom
from cnpg_plugin_operator.decide.sidecar.rollout import Roll, Rollout
from cnpg_plugin_operator.decide.sidecar.sidecar_set import Member, retry_time
from cnpg_plugin_operator.decide.workload.upgrade import await_approval
from cnpg_plugin_operator.desired.sidecars import read_sidecars


@dataclass(frozen=True, slots=True)
class SidecarInput:
    """What is known of one sidecar."""

    namespace: str
    name: str
    """Of the `CNPGPlugin`."""
    socket: str
    member: Member
    rollout: Rollout
    """What happens to the difference between the Deployment and the desired set."""
    pending: bool
    """Whether this sidecar is part of that difference."""
    cnpg: CNPGFacts
    clusters: tuple[ClusterFacts, ...]
    now: datetime
    registered: str = ""
    """The revision that the status already reports as registered."""

    @property
    def revision(self) -> str:
        """The revision that the Deployment should contain."""
        return self.member.applied.revision if self.member.applied else ""

    @property
    def was_restarted(self) -> bool:
        """Whether CloudNativePG was already restarted for this revision."""
        return self.cnpg.restarted_for.get(self.name) == self.revision

    @property
    def reporting_pod(self) -> CNPGPod | None:
        """The pod whose gate counts for this revision: the leading one.

        A registered revision stays registered while pods are replaced for other reasons: without a
        leader, the newest pod that has started counts.
        """
        name = self.cnpg.leader.pod if self.cnpg.leader else ""
        leading = [pod for pod in self.pods if pod.pod.name == name]
        started = [pod for pod in self.pods if pod.gate_ended is not None]
        known = bool(self.revision) and self.registered == self.revision
        return next(iter(leading or (reversed(started) if known else ())), None)

    @property
    def pods(self) -> tuple[CNPGPod, ...]:
        """The pods that were started with this revision."""
        return tuple(
            pod
            for pod in self.cnpg.current_pods
            if self.revision and pod.sidecars.get(self.name) == self.revision
        )


def decide_sidecar(given: SidecarInput) -> Verdict:
    """Evaluate `Available`: whether CloudNativePG's pods run the desired sidecar."""
    return first(CHECKS, given) or _running(given)


def _quarantined(given: SidecarInput) -> Verdict | None:
    """It is in quarantine, because CloudNativePG could not start with it, or is tried again now."""
    quarantine = given.member.record.quarantine
    if quarantine is None or not is_over(quarantine.at, given.now):
        return None
    if quarantine.attempts < 1:
        return no(
            quarantine.reason,
            f"{quarantine.message} It was removed from Deployment {given.cnpg.deployment} with "
            "all sidecars that may be the cause; each is tried again alone.",
        )
    again = display_time(retry_time(given.member.record))
    return no(
        quarantine.reason,
        f"{quarantine.message} It was removed from Deployment {given.cnpg.deployment}, which "
        f"could not start with it; it is tried again once its spec changes, else at {again}.",
    )


def _refused(given: SidecarInput) -> Verdict | None:
    """The API server rejects the Deployment with it."""
    return given.member.refused


def _reverted(given: SidecarInput) -> Verdict | None:
    """Another party removes it; another attempt would not succeed either."""
    if not given.member.reverted:
        return None
    cnpg, record = given.cnpg, given.member.record
    return no(
        Reason.SIDECAR_REVERTED,
        f"The manager of Deployment {cnpg.deployment} removed the sidecar {record.reverts} "
        f"times{describe_other_writer(cnpg)}. Let it ignore what field manager "
        f"{names.managers.SIDECARS} owns, then change the spec of this resource; "
        "or use mode: Standalone.",
    )


def _awaiting(given: SidecarInput) -> Verdict | None:
    """A change that affects Clusters waits for approval."""
    token = given.member.awaiting
    if not token:
        return None
    return await_approval(
        given.namespace,
        given.name,
        f"The sidecar will change; Clusters use it ({list_names(given.clusters)}), and "
        "CloudNativePG may roll the pods that it injects into.",
        token,
    )


def _pending(given: SidecarInput) -> Verdict | None:
    """The Deployment does not contain it yet."""
    if not given.pending:
        return None
    target = f"Deployment {given.cnpg.deployment}"
    if given.rollout.action is Roll.FORBIDDEN:
        return no(
            Reason.RESTART_FORBIDDEN,
            f"{target} has to be rolled to get the sidecar, but cnpg.restartPolicy is Never: set "
            "it to IfNeeded for as long as that takes.",
        )
    waits = f" It waits: {given.rollout.reason}." if given.rollout.reason else ""
    return unknown(Reason.SIDECAR_PENDING, f"{target} will get the sidecar.{waits}")


def _resting(given: SidecarInput) -> Verdict | None:
    """CloudNativePG is scaled down."""
    if given.cnpg.replicas:
        return None
    return no(
        Reason.CNPG_UNAVAILABLE,
        f"Deployment {given.cnpg.deployment} of CloudNativePG is scaled to 0.",
    )


def _failing(given: SidecarInput) -> Verdict | None:
    """The newest pod reports its problem."""
    for pod in reversed(given.pods):
        container = pod.container(names.sidecars.container(given.name))
        if container is not None and not pod.pod.ready and (cause := find_cause(pod, container)):
            return no(*cause)
    return None


def _blocking(given: SidecarInput) -> Verdict | None:
    """CloudNativePG's newest pod contains it, and makes no progress."""
    present = read_sidecars(given.cnpg.template).get(given.name)
    symptom = find_symptom(given.cnpg) if present == given.revision else None
    if symptom is None or given.reporting_pod is not None:
        return None
    if symptom.certain or given.now >= symptom.due:
        return no(symptom.reason, symptom.message)
    return None


def _rolling(given: SidecarInput) -> Verdict | None:
    """CloudNativePG's new pods are being started."""
    cnpg = given.cnpg
    if given.reporting_pod is not None:
        return None
    words = cnpg.stuck or "its new pods are being started"
    if not cnpg.rolling:
        words = "its new pod does not lead yet"
    return unknown(Reason.ROLLOUT_IN_PROGRESS, f"Deployment {cnpg.deployment}: {words}.")


def _running(given: SidecarInput) -> Verdict:
    """All pods run it."""
    # Without numbers or names of pods: the message stays the same while CloudNativePG's pods are
    # replaced.
    return yes(Reason.AVAILABLE, f"Deployment {given.cnpg.deployment} runs the sidecar.")


CHECKS: Final = (
    _quarantined,
    _refused,
    _reverted,
    _awaiting,
    _pending,
    _resting,
    _failing,
    _blocking,
    _rolling,
)
"""In this order: what keeps it out, what it waits for, the state of its pods."""
