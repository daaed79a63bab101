"""In which namespaces an operator looks for what: all of them, where it has the right."""

from dataclasses import dataclass
from typing import Final

Places = tuple[str | None, ...]
"""Namespaces; None alone for all of them."""

ALL_NAMESPACES: Final[Places] = (None,)


@dataclass(frozen=True, slots=True)
class Scope:
    """Where an operator looks."""

    namespaces: tuple[str, ...]
    """The managed ones."""
    cluster_namespaces: tuple[str, ...] = ()
    """Those of the Clusters; empty for all, and for an operator with cluster-wide rights."""

    @property
    def resources(self) -> Places:
        """Where resources are looked for."""
        return ALL_NAMESPACES if self.is_wide else self.namespaces

    @property
    def clusters(self) -> Places:
        """Where Clusters are looked for."""
        return self.cluster_namespaces or ALL_NAMESPACES

    @property
    def is_wide(self) -> bool:
        """Whether the operator has rights in the whole cluster."""
        return not self.cluster_namespaces
