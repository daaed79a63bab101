"""What was seen of CloudNativePG's pod as the host of sidecars, frozen.

Like `cnpg_facts`, for plugins that live in CloudNativePG's own Deployment.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from cnpg_plugin_operator.decide.facts.plugin import ContainerFacts, HandshakeOutcome, PodFacts


@dataclass(frozen=True, slots=True)
class HostPod:
    """One pod of CloudNativePG's, with the sidecars it was started with."""

    pod: PodFacts
    sidecars: Mapping[str, str]
    """Revisions of its sidecars by the names of their resources."""
    verdicts: Mapping[str, HandshakeOutcome] = field(default_factory=dict)
    """What the gate found, by CNPG-I names."""
    gate_ended: datetime | None = None
    """When the gate let CloudNativePG start; None while it has not."""
    gate_started: bool = False
    """Whether the gate runs or has run: all sidecars were started by then."""
    scheduled: bool = True
    """Whether it has a node."""
    ready_since: datetime | None = None
    """Since when it is ready; None while it is not."""
    unmounted: str = ""
    """The kubelet's words about a volume that it cannot mount, or empty."""

    def container(self, name: str) -> ContainerFacts | None:
        """Find a container of the pod."""
        return next((c for c in self.pod.containers if c.name == name), None)


@dataclass(frozen=True, slots=True)
class Eviction:
    """A pod of CloudNativePG's that the kubelet ended for what it used."""

    pod: str
    created: datetime
    ended: datetime
    """When it was evicted, else when it was made."""
    sidecars: Mapping[str, str]
    """Revisions of its sidecars by the names of their resources."""
    message: str
    """The kubelet's words."""


@dataclass(frozen=True, slots=True)
class HostFacts:
    """CloudNativePG's Deployment and its pods."""

    deployment: str
    uid: str
    template: Mapping[str, Any] = field(repr=False)
    """The pod template as it is."""
    directory: str
    """Where CloudNativePG looks for sockets."""
    user: Mapping[str, int]
    """`runAsUser` and `runAsGroup` of its container, as far as they are set."""
    account: str
    """Its service account."""
    mounted: str = ""
    """The volume that somebody else mounts at the directory, or empty."""
    ports: frozenset[int] = frozenset()
    """What its container listens on."""
    replicas: int = 1
    available: bool = True
    """Whether any of its pods can be used."""
    paused: bool = False
    """Whether a person has paused its rollout."""
    refused: str = ""
    """Why the API server lets no new pod be made, or empty."""
    refused_since: datetime | None = None
    """Since when it does not."""
    pods: tuple[HostPod, ...] = ()
    """Oldest first; those that have ended or are being deleted left out."""
    evictions: tuple[Eviction, ...] = ()
    kubernetes: tuple[int, int] | None = None
    """Version of the API server, or None where it does not say."""

    @property
    def newest(self) -> HostPod | None:
        """The pod that was made last."""
        return self.pods[-1] if self.pods else None
