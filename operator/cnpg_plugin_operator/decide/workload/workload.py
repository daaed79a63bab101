"""Whether the workload runs the wanted revision; if not, why, in the words of its own pods."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cnpg_plugin_operator.api.conditions import Reason, Verdict, no, unknown, yes
from cnpg_plugin_operator.api.times import tell_time
from cnpg_plugin_operator.decide.checks import first
from cnpg_plugin_operator.decide.facts.plugin import ContainerFacts, PodFacts, WorkloadFacts

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
"""The kubelet's reasons for an image that is not there."""

FAILED_REASONS: Final = frozenset(
    {
        "CrashLoopBackOff",
        "RunContainerError",
        "CreateContainerError",
        "CreateContainerConfigError",
        "StartError",
    }
)
"""The kubelet's reasons for a container that does not stay up or cannot be made."""

EXIT_MESSAGE_LIMIT: Final = 300
"""Characters of a container's last words that are told."""

_NOT_ROOT: Final = (
    " Set spec.securityContext.runAsUser to a number other than 0, or use an image with a numeric "
    "user that is not root."
)
CURES: Final = (("image will run as root", _NOT_ROOT), ("has non-numeric user", _NOT_ROOT))
"""What helps where the kubelet's own words name no remedy (pkg/kubelet/kuberuntime,
security_context_others.go, 1.29 to 1.36)."""

LISTEN_GRACE: Final = timedelta(seconds=8)
"""How long a running container may take before its silence is reported. It is only reported: a
plugin that listens later still becomes available."""


@dataclass(frozen=True, slots=True)
class WorkloadInput:
    """What the checks look at."""

    namespace: str
    name: str
    port: int
    facts: WorkloadFacts
    now: datetime


def decide_workload(given: WorkloadInput) -> Verdict:
    """Judge the Deployment and its newest pods."""
    return first(CHECKS, given) or _rolling(given)


def _available(given: WorkloadInput) -> Verdict | None:
    """All replicas are updated and available, and none of a former revision is left."""
    facts = given.facts
    complete = facts.updated == facts.available == facts.replicas == facts.wanted
    if facts.exists and facts.up_to_date and complete:
        return yes(
            Reason.AVAILABLE,
            f"Deployment {given.name} runs {facts.available} of {facts.wanted} replicas.",
        )
    return None


def _refused(given: WorkloadInput) -> Verdict | None:
    """The API server does not let pods be made."""
    if given.facts.refused:
        return no(
            Reason.PODS_REFUSED,
            f"Pods of Deployment {given.name} are refused: {given.facts.refused}",
        )
    return None


def _image_pull_failed(given: WorkloadInput) -> Verdict | None:
    """An image cannot be pulled."""
    for pod, container in _containers(given):
        if container.waiting_reason in IMAGE_REASONS:
            return no(Reason.IMAGE_PULL_ERROR, describe_missing_image(pod, container))
    return None


def describe_missing_image(pod: PodFacts, container: ContainerFacts) -> str:
    """Say why an image is not there."""
    # Trying and backing off take turns; only the cause is worth telling, and it stays.
    cause = container.waiting_message.rpartition("ErrImagePull: ")[2]
    return (
        f"Pod {pod.name} cannot get image {container.image}: {cause or container.waiting_reason}. "
        "Check spec.image and spec.imagePullSecrets."
    )


def _crashing(given: WorkloadInput) -> Verdict | None:
    """A container cannot be made, or ended and is started again and again."""
    for pod, container in _containers(given):
        if stays_down(container):
            return no(Reason.CRASH_LOOP, describe_ending(given.namespace, pod, container))
    return None


def stays_down(container: ContainerFacts) -> bool:
    """Whether a container cannot be made, or ends whenever it is started."""
    crashed = container.exit_code is not None and container.restarts > 0
    return container.waiting_reason in FAILED_REASONS or (crashed and not container.ready)


def describe_ending(namespace: str, pod: PodFacts, container: ContainerFacts) -> str:
    """Say how a container ended, and where its log is; equal from one crash to the next."""
    sentence = name_ending(pod, container)
    if container.exit_code is None:
        return sentence
    log = f"kubectl logs {pod.name} -n {namespace} -c {container.name} --previous"
    return f"{sentence} See: {log}"


def name_ending(pod: PodFacts, container: ContainerFacts) -> str:
    """Say how a container ended, or why it cannot be started."""
    subject = f"Container {container.name} of pod {pod.name}"
    if container.exit_code is None:
        cure = next((cure for words, cure in CURES if words in container.waiting_message), "")
        return f"{subject} cannot be started: {container.waiting_message}.{cure}"
    reason = f" ({container.exit_reason})" if container.exit_reason else ""
    # Where it is the end of a log, the last line says most.
    words = container.exit_message.rpartition("\n")[2][-EXIT_MESSAGE_LIMIT:].rstrip(".")
    return f"{subject} ends with exit code {container.exit_code}{reason}{words and f': {words}'}."


def _unschedulable(given: WorkloadInput) -> Verdict | None:
    """No node takes a pod."""
    for pod in given.facts.pods:
        if pod.unschedulable and not pod.deleting:
            return no(Reason.UNSCHEDULABLE, describe_homeless(pod))
    return None


def describe_homeless(pod: PodFacts) -> str:
    """Say why no node takes a pod."""
    return f"Pod {pod.name} finds no node: {pod.unschedulable}"


def _not_listening(given: WorkloadInput) -> Verdict | None:
    """A container has been running for a while, but its probe finds nobody at the port."""
    for pod, container in _containers(given):
        since = container.running_since
        if since is not None and not container.ready and given.now - since >= LISTEN_GRACE:
            return no(
                Reason.NOT_LISTENING,
                f"Container {container.name} of pod {pod.name} runs since {tell_time(since)}, "
                f"but its probes fail: nothing accepts connections on port {given.port}? "
                "Check spec.port, spec.args and spec.serverArguments against what the plugin "
                f"listens on (kubectl logs {pod.name} -n {given.namespace}).",
            )
    return None


def _rolling(given: WorkloadInput) -> Verdict:
    """Pods are being started or replaced."""
    facts = given.facts
    return unknown(
        Reason.ROLLOUT_IN_PROGRESS,
        f"Deployment {given.name} has {facts.available} of {facts.wanted or 1} replicas available.",
    )


CHECKS: Final = (
    _available,
    _refused,
    _image_pull_failed,
    _crashing,
    _unschedulable,
    _not_listening,
)
"""In order: what is certain first, what is only likely later."""


def _containers(given: WorkloadInput) -> Iterator[tuple[PodFacts, ContainerFacts]]:
    """Containers of the pods that are to stay, newest pod first: it shows the wanted revision."""
    for pod in reversed(given.facts.pods):
        if not pod.deleting:
            for container in pod.containers:
                yield pod, container


def describe_cnpg_trouble(pods: Iterable[PodFacts]) -> str:
    """Describe why CloudNativePG's newest pod cannot start; empty if all pods are fine.

    A rollout that is merely slow is no trouble.
    """
    staying = (pod for pod in pods if not pod.deleting and not pod.ready)
    for pod in sorted(staying, key=lambda pod: (pod.created, pod.name), reverse=True):
        if pod.unschedulable:
            return f"pod {pod.name} finds no node: {pod.unschedulable}"
        for container in pod.containers:
            if trouble := _describe_container(container):
                return f"pod {pod.name}: {trouble}"
    return ""


def _describe_container(container: ContainerFacts) -> str:
    if container.waiting_reason in IMAGE_REASONS:
        return f"image {container.image} cannot be had ({container.waiting_reason})"
    if stays_down(container):
        reason = container.exit_reason or container.waiting_reason
        return f"container {container.name} does not stay up ({reason})"
    return ""
