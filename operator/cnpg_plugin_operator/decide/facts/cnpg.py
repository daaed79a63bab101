"""Facts about CloudNativePG: its operator, its Clusters, and what was announced to it."""

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
    """The revisions of the restart that this pod was started by."""
    since: datetime | None = None
    """When it acquired the Lease."""


@dataclass(frozen=True, slots=True)
class RestartRecord:
    """A restart, recorded before it is requested.

    The record is in the status of the plugin that requests the restart: other managers of
    CloudNativePG's Deployment may revert the request itself, but they do not write this status.
    """

    at: datetime
    revisions: Mapping[str, str]
    """What the restart is for: plugin → revision."""
    attempt: int
    """The number of restarts for one of these revisions, including this one."""
    generation: int
    """The Deployment's generation before; while it is unchanged, the request was not made."""
    given_up: frozenset[str] = frozenset()
    """Plugins in `revisions` whose own restarts were reverted too often: it is not for them."""


@dataclass(frozen=True, slots=True)
class CNPGFacts:
    """The CloudNativePG operator of a namespace."""

    deployment: str
    uid: str
    version: str
    """From its image or labels, or empty."""
    rolling: bool
    """Whether a rollout of the Deployment is in progress."""
    available: bool
    leader: LeaderFacts | None
    restarted_at: datetime | None
    """When this operator last requested a restart."""
    restarted_for: Mapping[str, str]
    """The revisions that this restart was for."""
    generation: int = 0
    """The Deployment's generation, which grows with every change of its spec."""
    olm: str = ""
    """The ClusterServiceVersion that owns the Deployment, or empty: OLM reverts any change of the
    pod template at once."""
    watches: tuple[str, ...] = ()
    """The namespaces in `WATCH_NAMESPACE`; empty where all are watched."""
    stuck: str = ""
    """Why a rollout makes no progress, as Deployment and pods report it, or empty."""
    changed_by: str = ""
    """The field manager that last changed the Deployment's spec, other than this operator's."""
    pods: tuple[PodFacts, ...] = ()
    """Its pods; read only while it rolls out or where OLM owns it."""
    withdrawn: Mapping[str, datetime] = field(default_factory=dict)
    """When plugins were withdrawn, by their CNPG-I names."""
    record: RestartRecord | None = None
    """The newest restart that was recorded in the namespace."""
    sidecars: Mapping[str, str] = field(default_factory=dict)
    """The sidecars in its pod template: resource → revision."""
    namespace: str = "cnpg-system"
    rolled_at: datetime | None = None
    """When this operator last rolled it for sidecars."""
    resource_version: str = field(default="", compare=False)
    """Of the Deployment, for writes that must not overwrite another's."""


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
    def told_at(self) -> datetime:
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
