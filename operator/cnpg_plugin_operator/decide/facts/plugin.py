"""Facts about plugins, frozen: the input of decisions.

The adapters (`cluster`, `handshake`, `pki`) create these values; no wire type passes them. Private
keys are only in `Material`, whose representation never shows them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from cnpg_plugin_operator.api.conditions import Reason

# Certificates


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """The public part of one X.509 certificate."""

    subject: str
    """RFC 4514 text of the subject."""
    issuer: str
    """RFC 4514 text of the issuer."""
    subject_der: bytes
    """The subject as encoded; names are compared in this form, as Go does."""
    issuer_der: bytes
    """The issuer as encoded."""
    dns_names: tuple[str, ...]
    """DNS names of the SAN extension; the common name does not count."""
    not_before: datetime
    not_after: datetime
    extended_key_usages: frozenset[str] | None
    """Dotted OIDs, or None where the extension is absent (everything is allowed)."""
    key_type: str
    """For messages and checks: `ECDSA P-256`, `RSA 2048`, `Ed25519`."""
    is_ca: bool
    fingerprint: str
    """SHA-256 of the certificate, hexadecimal."""
    encoded: bytes = field(default=b"", repr=False)
    """The certificate itself (DER)."""


@dataclass(frozen=True, slots=True)
class PairFacts:
    """The content of one Secret with a certificate and its key."""

    secret: str
    """Name of the Secret."""
    exists: bool = False
    problem: str | None = None
    """Why the content is unreadable: a missing key, bad PEM. None where it is readable."""
    chain: tuple[CertificateFacts, ...] = ()
    """The certificates of `tls.crt`, leaf first."""
    authorities: tuple[CertificateFacts, ...] = ()
    """The certificates of `ca.crt`."""
    key_matches: bool = False
    """Whether `tls.key` belongs to the leaf."""
    owner: str | None = None
    """The owner of the Secret, where that is neither this resource nor its user."""
    written_at: datetime | None = None
    """When the Secret was last written."""

    @property
    def leaf(self) -> CertificateFacts | None:
        """The certificate that is presented."""
        return self.chain[0] if self.chain else None

    @property
    def fingerprint(self) -> str:
        """Digest of the public parts of the pair."""
        return ",".join(c.fingerprint for c in (*self.chain, *self.authorities))


@dataclass(frozen=True, slots=True)
class Trust:
    """Whom the two sides trust, from the Secret of trusted certificates."""

    servers: tuple[CertificateFacts, ...]
    """The certificates by which CloudNativePG trusts the plugin."""
    clients: tuple[CertificateFacts, ...]
    """The certificates by which the plugin trusts CloudNativePG."""
    changed_at: datetime | None = None
    """When they last changed; None where they never did."""


# Handshake


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where CloudNativePG would dial, and whom it expects there."""

    host: str
    """`<service>.<namespace>.svc`"""
    port: int
    server_name: str
    """The name that the server certificate is verified for."""
    plugin_name: str
    """The name that the plugin must report."""


@dataclass(frozen=True, slots=True)
class Material:
    """CloudNativePG's TLS material for the connection."""

    trust: bytes = field(repr=False)
    """PEM; every certificate in it is trusted (the server Secret's `tls.crt`)."""
    certificate: bytes = field(repr=False)
    """PEM of the pair that it presents (the client Secret's `tls.crt`)."""
    key: bytes = field(repr=False)
    """PEM of its private key."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What a plugin reports about itself."""

    name: str
    version: str
    display_name: str = ""
    vendor: str = ""
    license: str = ""
    maturity: str = ""
    url: str = ""
    capabilities: tuple[str, ...] = ()
    """Names of the advertised services, sorted, without the prefix `TYPE_`; `UNKNOWN_<n>` for a
    number that this program does not know."""

    def section(self) -> dict[str, Any]:
        """Write it as the status and the gate's message hold it: what is empty is left out."""
        said = {key: getattr(self, field) for key, field in IDENTITY_KEYS.items()}
        said["capabilities"] = list(self.capabilities)
        return {key: value for key, value in said.items() if value}


IDENTITY_KEYS: Final[Mapping[str, str]] = {
    "name": "name",
    "version": "version",
    "displayName": "display_name",
    "vendor": "vendor",
    "license": "license",
    "maturity": "maturity",
    "url": "url",
}
"""The texts of an identity: keys in JSON, and the fields they stand for."""


@dataclass(frozen=True, slots=True)
class HandshakeOutcome:
    """The result of one handshake; a failure is a value, too."""

    reason: Reason
    """`Identified` on success, else the first step that failed."""
    message: str
    identity: Identity | None = None
    """What the plugin reported until the handshake ended."""
    served: str = ""
    """Fingerprint of the server's certificate; empty where it was not presented."""
    closed: bool = False
    """Whether the plugin closed the connection without a word, as a process does that ends."""

    @property
    def succeeded(self) -> bool:
        """Whether CloudNativePG could load this plugin."""
        return self.reason is Reason.IDENTIFIED


# Workload


@dataclass(frozen=True, slots=True)
class ContainerFacts:
    """One container of a pod, as the kubelet reports it."""

    name: str
    running_since: datetime | None
    waiting_reason: str
    """`state.waiting.reason`, or empty."""
    waiting_message: str
    exit_code: int | None
    """Of the current or last termination; None before the first."""
    exit_reason: str
    """The kubelet's reason for that termination, such as `OOMKilled`."""
    exit_message: str
    """The container's termination message."""
    restarts: int
    ready: bool
    image: str


@dataclass(frozen=True, slots=True)
class PodFacts:
    """One pod of a plugin."""

    name: str
    uid: str
    created: datetime
    ready: bool
    deleting: bool
    unschedulable: str
    """The scheduler's message, or empty."""
    containers: tuple[ContainerFacts, ...]
    address: str = ""
    """Its IP address, or empty while it has none."""
    refreshed_for: str = ""
    """The certificates of its last refresh; see `names.annotations.REFRESHED`."""
    unready_since: datetime | None = None
    """When it was last found not ready; None while it is ready."""
    deleted_at: datetime | None = None
    """When its deletion was requested; it may serve until its grace period ends."""


@dataclass(frozen=True, slots=True)
class WorkloadFacts:
    """A plugin's Deployment and its newest pods."""

    exists: bool
    up_to_date: bool = False
    """Whether the Deployment's controller has observed the newest generation."""
    wanted: int = 0
    updated: int = 0
    available: int = 0
    replicas: int = 0
    refused: str = ""
    """Message of the `ReplicaFailure` condition, or empty."""
    pods: tuple[PodFacts, ...] = ()


@dataclass(frozen=True, slots=True)
class LeaseFacts:
    """A Lease that a pod of a plugin holds, so that only this pod may listen."""

    name: str
    pod: str
    plugin: str
    """Name of the pod's `CNPGPlugin`."""


@dataclass(frozen=True, slots=True)
class SelectingService:
    """A Service of the namespace, and its pod selector."""

    name: str
    selector: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ForeignObject:
    """Another owner's object with a name that the plugin needs."""

    kind: str
    name: str
    owner: str
    """Its owner, as far as the object tells."""
    uid: str = ""
    published: bool = False
    """Whether it is a Service that CloudNativePG would register for this plugin's name."""
    remnant: bool = False
    """Whether its owner was an earlier resource of the same name, which is gone."""
    deleting: bool = False
