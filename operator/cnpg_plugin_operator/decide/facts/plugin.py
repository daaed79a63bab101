"""What was seen, frozen: the values that decisions are made from.

Adapters (`cluster`, `handshake`, `pki`) fill these in and nothing of a wire type passes them.
Private keys live only in `Material`, whose representation never shows them.
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
    """For people and for checks: `ECDSA P-256`, `RSA 2048`, `Ed25519`."""
    is_ca: bool
    fingerprint: str
    """SHA-256 of the certificate, hexadecimal."""
    encoded: bytes = field(default=b"", repr=False)
    """The certificate itself (DER)."""


@dataclass(frozen=True, slots=True)
class PairFacts:
    """What one Secret with a certificate and its key holds."""

    secret: str
    """Name of the Secret."""
    exists: bool = False
    problem: str | None = None
    """Why the content cannot be read: a missing key, bad PEM. None where it can be."""
    chain: tuple[CertificateFacts, ...] = ()
    """The certificates of `tls.crt`, leaf first."""
    authorities: tuple[CertificateFacts, ...] = ()
    """The certificates of `ca.crt`."""
    key_matches: bool = False
    """Whether `tls.key` belongs to the leaf."""
    owner: str | None = None
    """Who owns the Secret, where that is neither this resource nor its user."""
    written_at: datetime | None = None
    """When the Secret was last written."""

    @property
    def leaf(self) -> CertificateFacts | None:
        """The certificate that is presented."""
        return self.chain[0] if self.chain else None

    @property
    def fingerprint(self) -> str:
        """Digest that changes whenever a public part of the pair changes."""
        return ",".join(c.fingerprint for c in (*self.chain, *self.authorities))


@dataclass(frozen=True, slots=True)
class Trust:
    """Whom the two sides trust, as the Secret of trusted certificates says."""

    servers: tuple[CertificateFacts, ...]
    """By these CloudNativePG trusts the plugin."""
    clients: tuple[CertificateFacts, ...]
    """By these the plugin trusts CloudNativePG."""
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
    """The name the server certificate is verified for."""
    plugin_name: str
    """The name the plugin must answer under."""


@dataclass(frozen=True, slots=True)
class Material:
    """The TLS material of CloudNativePG's side of the connection."""

    trust: bytes = field(repr=False)
    """PEM; every certificate in it is trusted (the server Secret's `tls.crt`)."""
    certificate: bytes = field(repr=False)
    """PEM of the pair that is presented (the client Secret's `tls.crt`)."""
    key: bytes = field(repr=False)
    """PEM of its private key."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What a plugin says of itself."""

    name: str
    version: str
    display_name: str = ""
    vendor: str = ""
    license: str = ""
    maturity: str = ""
    url: str = ""
    capabilities: tuple[str, ...] = ()
    """Names of the advertised services, sorted, without their `TYPE_` prefix; a number that this
    program does not know is kept as `UNKNOWN_<n>`."""

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
    """How one handshake ended; a failure is a value, too."""

    reason: Reason
    """`Identified` on success, else the first step that failed."""
    message: str
    identity: Identity | None = None
    """What the plugin said, as far as it got."""
    served: str = ""
    """Fingerprint of the certificate that the server showed, as far as it got."""

    @property
    def succeeded(self) -> bool:
        """Whether CloudNativePG could load this plugin."""
        return self.reason is Reason.IDENTIFIED


# Workload


@dataclass(frozen=True, slots=True)
class ContainerFacts:
    """One container of a pod, in the kubelet's words."""

    name: str
    running_since: datetime | None
    waiting_reason: str
    """`state.waiting.reason`, or empty."""
    waiting_message: str
    exit_code: int | None
    """Of the current or last termination, None before the first."""
    exit_reason: str
    """The kubelet's word for that termination, such as `OOMKilled`."""
    exit_message: str
    """What the container left in its termination log."""
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
    """The certificates it was last told of; see `names.ANNOTATION_REFRESHED`."""
    unready_since: datetime | None = None
    """When it was last found not to be ready; None while it is."""
    deleted_at: datetime | None = None
    """When its deletion was requested; it may serve until its grace period ends."""


@dataclass(frozen=True, slots=True)
class WorkloadFacts:
    """A plugin's Deployment and its newest pods."""

    exists: bool
    up_to_date: bool = False
    """Whether the Deployment's controller has seen the newest generation."""
    wanted: int = 0
    updated: int = 0
    available: int = 0
    replicas: int = 0
    refused: str = ""
    """Message of the `ReplicaFailure` condition, or empty."""
    pods: tuple[PodFacts, ...] = ()


@dataclass(frozen=True, slots=True)
class SelectingService:
    """A Service of the namespace, and the pods that it sends to."""

    name: str
    selector: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ForeignObject:
    """Somebody else's object under a name that the plugin needs."""

    kind: str
    name: str
    owner: str
    """Who owns it, as far as it says."""
    uid: str = ""
    published: bool = False
    """Whether it is a Service that CloudNativePG would take the plugin of this name from."""
    cnpg_finalizer: bool = False
    """Whether CloudNativePG has put its finalizer on that Service (1.29.0 to 1.30.0)."""
