"""Facts about CloudNativePG: its operator, its Clusters, and what was announced to it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from cnpg_plugin_operator.api.records import RestartRecord
from cnpg_plugin_operator.api.untrusted import mapping, objects
from cnpg_plugin_operator.decide.facts.plugin import ContainerFacts, HandshakeOutcome, PodFacts


@dataclass(frozen=True, slots=True)
class LeaderFacts:
    """The pod that holds CloudNativePG's Lease."""

    pod: str
    created: datetime
    restarted_for: Mapping[str, str]
    """The revisions of the restart that this pod was started by."""
    since: datetime | None = None
    """When it acquired the Lease."""


@dataclass(frozen=True, slots=True)
class CNPGPod:
    """One of CloudNativePG's pods, with the sidecars that it was started with."""

    pod: PodFacts
    sidecars: Mapping[str, str] = field(default_factory=dict)
    """Revisions of its sidecars by the names of their resources."""
    verdicts: Mapping[str, HandshakeOutcome] = field(default_factory=dict)
    """The gate's verdicts, by CNPG-I names."""
    gate_ended: datetime | None = None
    """When the gate let CloudNativePG start; None before that."""
    gate_started: bool = False
    """Whether the gate runs or has run: by then all sidecars were started."""
    scheduled: bool = True
    """Whether it is assigned to a node."""
    ended: bool = False
    """Whether it never runs again; the ReplicaSet creates another."""
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
class PodEnvironment:
    """What a sidecar finds in CloudNativePG's pod."""

    directory: str
    """The directory of the sockets."""
    user: Mapping[str, int]
    """`runAsUser` and `runAsGroup` of its container, as far as they are set."""
    account: str
    """Its service account."""
    mounted: str = ""
    """The volume that another owner mounts at the directory, or empty."""
    ports: frozenset[int] = frozenset()
    """The ports that its container listens on."""
    kubernetes: tuple[int, int] | None = None
    """Version of the API server, or None where it is unknown."""


@dataclass(frozen=True, slots=True)
class CNPGFacts:
    """The CloudNativePG operator of a namespace: its Deployment, its leader and its pods."""

    # The Deployment
    deployment: str
    uid: str
    version: str
    """From its image or labels, or empty."""
    rolling: bool
    """Whether a rollout of the Deployment is in progress."""
    available: bool
    """Whether any of its pods is available."""
    leader: LeaderFacts | None
    restarted_at: datetime | None
    """When this operator last requested a restart."""
    restarted_for: Mapping[str, str]
    """The revisions that this restart was for."""
    namespace: str = "cnpg-system"
    generation: int = 0
    """The Deployment's generation, which grows with every change of its spec."""
    resource_version: str = field(default="", compare=False)
    """Of the Deployment, for writes that must not overwrite another's."""
    olm: str = ""
    """The ClusterServiceVersion that owns the Deployment, or empty: OLM reverts any change of the
    pod template at once."""
    changed_by: str = ""
    """The field manager that last changed the Deployment's spec, other than this operator's."""
    watches: tuple[str, ...] = ()
    """The namespaces in `WATCH_NAMESPACE`; empty where all are watched."""
    proxy: str = ""
    """The variable by which it calls plugins through an HTTP proxy, or empty."""
    unproxied: tuple[str, ...] = ()
    """What its `NO_PROXY` excludes from that."""
    template: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The current pod template."""
    selector: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The label selector of its pods."""
    sidecars: Mapping[str, str] = field(default_factory=dict)
    """The sidecars in it: resource → revision."""
    replicas: int = 1
    min_ready_seconds: int = 0
    progress_deadline_seconds: int = 600

    # Its rollout
    paused: bool = False
    """Whether a user has paused its rollout."""
    stuck: str = ""
    """Why a rollout makes no progress, as Deployment and pods report it, or empty."""
    refused: str = ""
    """Why the API server refuses to create a pod, or empty."""
    refused_since: datetime | None = None
    """Since when it refuses."""

    # Changes by this operator
    rolled_at: datetime | None = None
    """When this operator last rolled it for sidecars."""
    record: RestartRecord | None = None
    """The newest restart that was recorded in the namespace."""
    withdrawn: Mapping[str, datetime] = field(default_factory=dict)
    """When plugins were withdrawn, by their CNPG-I names."""

    # Facts that need further requests
    pods: tuple[CNPGPod, ...] = ()
    """Its pods, oldest first; read only while it rolls out, where OLM owns it, or for sidecars."""
    evictions: tuple[Eviction, ...] = ()
    """Oldest first; read only for sidecars."""
    environment: PodEnvironment | None = None
    """Read only for sidecars; None where there is none."""

    @property
    def current_pods(self) -> tuple[CNPGPod, ...]:
        """The pods that have not ended and are not being deleted."""
        return tuple(each for each in self.pods if not each.ended and not each.pod.deleting)

    @property
    def newest(self) -> CNPGPod | None:
        """The current pod that was created last."""
        return next(reversed(self.current_pods), None)


@dataclass(frozen=True, slots=True)
class CNPGEvent:
    """The last Event that CloudNativePG reported on a plugin's Service."""

    warning: bool
    reason: str
    message: str
    at: datetime
    service: str = ""
    """Name of the Service."""
    number: int = 0
    """Grows with every Event that the API server stores; unique."""


@dataclass(frozen=True, slots=True)
class PluginStatusFacts:
    """One plugin in a Cluster's `status.pluginStatus`."""

    name: str
    version: str
    capabilities: tuple[str, ...] = ()
    """In CloudNativePG's spelling: `TYPE_WAL_SERVICE`, or a number it has no name for."""


@dataclass(frozen=True, slots=True)
class ClusterFacts:
    """A CloudNativePG `Cluster` that names the plugin."""

    namespace: str
    name: str
    healthy: bool
    phase: str
    plugin_status: PluginStatusFacts | None
    created: datetime | None = None
    nudged: str = ""
    """The plugin's revision that this Cluster was annotated for, or empty."""
    blocked: bool = False
    """Whether CloudNativePG does not reconcile it because of this plugin."""
    up_to_date: bool = True
    """Whether its phase is current: CloudNativePG does not update the phase while instances exist
    but none of them is ready (1.25.0 to 1.30.0)."""


@dataclass(frozen=True, slots=True)
class Touch:
    """A change of the Service with the only purpose of making CloudNativePG register it again."""

    at: datetime
    reason: str
    times: int = 1
    """The number of touches for the same reason, including this one."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """The last announcement, from the published Service."""

    revision: str
    endpoint: str
    announced_at: datetime
    changed_at: datetime | None
    annotations: Mapping[str, str]
    """The announcement's annotations, to be kept until the next announcement."""
    replaces: str = ""
    """The revision that was announced before; empty for the first."""
    touch: Touch | None = None
    """The last touch since this revision was announced."""
    disturbed: str = ""
    """The other Services with the plugin's name that were recorded; empty for none."""

    @property
    def last_announced_at(self) -> datetime:
        """When this revision was last announced to CloudNativePG."""
        return max(self.announced_at, self.touch.at) if self.touch else self.announced_at


@dataclass(frozen=True, slots=True)
class ServiceFacts:
    """The plugin's Service."""

    announcement: Announcement | None
    """None where CloudNativePG's label is not set."""
    cnpg_finalizer: bool
    """Whether CloudNativePG has added its finalizer (1.29.0 to 1.30.0)."""
    deleting: bool


def plugins_of(spec: Mapping[str, Any]) -> frozenset[str]:
    """Return the plugins that a Cluster uses.

    These are the enabled ones, and those that restore its external clusters.
    """
    used = [p for p in objects(spec.get("plugins")) if p.get("enabled", True)]
    restored = objects(spec.get("externalClusters"))
    used += [mapping(each["plugin"]) for each in restored if each.get("plugin")]
    return frozenset(str(p.get("name", "")) for p in used)
