"""Facts about CloudNativePG's pod as the host of sidecars.

The counterpart of `facts.cnpg` for plugins that run in CloudNativePG's own Deployment.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from cnpg_plugin_operator.decide.facts.plugin import ContainerFacts, HandshakeOutcome, PodFacts


@dataclass(frozen=True, slots=True)
class HostPod:
    """One of CloudNativePG's pods, with the sidecars that it was started with."""

    pod: PodFacts
    sidecars: Mapping[str, str]
    """Revisions of its sidecars by the names of their resources."""
    verdicts: Mapping[str, HandshakeOutcome] = field(default_factory=dict)
    """The gate's verdicts, by CNPG-I names."""
    gate_ended: datetime | None = None
    """When the gate let CloudNativePG start; None before that."""
    gate_started: bool = False
    """Whether the gate runs or has run: by then all sidecars were started."""
    scheduled: bool = True
    """Whether it is assigned to a node."""
    ready_since: datetime | None = None
    """When it became ready; None while it is not."""
    unmounted: str = ""
    """The kubelet's message about a volume that it cannot mount, or empty."""

    def container(self, name: str) -> ContainerFacts | None:
        """Find a container of the pod."""
        return next((c for c in self.pod.containers if c.name == name), None)


@dataclass(frozen=True, slots=True)
class Eviction:
    """One of CloudNativePG's pods that the kubelet evicted because of its resource usage."""

    pod: str
    created: datetime
    ended: datetime
    """When it was evicted, else when it was created."""
    sidecars: Mapping[str, str]
    """Revisions of its sidecars by the names of their resources."""
    message: str
    """The kubelet's message."""


@dataclass(frozen=True, slots=True)
class HostFacts:
    """CloudNativePG's Deployment and its pods."""

    deployment: str
    uid: str
    template: Mapping[str, Any] = field(repr=False)
    """The current pod template."""
    directory: str
    """Where CloudNativePG looks for sockets."""
    user: Mapping[str, int]
    """`runAsUser` and `runAsGroup` of its container, as far as they are set."""
    account: str
    """Its service account."""
    mounted: str = ""
    """The volume that another owner mounts at the directory, or empty."""
    ports: frozenset[int] = frozenset()
    """The ports that its container listens on."""
    replicas: int = 1
    available: bool = True
    """Whether any of its pods is available."""
    paused: bool = False
    """Whether a user has paused its rollout."""
    refused: str = ""
    """Why the API server refuses to create a pod, or empty."""
    refused_since: datetime | None = None
    """Since when it refuses."""
    pods: tuple[HostPod, ...] = ()
    """Oldest first, without pods that have ended or are being deleted."""
    evictions: tuple[Eviction, ...] = ()
    kubernetes: tuple[int, int] | None = None
    """Version of the API server, or None where it is unknown."""

    @property
    def newest(self) -> HostPod | None:
        """The pod that was created last."""
        return self.pods[-1] if self.pods else None
