"""Whether the workload runs the expected revision, and if not, why, as its own pods report it.

Many plugins listen only on the pod that holds a leader election Lease. Where a pod serves as the
holder, the others of its Deployment wait by design: such a *standby* is never ready, and the
Deployment never complete, although the plugin is available.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cnpg_plugin_operator.api.conditions import Reason, Verdict, no, unknown, yes
from cnpg_plugin_operator.api.times import display_time
from cnpg_plugin_operator.decide import first
from cnpg_plugin_operator.decide.facts.plugin import (
    ContainerFacts,
    LeaseFacts,
    PodFacts,
    WorkloadFacts,
)

IMAGE_REASONS: Final = frozenset(
    {
        "ImagePullBackOff",
        "ErrImagePull",
        "InvalidImageName",
        "ErrImageNeverPull",
        "ImageInspectError",
        "RegistryUnavailable",
        "SignatureValidationFailed",
    }
)
"""The kubelet's reasons for an image that cannot be pulled."""

FAILED_REASONS: Final = frozenset(
    {
        "CrashLoopBackOff",
        "RunContainerError",
        "CreateContainerError",
        "CreateContainerConfigError",
        "StartError",
    }
)
"""The kubelet's reasons for a container that keeps exiting or cannot be created."""

EXIT_MESSAGE_LIMIT: Final = 300
"""Maximum characters of a container's termination message in a condition."""

_NOT_ROOT: Final = (
    " Set spec.securityContext.runAsUser to a number other than 0, or use an image with a numeric "
    "user that is not root."
)
REMEDIES: Final = (("image will run as root", _NOT_ROOT), ("has non-numeric user", _NOT_ROOT))
"""What to do about kubelet messages that do not say it (pkg/kubelet/kuberuntime,
security_context_others.go, 1.29 to 1.36)."""

LISTEN_GRACE: Final = timedelta(seconds=8)
"""How long a container may run before it is reported for not listening. This only changes the
reason: a plugin that listens later still becomes available."""

MOUNT_GRACE: Final = timedelta(seconds=10)
"""How long a pod may be without an address, which it gets once its volumes are mounted, before
the reason is looked up for a volume that cannot be."""


@dataclass(frozen=True, slots=True)
class WorkloadInput:
    """The input of the checks."""

    namespace: str
    name: str
    port: int
    facts: WorkloadFacts
    now: datetime
    leases: tuple[LeaseFacts, ...] = ()
    """The Leases that plugins' pods hold; read where `may_wait_for_lease`."""
    unmounted: str = ""
    """The kubelet's message about a volume of `unstarted`, which it cannot mount, or empty."""

    @property
    def pods(self) -> list[PodFacts]:
        """The pods that are not being deleted, newest (of the newest revision) first."""
        return [pod for pod in reversed(self.facts.pods) if not pod.deleting]

    @property
    def waiting(self) -> list[PodFacts]:
        """The pods that run and are not ready, and seem not to exit."""
        return [pod for pod in self.pods if not pod.ready and _keeps_running(pod, self.now)]

    @property
    def unstarted(self) -> PodFacts | None:
        """The newest pod that may wait for a volume: it has no address after a while."""
        return next(
            (
                pod
                for pod in self.pods
                if not (pod.ready or pod.address or pod.unschedulable)
                and self.now - pod.created >= MOUNT_GRACE
            ),
            None,
        )

    @property
    def held(self) -> dict[str, str]:
        """The Leases that the plugin's own pods hold, by pod."""
        mine = [lease for lease in self.leases if lease.plugin == self.name]
        return {
            pod: " and ".join(lease.name for lease in mine if lease.pod == pod)
            for pod in sorted({lease.pod for lease in mine})
        }

    @property
    def leader(self) -> PodFacts | None:
        """The pod that serves as the holder of a Lease."""
        return next((pod for pod in self.pods if pod.ready and pod.name in self.held), None)


def decide_workload(given: WorkloadInput) -> Verdict:
    """Judge the Deployment and its newest pods."""
    return first(CHECKS, given) or _rolling(given)


def may_wait_for_lease(given: WorkloadInput) -> bool:
    """Whether a pod may not listen because another one holds the Lease that it waits for."""
    serves = any(pod.ready for pod in given.pods)
    return bool(serves and given.waiting) or _not_listening(given) is not None


def _available(given: WorkloadInput) -> Verdict | None:
    """All replicas are updated and available, and none of a previous revision is left."""
    facts = given.facts
    complete = facts.updated == facts.available == facts.replicas == facts.wanted
    if facts.exists and facts.up_to_date and complete:
        return yes(
            Reason.AVAILABLE,
            f"Deployment {given.name} runs {facts.available} of {facts.wanted} replicas.",
        )
    return None


def _led(given: WorkloadInput) -> Verdict | None:
    """One pod serves as the leader, and all others wait for its Lease."""
    facts, leader, waiting = given.facts, given.leader, given.waiting
    complete = facts.updated == facts.replicas == facts.wanted
    if leader is None or not (facts.up_to_date and complete):
        return None
    serving = [pod for pod in given.pods if pod.ready]
    if not waiting or len(serving) + len(waiting) != facts.wanted:
        return None
    if not facts.available:
        return _rolling(given)  # The leader has to be ready for `minReadySeconds`.
    standby = ", ".join(sorted(pod.name for pod in waiting))
    return yes(
        Reason.AVAILABLE,
        f"Deployment {given.name} runs {facts.wanted} replicas: pod {leader.name} serves, as the "
        f"holder of Lease {given.held[leader.name]}; standby, which waits for that Lease: "
        f"{standby}.",
    )


def _kept_by_previous(given: WorkloadInput) -> Verdict | None:
    """New pods wait for a Lease that a pod of the previous revision holds until they are ready."""
    leader = given.leader
    if leader is None or given.facts.updated == given.facts.replicas:
        return None
    for pod, _, _ in _find_silent(given):
        if pod.created > leader.created:
            return no(
                Reason.NOT_LISTENING,
                f"Pod {pod.name} of the new revision waits for Lease {given.held[leader.name]}, "
                f"which pod {leader.name} holds until a new pod is ready: set spec.strategy.type "
                "to Recreate, and remove spec.strategy.rollingUpdate.",
            )
    return None


def _refused(given: WorkloadInput) -> Verdict | None:
    """The API server refuses to create pods."""
    if given.facts.refused:
        return no(
            Reason.PODS_REFUSED,
            f"The API server refuses pods of Deployment {given.name}: {given.facts.refused}",
        )
    return None


def _image_pull_failed(given: WorkloadInput) -> Verdict | None:
    """An image cannot be pulled."""
    for pod, container in _containers(given):
        if container.waiting_reason in IMAGE_REASONS:
            return no(Reason.IMAGE_PULL_ERROR, describe_missing_image(pod, container))
    return None


def describe_missing_image(pod: PodFacts, container: ContainerFacts) -> str:
    """Explain why an image cannot be pulled."""
    # The kubelet alternates between pulling and backing off; only the cause stays the same.
    cause = container.waiting_message.rpartition("ErrImagePull: ")[2]
    return (
        f"Pod {pod.name} cannot pull image {container.image}: {cause or container.waiting_reason}. "
        "Check spec.image and spec.imagePullSecrets."
    )


def _crashing(given: WorkloadInput) -> Verdict | None:
    """A container cannot be created, or keeps exiting."""
    for pod, container in _containers(given):
        if stays_down(container):
            return no(Reason.CRASH_LOOP, describe_ending(given.namespace, pod, container))
    return None


def stays_down(container: ContainerFacts) -> bool:
    """Whether a container cannot be created, or exits whenever it is started."""
    crashed = container.exit_code is not None and container.restarts > 0
    return container.waiting_reason in FAILED_REASONS or (crashed and not container.ready)


def describe_ending(namespace: str, pod: PodFacts, container: ContainerFacts) -> str:
    """Describe how a container exited, and where its log is; equal from one crash to the next."""
    sentence = name_ending(pod, container)
    if container.exit_code is None:
        return sentence
    log = f"kubectl logs {pod.name} -n {namespace} -c {container.name} --previous"
    return f"{sentence} See: {log}"


def name_ending(pod: PodFacts, container: ContainerFacts) -> str:
    """Describe how a container exited, or why it cannot be started."""
    subject = f"Container {container.name} of pod {pod.name}"
    if container.exit_code is None:
        remedy = next((what for words, what in REMEDIES if words in container.waiting_message), "")
        return f"{subject} cannot be started: {container.waiting_message}.{remedy}"
    reason = f" ({container.exit_reason})" if container.exit_reason else ""
    # The message may be the end of a log, whose last line says most.
    words = container.exit_message.rpartition("\n")[2][-EXIT_MESSAGE_LIMIT:].rstrip(".")
    return f"{subject} exits with code {container.exit_code}{reason}{words and f': {words}'}."


def _unschedulable(given: WorkloadInput) -> Verdict | None:
    """A pod cannot be scheduled."""
    for pod in given.facts.pods:
        if pod.unschedulable and not pod.deleting:
            return no(Reason.UNSCHEDULABLE, f"Pod {describe_unschedulable(pod)}")
    return None


def describe_unschedulable(pod: PodFacts) -> str:
    """Repeat why the scheduler has no node for a pod."""
    return f"{pod.name} cannot be scheduled: {pod.unschedulable}"


def _unmounted(given: WorkloadInput) -> Verdict | None:
    """The kubelet cannot mount a volume; it tries again by itself."""
    pod = given.unstarted
    if pod is None or not given.unmounted:
        return None
    return no(
        Reason.MOUNT_FAILED,
        f"A volume of pod {pod.name} cannot be mounted: {given.unmounted.rstrip('.')}. Create what "
        "is missing, or correct spec.volumes.",
    )


def _not_listening(given: WorkloadInput) -> Verdict | None:
    """A container has been running for a while, but its probe fails."""
    for pod, container, since in _find_silent(given):
        return no(
            Reason.NOT_LISTENING,
            f"Container {container.name} of pod {pod.name} has been running since "
            f"{display_time(since)}, but its probes fail: nothing seems to listen on port "
            f"{given.port}. Check spec.port, spec.args and spec.serverArguments against what "
            f"the plugin listens on (kubectl logs {pod.name} -n {given.namespace})."
            f"{_describe_rivals(given)}",
        )
    return None


def _find_silent(given: WorkloadInput) -> Iterator[tuple[PodFacts, ContainerFacts, datetime]]:
    for pod, container in _containers(given):
        since = container.running_since
        if since is not None and not container.ready and given.now - since >= LISTEN_GRACE:
            yield pod, container, since


def _describe_rivals(given: WorkloadInput) -> str:
    """Name the Leases of other plugins, unless this one has got its own.

    Plugins made from one template share the name of a leader election: only one of them serves, and
    the others wait silently (plugin-barman-cloud #395: `822e3f5c.cnpg.io`, copied into several).
    """
    rivals = [lease for lease in given.leases if lease.plugin != given.name]
    if given.held or not rivals:
        return ""
    named = ", ".join(f"Lease {each.name} (held by CNPGPlugin {each.plugin})" for each in rivals)
    return (
        " Plugins made from one template often share their leader election's Lease, and only its "
        f"holder listens: {named}."
    )


def _keeps_running(pod: PodFacts, now: datetime) -> bool:
    """Whether all containers run or are done, and those that were restarted run for a while."""

    def runs(container: ContainerFacts) -> bool:
        since = container.running_since
        if since is None:
            return container.exit_code == 0 and not container.waiting_reason
        return container.restarts == 0 or now - since >= LISTEN_GRACE

    return bool(pod.containers) and all(map(runs, pod.containers))


def _rolling(given: WorkloadInput) -> Verdict:
    """Pods are being started or replaced."""
    facts = given.facts
    return unknown(
        Reason.ROLLOUT_IN_PROGRESS,
        f"Deployment {given.name} has {facts.available} of {facts.wanted or 1} replicas available.",
    )


CHECKS: Final = (
    _available,
    _led,
    _refused,
    _image_pull_failed,
    _crashing,
    _unschedulable,
    _unmounted,
    _kept_by_previous,
    _not_listening,
)
"""In order: what is certain first, what is only likely later."""


def _containers(given: WorkloadInput) -> Iterator[tuple[PodFacts, ContainerFacts]]:
    for pod in given.pods:
        for container in pod.containers:
            yield pod, container
