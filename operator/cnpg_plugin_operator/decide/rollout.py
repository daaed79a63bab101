"""Why a pod of CloudNativePG's own does not come up, in one sentence of the kubelet's words.

Only what does not heal by waiting is told: a rollout that is merely slow is no trouble.
"""

from collections.abc import Iterable

from cnpg_plugin_operator.decide.facts import ContainerFacts, PodFacts
from cnpg_plugin_operator.decide.workload import IMAGE_REASONS, stays_down


def describe_trouble(pods: Iterable[PodFacts]) -> str:
    """Describe the newest pod that cannot start; empty where none is in trouble."""
    staying = (pod for pod in pods if not pod.deleting and not pod.ready)
    for pod in sorted(staying, key=lambda pod: (pod.created, pod.name), reverse=True):
        if pod.unschedulable:
            return f"pod {pod.name} finds no node: {pod.unschedulable}"
        for container in pod.containers:
            if trouble := _trouble(container):
                return f"pod {pod.name}: {trouble}"
    return ""


def _trouble(container: ContainerFacts) -> str:
    if container.waiting_reason in IMAGE_REASONS:
        return f"image {container.image} cannot be had ({container.waiting_reason})"
    if stays_down(container):
        reason = container.exit_reason or container.waiting_reason
        return f"container {container.name} does not stay up ({reason})"
    return ""
