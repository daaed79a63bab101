"""The conditions of a `CNPGPlugin`: their order, their reasons, and how `Ready` sums them up.

Reasons are API: removing or renaming one is a breaking change. Each is explained at its declaration
and has a section in docs/runbooks.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from cnpg_plugin_operator.api.untrusted import mapping, printable


class Type(StrEnum):
    """Types of conditions, in the order in which `Ready` summarizes them."""

    ACCEPTED = "Accepted"
    """The spec is valid here."""
    CERTIFICATES_READY = "CertificatesReady"
    """Both Secrets hold usable, unexpired, matching pairs."""
    AVAILABLE = "Available"
    """The workload runs the wanted revision."""
    HANDSHAKE_SUCCEEDED = "HandshakeSucceeded"
    """The plugin answered over CloudNativePG's channel under its own name."""
    REGISTERED = "Registered"
    """CloudNativePG uses exactly this revision."""
    READY = "Ready"
    """All of the above."""
    RECONCILING = "Reconciling"
    """The operator is at work, or waits for others: `Ready` is Unknown. Present only while that is
    so."""
    STALLED = "Stalled"
    """`Ready` is False, and only a change by a person helps. Present only while that is so."""
    SUSPENDED = "Suspended"
    """The user suspended the resource: the other conditions stay as they were last seen. Present
    only while that is so."""


SUMMED_UP: Final = (
    Type.ACCEPTED,
    Type.CERTIFICATES_READY,
    Type.AVAILABLE,
    Type.HANDSHAKE_SUCCEEDED,
    Type.REGISTERED,
)
"""The conditions that `Ready` summarizes; the first that is not True decides its reason."""


class Reason(StrEnum):
    """Why a condition has its status."""

    # Any condition
    NOT_YET_REPORTED = "NotYetReported"
    """An earlier condition has to become True first."""
    CLUSTER_ERROR = "ClusterError"
    """The Kubernetes API refused or failed a request; the operator repeats it."""
    INTERNAL_ERROR = "InternalError"
    """The operator failed unexpectedly; its log has the trace."""
    WRITE_LOOP_STOPPED = "WriteLoopStopped"
    """Another writer keeps reverting an object that the operator wrote more than ten times within a
    minute; the operator now writes it rarely."""

    # Accepted
    ACCEPTED = "Accepted"
    """The spec is valid here."""
    INVALID_SPEC = "InvalidSpec"
    """The spec asks for something impossible or not allowed."""
    NAME_CONFLICT = "NameConflict"
    """Another resource or a foreign object owns a name that this one needs."""
    CNPG_NOT_FOUND = "CNPGNotFound"
    """No CloudNativePG operator runs in this namespace."""
    CNPG_AMBIGUOUS = "CNPGAmbiguous"
    """More than one CloudNativePG Deployment runs in this namespace, and none is named."""
    CNPG_NOT_WATCHING = "CNPGNotWatching"
    """CloudNativePG's `WATCH_NAMESPACE` excludes its own namespace: it sees no plugin there."""
    UNSUPPORTED_BY_OLM = "UnsupportedByOLM"
    """The spec asks for a sidecar, but OLM would remove it from CloudNativePG's Deployment."""
    UNSUPPORTED_BY_KUBERNETES = "UnsupportedByKubernetes"
    """The spec asks for a sidecar, but this Kubernetes has no native sidecars (added in 1.29)."""
    IN_USE = "InUse"
    """The resource is being deleted, but Clusters still use the plugin."""
    DELETING = "Deleting"
    """The resource is being deleted and its objects are being removed."""

    # CertificatesReady
    ISSUED = "Issued"
    """Both Secrets are usable."""
    NOT_NEEDED = "NotNeeded"
    """CloudNativePG reaches a sidecar over a unix socket, without TLS."""
    CERT_MANAGER_NOT_INSTALLED = "CertManagerNotInstalled"
    """The cluster does not serve cert-manager's kinds."""
    ISSUER_NOT_READY = "IssuerNotReady"
    """The issuer does not exist or says it is not ready."""
    ISSUING = "Issuing"
    """cert-manager is issuing."""
    ISSUING_FAILED = "IssuingFailed"
    """cert-manager failed to issue; the message quotes it."""
    EXPIRING = "Expiring"
    """The Secrets are usable, but a certificate expires soon and was not renewed. The only reason
    of a True condition that comes with a Warning Event."""
    FOREIGN_SECRET = "ForeignSecret"  # noqa: S105 - a reason
    """A Secret that this resource needs belongs to another owner."""
    SECRET_MISSING = "SecretMissing"  # noqa: S105 - a reason
    """A required Secret does not exist."""
    SECRET_INCOMPLETE = "SecretIncomplete"  # noqa: S105 - a reason
    """A Secret lacks a key or holds unreadable PEM."""
    KEY_MISMATCH = "KeyMismatch"
    """Private key and certificate do not belong together."""
    EXPIRED = "Expired"
    """A certificate has expired."""
    NOT_YET_VALID = "NotYetValid"
    """A certificate is not valid yet: compare the clocks."""
    NAME_NOT_COVERED = "NameNotCovered"
    """The server certificate has no SAN for the name CloudNativePG verifies."""
    WRONG_KEY_USAGE = "WrongKeyUsage"
    """The extended key usage does not allow the purpose."""
    UNSUPPORTED_KEY = "UnsupportedKey"
    """One of the sides cannot use the key's type."""
    INCOMPATIBLE_ISSUER = "IncompatibleIssuer"
    """Go would not send the client certificate: its issuer is not in the pool the plugin trusts."""

    # Available
    AVAILABLE = "Available"
    """The wanted revision runs and accepts connections."""
    IMAGE_PULL_ERROR = "ImagePullError"
    """The image cannot be pulled."""
    CRASH_LOOP = "CrashLoop"
    """The container exits or cannot be started."""
    UNSCHEDULABLE = "Unschedulable"
    """The pod cannot be scheduled."""
    PODS_REFUSED = "PodsRefused"
    """The API server refuses to create the pod (quota, Pod Security, admission)."""
    NOT_LISTENING = "NotListening"
    """The container runs but its readiness probe fails: nothing serves the port."""
    ROLLOUT_IN_PROGRESS = "RolloutInProgress"
    """Pods are being started or replaced."""
    AWAITING_APPROVAL = "AwaitingApproval"
    """A change waits for approval: `upgradePolicy` is Manual and Clusters use the plugin."""

    TAKE_OVER_FAILED = "TakeOverFailed"
    """The plugin did not serve although the previous Deployment was scaled to zero for it, so that
    one was scaled up again."""

    MOUNT_FAILED = "MountFailed"
    """A volume of the plugin's pod cannot be mounted, or one of a sidecar, so that CloudNativePG's
    pod did not start."""
    EVICTED = "Evicted"
    """The kubelet evicted CloudNativePG's pod because of what the sidecar stored or used."""
    CNPG_BLOCKED = "CNPGBlocked"
    """With the sidecar beside it, CloudNativePG's pod did not become ready."""
    SIDECAR_PENDING = "SidecarPending"
    """CloudNativePG's Deployment is about to get the sidecar; the rollout has to wait."""
    SIDECAR_REVERTED = "SidecarReverted"
    """Another manager of CloudNativePG's Deployment removed the sidecar repeatedly."""

    # HandshakeSucceeded
    IDENTIFIED = "Identified"
    """The plugin answered every call under its own name."""
    SOCKET_MISSING = "SocketMissing"
    """The plugin did not open its unix socket before the deadline."""
    UNREACHABLE = "Unreachable"
    """No connection: check name, address, port, network or socket."""
    TLS_REJECTED = "TLSRejected"
    """The server's certificate or protocol is not what CloudNativePG accepts."""
    CLIENT_CERTIFICATE_REFUSED = "ClientCertificateRefused"
    """The plugin refuses the certificate that CloudNativePG presents."""
    NO_ANSWER = "NoAnswer"
    """The connection is established, but a call was not answered in time."""
    NOT_A_PLUGIN = "NotAPlugin"
    """The server does not speak CNPG-I's identity service."""
    IDENTITY_MISMATCH = "IdentityMismatch"
    """The plugin answers under another name."""
    CAPABILITY_FAILED = "CapabilityFailed"
    """An advertised service does not answer `GetCapabilities`: CloudNativePG would not load it."""
    NOT_SERVING = "NotServing"
    """The plugin says that it is not ready (`Probe` or `grpc.health.v1`)."""

    # Registered
    REGISTERED = "Registered"
    """CloudNativePG has registered this revision."""
    ANNOUNCED = "Announced"
    """CloudNativePG registers the plugin by itself; this version does not report it."""
    AWAITING_REGISTRATION = "AwaitingRegistration"
    """The Service is published; CloudNativePG has not reported its registration yet."""
    AWAITING_PODS = "AwaitingPods"
    """The plugin's pods have not loaded new certificates yet. Where CloudNativePG is to present
    another certificate, it keeps the previous one until they have."""
    REREGISTERING = "Reregistering"
    """The Service was touched so that CloudNativePG rebuilds its connection."""
    RESTART_PENDING = "RestartPending"
    """CloudNativePG has to restart; the restart has to wait."""
    RESTARTING = "Restarting"
    """CloudNativePG is being restarted."""
    RESTART_FORBIDDEN = "RestartForbidden"
    """CloudNativePG would have to restart, but `cnpg.restartPolicy` is Never, or OLM owns it and
    the operator may not delete pods."""
    RESTART_STUCK = "RestartStuck"
    """A rollout of CloudNativePG that the plugin waits for makes no progress."""
    RESTART_REVERTED = "RestartReverted"
    """Another manager of CloudNativePG's Deployment reverted the restart twice."""
    CNPG_UNAVAILABLE = "CNPGUnavailable"
    """CloudNativePG has no available replica."""
    CLUSTERS_BLOCKED = "ClustersBlocked"
    """The plugin answers, but CloudNativePG does not reconcile Clusters because of it."""
    CNPG_REJECTED = "CNPGRejected"
    """CloudNativePG reports that it could not register the plugin; the message quotes it."""

    # Ready
    READY = "Ready"
    """All conditions are True."""

    # Suspended
    SUSPENDED = "Suspended"
    """`spec.suspend` is set: the operator changes nothing."""


FINAL: Final = frozenset(
    {
        Reason.INVALID_SPEC,
        Reason.NAME_CONFLICT,
        Reason.CNPG_AMBIGUOUS,
        Reason.CNPG_NOT_WATCHING,
        Reason.UNSUPPORTED_BY_OLM,
        Reason.UNSUPPORTED_BY_KUBERNETES,
        Reason.FOREIGN_SECRET,
        Reason.KEY_MISMATCH,
        Reason.NAME_NOT_COVERED,
        Reason.WRONG_KEY_USAGE,
        Reason.UNSUPPORTED_KEY,
        Reason.INCOMPATIBLE_ISSUER,
        Reason.TAKE_OVER_FAILED,
        Reason.SIDECAR_REVERTED,
        Reason.NOT_A_PLUGIN,
        Reason.IDENTITY_MISMATCH,
        Reason.RESTART_FORBIDDEN,
        Reason.RESTART_REVERTED,
    }
)
"""Reasons of a plugin that is not Ready which no other controller and no time removes."""


class Status(StrEnum):
    """The three values of a condition."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The state of one condition: a status with its reason and one sentence for users."""

    status: Status
    reason: Reason
    message: str

    def __post_init__(self) -> None:
        """Make the message one printable line, whatever its source."""
        object.__setattr__(self, "message", printable(self.message))

    @property
    def is_true(self) -> bool:
        """Whether the next stage may rely on this condition."""
        return self.status is Status.TRUE


NOT_YET_REPORTED: Final = Verdict(
    Status.UNKNOWN, Reason.NOT_YET_REPORTED, "An earlier condition has to become True first."
)
"""The verdict of every condition that was not evaluated."""


def yes(reason: Reason, message: str) -> Verdict:
    """Build a verdict with status True."""
    return Verdict(Status.TRUE, reason, message)


def no(reason: Reason, message: str) -> Verdict:
    """Build a verdict with status False: something is wrong or has to change."""
    return Verdict(Status.FALSE, reason, message)


def unknown(reason: Reason, message: str) -> Verdict:
    """Build a verdict with status Unknown: not decided yet."""
    return Verdict(Status.UNKNOWN, reason, message)


def summarize(verdicts: Mapping[Type, Verdict]) -> Verdict:
    """Summarize the conditions as `Ready`: the first that is not True decides."""
    for condition in SUMMED_UP:
        verdict = verdicts.get(condition, NOT_YET_REPORTED)
        if not verdict.is_true:
            return verdict
    return yes(Reason.READY, "The plugin answers CloudNativePG and is registered.")


def find_condition(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """Find a condition in the status of any object; empty where it was not reported."""
    conditions = mapping(status).get("conditions")
    found = conditions if isinstance(conditions, list) else []
    return next((c for c in found if isinstance(c, Mapping) and c.get("type") == kind), {})


def read_verdict(status: Mapping[str, Any], kind: Type) -> Verdict | None:
    """Read one condition from a status, or None where it is absent or has unknown values."""
    found = find_condition(status, kind)
    try:
        return Verdict(
            Status(str(found.get("status"))),
            Reason(str(found.get("reason"))),
            str(found.get("message", "")),
        )
    except ValueError:
        return None
