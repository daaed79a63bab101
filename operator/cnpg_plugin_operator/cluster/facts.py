"""What passes know of all resources and Clusters without a request: the port to the fact store."""

from collections.abc import Mapping
from typing import Any, Protocol

from cnpg_plugin_operator.cluster.clusters import ClusterRecord
from cnpg_plugin_operator.decide.facts.cnpg import CNPGEvent


class Facts(Protocol):
    """Kept up by watches. What it gives belongs to it: passes must not change it."""

    def resources(self, namespace: str) -> tuple[Mapping[str, Any], ...]:
        """Give all resources of a namespace.

        Raises the `ClusterError` for which they are not known.
        """
        ...

    def clusters(self) -> tuple[ClusterRecord, ...]:
        """Give all Clusters. Raises as `resources` does."""
        ...

    def events(self, namespace: str) -> tuple[CNPGEvent, ...] | None:
        """Give CloudNativePG's Events on the Services of a namespace; None if not all are known."""
        ...

    def expect(self, namespace: str, name: str, status: Mapping[str, Any]) -> None:
        """Learn which status a pass is about to write: it needs no other pass for it."""
        ...
