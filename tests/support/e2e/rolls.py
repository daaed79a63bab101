"""How often CloudNativePG was rolled, according to its Deployment and ReplicaSets."""

from dataclasses import dataclass
from typing import Final

from tests.support.e2e.api import APPS, Api
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
