"""Every write that a pass can ask for, as data.

Nothing here reads, writes or decides. `applying` makes each of them, and `dry_run` describes it
instead.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

from cnpg_plugin_operator.api.plugin import Plugin, Resource
from cnpg_plugin_operator.api.records import RestartRecord
from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.cluster.secrets import Secret
from cnpg_plugin_operator.decide.facts.cnpg import ClusterFacts, CNPGFacts
from cnpg_plugin_operator.desired.objects import Object
from cnpg_plugin_operator.pki.issuing import Authority
from cnpg_plugin_operator.pki.profiles import Usage

Target = tuple[str, str]
"""Kind and name of an object."""

Place = tuple[str, str, str]
"""Kind, namespace and name of an object; the namespace is empty where it has none."""


class _Placed:
    """Says what a write is about."""

    __slots__ = ()

    @property
    def place(self) -> Place:
        """What is written."""
        return self._find_place()

    def _find_place(self) -> Place:
        raise NotImplementedError

    @property
    def target(self) -> Target:
        """Kind and name of what is written."""
        return self.place[0], self.place[2]


@dataclass(frozen=True, slots=True)
class _Named(_Placed):
    """A change of an object of which the name suffices."""

    kind: kinds.Kind
    namespace: str
    name: str

    def _find_place(self) -> Place:
        return self.kind.kind, self.namespace, self.name


@dataclass(frozen=True, slots=True)
class _OfBody(_Placed):
    """A change of an object that the plan has, as it is or as it should be."""

    body: Object = field(repr=False)

    def _find_place(self) -> Place:
        return _place_of(self.body["kind"], self.body["metadata"])


@dataclass(frozen=True, slots=True)
class Apply(_OfBody):
    """Apply an object, where the live one differs."""

    purpose: ClassVar[str] = "keep it as it is wanted"


@dataclass(frozen=True, slots=True)
class WriteSecret(_OfBody):
    """Write a Secret with a newly generated key, unless another writer came first."""

    known: Secret | None
    """The Secret as it is."""
    purpose: ClassVar[str] = "issue a certificate with a new key"


@dataclass(frozen=True, slots=True)
class IssuePair(_Named):
    """Issue one of a plugin's two pairs with a new key, unless another writer came first."""

    plugin: Plugin
    authority: Authority = field(repr=False)
    subject: str
    dns_names: tuple[str, ...]
    usage: Usage
    now: datetime
    purpose: ClassVar[str] = "issue a certificate with a new key"


@dataclass(frozen=True, slots=True)
class _OfSecret(_Placed):
    """A change of a Secret that keeps its key."""

    known: Secret
    marks: Mapping[str, Any]
    """What is merged into its metadata."""

    def _find_place(self) -> Place:
        return _place_of(kinds.SECRET.kind, self.known.metadata)


@dataclass(frozen=True, slots=True)
class RestoreMarks(_OfSecret):
    """Restore labels, owner and uid of a Secret, and certificates in it."""

    data: Mapping[str, str] = field(default_factory=dict)
    """What is merged into its data: certificates, in Base64."""
    purpose: ClassVar[str] = "restore what others removed from it"


@dataclass(frozen=True, slots=True)
class TakeOver(_OfSecret):
    """Take a Secret that is in use from cert-manager, and delete its Certificate."""

    purpose: ClassVar[str] = "take it over from cert-manager, and delete its Certificate"


@dataclass(frozen=True, slots=True)
class GiveBack(_OfSecret):
    """Give a Secret that is in use to cert-manager."""

    purpose: ClassVar[str] = "give it to cert-manager, whose Certificate names it"


@dataclass(frozen=True, slots=True)
class Delete(_Named):
    """Delete an object, unless another one has its name by now."""

    uid: str | None
    purpose: ClassVar[str] = "it is no longer wanted"


@dataclass(frozen=True, slots=True)
class Orphan(_Placed):
    """Take an object from its owner, so that it outlives it."""

    kind: kinds.Kind
    live: Mapping[str, Any] = field(repr=False)
    uid: str
    """The owner's."""
    purpose: ClassVar[str] = "let it outlive the resource"

    def _find_place(self) -> Place:
        return _place_of(self.kind.kind, self.live["metadata"])


@dataclass(frozen=True, slots=True)
class _OfLive(_Placed):
    """A change of a live object: a plugin's Service, unless `kind` says otherwise."""

    live: Mapping[str, Any] = field(repr=False)
    kind: ClassVar[str] = kinds.SERVICE.kind

    def _find_place(self) -> Place:
        return _place_of(self.kind, self.live["metadata"])


@dataclass(frozen=True, slots=True)
class RecordRivals(_OfLive):
    """Record on a plugin's Service which others have its plugin's name."""

    record: str
    purpose: ClassVar[str] = "record that other Services have the plugin's name"


@dataclass(frozen=True, slots=True)
class StripFinalizer(_OfLive):
    """Remove CloudNativePG's finalizer from a Service that it no longer looks at."""

    purpose: ClassVar[str] = "remove CloudNativePG's finalizer"


@dataclass(frozen=True, slots=True)
class HideService(_OfLive):
    """Remove CloudNativePG's label from a Service."""

    purpose: ClassVar[str] = "remove CloudNativePG's label"


@dataclass(frozen=True, slots=True)
class ShowService(_OfLive):
    """Restore CloudNativePG's label on a Service."""

    plugin: Plugin
    purpose: ClassVar[str] = "restore CloudNativePG's label"


@dataclass(frozen=True, slots=True)
class RecordSeen(_OfLive):
    """Record which of CloudNativePG's pods may have seen the label of a Service."""

    pods: tuple[str, ...]
    purpose: ClassVar[str] = "record which pods may have seen its label"


@dataclass(frozen=True, slots=True)
class PatchPrevious(_Named):
    """Change an object of a previous installation, by a JSON merge patch of `desired.take_over`."""

    patch: Object = field(repr=False)
    purpose: str


@dataclass(frozen=True, slots=True)
class RefreshPod(_Named):
    """Annotate a pod, so that the kubelet updates its mounted Secrets at once."""

    certificates: str
    """The certificates that it is to have."""
    purpose: ClassVar[str] = "have the kubelet update its Secrets at once"


@dataclass(frozen=True, slots=True)
class Nudge(_Placed):
    """Annotate a Cluster, so that CloudNativePG reconciles it."""

    cluster: ClusterFacts
    plugin: str
    token: str
    purpose: ClassVar[str] = "have CloudNativePG reconcile it"

    def _find_place(self) -> Place:
        return kinds.CLUSTER.kind, self.cluster.namespace, self.cluster.name


@dataclass(frozen=True, slots=True)
class RevokeAccount(_OfLive):
    """End the use of an account in a plugin's Deployment; its pods keep running without rights."""

    kind: ClassVar[str] = kinds.DEPLOYMENT.kind
    purpose: ClassVar[str] = "remove the account, which is not granted"


@dataclass(frozen=True, slots=True)
class _OfResource(_Placed):
    """A change of a `CNPGPlugin`."""

    resource: Resource
    kind: ClassVar[str] = kinds.PLUGIN.kind

    def _find_place(self) -> Place:
        return self.kind, self.resource.namespace, self.resource.name


@dataclass(frozen=True, slots=True)
class AddFinalizer(_OfResource):
    """Add this operator's finalizer to a resource."""

    purpose: ClassVar[str] = "add the operator's finalizer"


@dataclass(frozen=True, slots=True)
class RemoveFinalizer(_OfResource):
    """Remove this operator's finalizer, so that the resource can be deleted."""

    purpose: ClassVar[str] = "remove the operator's finalizer"


@dataclass(frozen=True, slots=True)
class ReportStatus(_OfResource):
    """Write the part of a status that the plugin's pass owns, all of it at once."""

    status: Mapping[str, Any]
    purpose: ClassVar[str] = "report what the pass came to"


@dataclass(frozen=True, slots=True)
class Record(_OfResource):
    """Write the part of a status that the namespace's pass owns, all of it at once."""

    part: Mapping[str, Any]
    purpose: ClassVar[str] = "record what is done about its sidecar or CloudNativePG"


@dataclass(frozen=True, slots=True)
class RecordEvent(_OfResource):
    """Write an Event on a resource; one that is refused costs nothing else."""

    reason: str
    message: str
    warning: bool = False
    kind: ClassVar[str] = kinds.EVENT.kind

    @property
    def purpose(self) -> str:
        """What it reports."""
        return f"report {self.reason}: {self.message}"


@dataclass(frozen=True, slots=True)
class _OfCNPG(_Placed):
    """A change of CloudNativePG's Deployment."""

    cnpg: CNPGFacts

    def _find_place(self) -> Place:
        return kinds.DEPLOYMENT.kind, self.cnpg.namespace, self.cnpg.deployment


@dataclass(frozen=True, slots=True)
class RestartCNPG(_OfCNPG):
    """Request a rolling restart of CloudNativePG."""

    record: RestartRecord
    purpose: ClassVar[str] = "restart CloudNativePG"


@dataclass(frozen=True, slots=True)
class RecordWithdrawal(_OfCNPG):
    """Record the withdrawal of a plugin that CloudNativePG will continue to use."""

    plugin_name: str
    now: datetime
    purpose: ClassVar[str] = "record the plugin that CloudNativePG does not forget by itself"


@dataclass(frozen=True, slots=True)
class ApplySidecars(_OfCNPG):
    """Apply all sidecars of a namespace; an empty template removes all of them."""

    template: Object = field(repr=False)
    rolled_at: datetime | None
    purpose: ClassVar[str] = "apply the set of sidecars, which rolls CloudNativePG"


OfSecret = WriteSecret | IssuePair | RestoreMarks | TakeOver | GiveBack
"""Changes of a Secret with a key."""

OfService = RecordRivals | StripFinalizer | HideService | ShowService | RecordSeen
ForCNPG = OfService | Nudge | RestartCNPG | RecordWithdrawal | ApplySidecars
"""What CloudNativePG reads."""

OfResource = AddFinalizer | RemoveFinalizer | ReportStatus | Record | RecordEvent
"""What the resource itself or its Events say."""

OfOthers = Apply | Delete | Orphan | PatchPrevious | RefreshPod | RevokeAccount
Write = OfOthers | OfSecret | OfResource | ForCNPG
"""Everything that a plan can ask for."""


def _place_of(kind: str, metadata: Mapping[str, Any]) -> Place:
    return kind, str(metadata.get("namespace") or ""), metadata["name"]
