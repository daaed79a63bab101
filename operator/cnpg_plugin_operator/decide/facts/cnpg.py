"""What was seen of CloudNativePG, frozen: its operator, its Clusters, and what it was told.

Like `facts`, of which this is the part about the neighbour.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from cnpg_plugin_operator.decide.facts.plugin import PodFacts


@dataclass(frozen=True, slots=True)
class LeaderFacts:
    """The pod that holds CloudNativePG's Lease."""

    pod: str
    created: datetime
    restarted_for: Mapping[str, str]
    """The revisions announced by the restart that this pod was started with."""
    since: datetime | None = None
    """When it took the Lease."""


@dataclass(frozen=True, slots=True)
class RestartRecord:
    """A restart as it was noted before it was asked for.

    It stands in the status of the plugin that asked, out of reach of whoever manages
    CloudNativePG's Deployment and may take the asking itself back.
    """

    at: datetime
    revisions: Mapping[str, str]
    """What it was for: plugin → revision."""
    attempt: int
    """The how many-eth restart for one of these revisions."""
    generation: int
    """Of the Deployment, before: unchanged, the asking itself never happened."""
    given_up: frozenset[str] = frozenset()
    """Plugins among `revisions` whose own restarts were reverted too often: it is not for them."""


@dataclass(frozen=True, slots=True)
class CNPGFacts:
    """The CloudNativePG operator of a namespace."""

    deployment: str
    uid: str
    version: str
    """As its image or labels say it, or empty."""
    rolling: bool
    """Whether a rollout of the Deployment is under way."""
    available: bool
    leader: LeaderFacts | None
    restarted_at: datetime | None
    """When this operator last asked for a restart."""
    restarted_for: Mapping[str, str]
    """The revisions that restart was for."""
    generation: int = 0
    """Of the Deployment: grows with every change of its spec."""
    olm: str = ""
    """The ClusterServiceVersion that owns the Deployment, or empty: OLM takes any change of the
    pod template back at once."""
    watches: tuple[str, ...] = ()
    """The namespaces in `WATCH_NAMESPACE`; empty where all are watched."""
    stuck: str = ""
    """Why a rollout does not get on, in the words of Deployment and pods, or empty."""
    changed_by: str = ""
    """The field manager that changed the Deployment's spec last, this operator's own left out."""
    pods: tuple[PodFacts, ...] = ()
    """Its pods; read only while it rolls or where OLM owns it."""
    withdrawn: Mapping[str, datetime] = field(default_factory=dict)
    """When plugins were withdrawn, by their CNPG-I names."""
    record: RestartRecord | None = None
    """The newest restart that was noted in the namespace."""
    sidecars: Mapping[str, str] = field(default_factory=dict)
    """The sidecars in its pod template: resource → revision."""
    namespace: str = "cnpg-system"
    rolled_at: datetime | None = None
    """When this operator last rolled it for sidecars."""


@dataclass(frozen=True, slots=True)
class CNPGEvent:
    """What CloudNativePG last said of a plugin's Service."""

    warning: bool
    reason: str
    message: str
    at: datetime
    service: str = ""
    """Name of the Service."""
    number: int = 0
    """Grows with every Event that the API server stores: no two are the same."""


@dataclass(frozen=True, slots=True)
class PluginStatusFacts:
    """One plugin in a Cluster's `status.pluginStatus`."""

    name: str
    version: str
    capabilities: tuple[str, ...] = ()
    """As CloudNativePG writes them: `TYPE_WAL_SERVICE`, or a number it has no name for."""


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
    """Whether its phase tells how it is now: CloudNativePG leaves the phase as it was while
    instances were made but none of them is ready (1.25.0 to 1.30.0)."""


@dataclass(frozen=True, slots=True)
class Touch:
    """A change of the Service that has no other purpose than to make CloudNativePG look again."""

    at: datetime
    reason: str
    times: int = 1
    """The how many-eth for the same reason."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """What the published Service says of the last announcement."""

    revision: str
    endpoint: str
    announced_at: datetime
    changed_at: datetime | None
    annotations: Mapping[str, str]
    """The announcing annotations as they are, to be kept until the next announcement."""
    replaces: str = ""
    """The revision that was announced before; empty for the first."""
    touch: Touch | None = None
    """The last touch since this revision was announced."""
    disturbed: str = ""
    """The other Services with the plugin's name that were noted; empty for none."""

    @property
    def told_at(self) -> datetime:
        """When CloudNativePG was last told of this revision."""
        return max(self.announced_at, self.touch.at) if self.touch else self.announced_at


@dataclass(frozen=True, slots=True)
class ServiceFacts:
    """The plugin's Service as it is."""

    announcement: Announcement | None
    """None where CloudNativePG's label is not set."""
    cnpg_finalizer: bool
    """Whether CloudNativePG has put its finalizer on it (1.29.0 to 1.30.0)."""
    deleting: bool
