"""How often CloudNativePG was rolled, by its Deployment and ReplicaSets, and databases."""

from dataclasses import dataclass
from typing import Final

from tests.support.e2e.api import APPS, CORE, Api, Object
from tests.support.resources import NAMESPACE

CNPG: Final = "cnpg-controller-manager"
"""CloudNativePG's Deployment."""

_APPS: Final = f"{APPS}/namespaces/{NAMESPACE}"
_LABEL: Final = "app.kubernetes.io/name=cloudnative-pg"


@dataclass(frozen=True)
class CloudNativePG:
    """How often it was rolled."""

    generation: int
    """Increases with every change of the Deployment's spec."""
    revisions: frozenset[str]
    """Its ReplicaSets: one for each pod template there was."""


def observe(api: Api) -> CloudNativePG:
    """Count how often it was rolled so far."""
    deployment = api.get(f"{_APPS}/deployments/{CNPG}")
    sets = api.list(f"{_APPS}/replicasets", labelSelector=_LABEL)
    return CloudNativePG(
        deployment["metadata"]["generation"],
        frozenset(item["metadata"]["name"] for item in sets),
    )


def observe_databases(api: Api, cluster: str) -> dict[str, int]:
    """How often the containers of a Cluster's databases have restarted, by the pods' uids."""
    instances = f"cnpg.io/cluster={cluster},cnpg.io/podRole=instance"
    pods = api.list(f"{CORE}/namespaces/default/pods", labelSelector=instances)
    return {pod["metadata"]["uid"]: _restarts(pod["status"]) for pod in pods}


def _restarts(status: Object) -> int:
    kinds = ("containerStatuses", "initContainerStatuses")
    return sum(each["restartCount"] for kind in kinds for each in status.get(kind) or [])
