"""Why CloudNativePG's own pods do not start, for messages about what waits for them."""

from collections.abc import Iterable

from cnpg_plugin_operator.decide.facts.plugin import ContainerFacts, PodFacts
from cnpg_plugin_operator.decide.workload.workload import (
    IMAGE_REASONS,
    describe_unschedulable,
    stays_down,
)


def describe_cnpg_trouble(namespace: str, pods: Iterable[PodFacts]) -> str:
    """Describe why CloudNativePG's newest pod cannot start; empty if all pods are fine.

    A rollout that is merely slow is not reported.
    """
    staying = (pod for pod in pods if not pod.deleting and not pod.ready)
    for pod in sorted(staying, key=lambda pod: (pod.created, pod.name), reverse=True):
        if pod.unschedulable:
            return f"pod {describe_unschedulable(pod)}"
        for container in pod.containers:
            if trouble := _describe_container(container):
                log = f"kubectl logs {pod.name} -n {namespace} -c {container.name} --previous"
                see = f", see {log}" if container.exit_code is not None else ""
                return f"pod {pod.name}: {trouble}{see}"
    return ""


def _describe_container(container: ContainerFacts) -> str:
    if container.waiting_reason in IMAGE_REASONS:
        return f"image {container.image} cannot be pulled ({container.waiting_reason})"
    if stays_down(container):
        reason = container.exit_reason or container.waiting_reason
        return f"container {container.name} keeps exiting ({reason})"
    return ""
