"""The spec of a `CNPGPlugin`, field by field: frozen, with defaults.

The CRD's schema and CEL rules are applied first and have the same defaults; `api.plugin` parses.
"""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from cnpg_plugin_operator.api.values import (
    Annotations,
    Directory,
    DNSPattern,
    Duration,
    FileName,
    KindName,
    Labels,
    Name,
    Port,
    PortName,
    RoleName,
    ServiceName,
    Share,
    Tree,
    Word,
)

RSA_LEAST: Final = 2048
RSA_MOST: Final = 4096
ECDSA_SIZES: Final = (256, 384)
"""Supported sizes of keys, in bits."""

TIMEOUTS: Final = (timedelta(seconds=1), timedelta(seconds=30))
"""Shortest and longest time limit of a handshake."""

SHORTEST_INTERVAL: Final = timedelta(seconds=10)
"""Minimum time between two handshakes while nothing changes."""


class Mode(StrEnum):
    """How CloudNativePG reaches the plugin."""

    STANDALONE = "Standalone"
    """A separate Deployment and Service, over mutual TLS."""
    SIDECAR = "Sidecar"
    """A container in CloudNativePG's own pod, over a unix socket."""


class RestartPolicy(StrEnum):
    """When the operator may restart CloudNativePG."""

    IF_NEEDED = "IfNeeded"
    ALWAYS = "Always"
    NEVER = "Never"


class Provider(StrEnum):
    """Who issues the certificates."""

    CERT_MANAGER = "CertManager"
    SELF_MANAGED = "SelfManaged"
    SECRETS = "Secrets"


class ClusterRefresh(StrEnum):
    """How CloudNativePG notices a changed plugin where it does not reconcile Clusters by itself."""

    NONE = "None"
    ANNOTATE = "Annotate"


class DeletionPolicy(StrEnum):
    """What happens to the plugin of a deleted resource."""

    WAIT_FOR_CLUSTERS = "WaitForClusters"
    """It remains until no Cluster uses it."""
    DELETE = "Delete"
    ORPHAN = "Orphan"
    """It keeps running without an owner; the next resource of its name adopts it."""


class ClientTrust(StrEnum):
    """By which certificates of the client Secret a plugin trusts CloudNativePG."""

    CHAIN = "Chain"
    ROOT = "Root"

    @property
    def key(self) -> str:
        """The key of the Secret that holds them."""
        return {"Chain": "tls.crt", "Root": "ca.crt"}[self.value]


class UpgradePolicy(StrEnum):
    """Whether a changed plugin reaches CloudNativePG, and so the databases, without approval."""

    AUTOMATIC = "Automatic"
    MANUAL = "Manual"


class _Model(BaseModel):
    """Camel case outside, snake case inside; the API server handles unknown fields."""

    model_config = ConfigDict(
        frozen=True, alias_generator=to_camel, populate_by_name=True, extra="ignore"
    )


class Strategy(_Model):
    """How pods are replaced: `Recreate`, because most plugins listen only as lease holder."""

    type: Literal["Recreate", "RollingUpdate"] = "Recreate"
    rolling_update: Tree | None = None


class ExtraPort(_Model):
    """A further port of the container."""

    name: PortName
    port: Port
    protocol: Literal["TCP", "UDP", "SCTP"] = "TCP"
    service_port: Port | None = None
    """None: the Service does not have it."""


class PodDisruptionBudget(_Model):
    """How many pods a voluntary disruption may take away at once."""

    min_available: Share | None = None
    max_unavailable: Share | None = None
    unhealthy_pod_eviction_policy: Literal["IfHealthyBudget", "AlwaysAllow"] | None = None


class NetworkPolicy(_Model):
    """Whether only CloudNativePG and the operator may connect to the plugin's port."""

    enabled: bool = False


class Probes(_Model):
    """Probes of the plugin's container; None means a TCP connection to the port."""

    startup: Tree | None = None
    readiness: Tree | None = None
    liveness: Tree | None = None


class ServiceAccount(_Model):
    """The account of the plugin's pods."""

    create: bool | None = None
    """None: create one when roles are to be bound."""
    name: Name | None = None
    annotations: Annotations = Field(default_factory=dict)


class Service(_Model):
    """The plugin's Service."""

    name: ServiceName | None = None
    labels: Labels = Field(default_factory=dict)
    annotations: Annotations = Field(default_factory=dict)
    ip_families: Annotated[tuple[Literal["IPv4", "IPv6"], ...], Field(max_length=2)] = ()
    ip_family_policy: Literal["SingleStack", "PreferDualStack", "RequireDualStack"] | None = None


class IssuerRef(_Model):
    """A cert-manager issuer of the user's choice."""

    name: Name
    kind: KindName = "Issuer"
    group: Name = "cert-manager.io"


class PrivateKey(_Model):
    """Private key of the certificates."""

    algorithm: Literal["ECDSA", "RSA"] = "ECDSA"
    size: Annotated[int, Field(ge=256, le=RSA_MOST)] | None = None

    @property
    def effective_size(self) -> int:
        """Bits; by default the smallest size of the algorithm that is considered secure."""
        return self.size or {"ECDSA": 256, "RSA": 2048}[self.algorithm]

    @property
    def is_usable(self) -> bool:
        """Whether all sides support such a key, and generating it takes a second or two at most."""
        if self.algorithm == "RSA":
            return RSA_LEAST <= self.effective_size <= RSA_MOST
        return self.effective_size in ECDSA_SIZES


class ServerFiles(_Model):
    """Where the server finds its pair."""

    directory: Directory = "/server"
    certificate: FileName = "tls.crt"
    private_key: FileName = "tls.key"


class ClientFiles(_Model):
    """Where the server finds the certificates by which it trusts clients."""

    directory: Directory = "/client"
    trust: FileName = "tls.crt"


class Files(_Model):
    """The TLS files in the container."""

    server: ServerFiles = ServerFiles()
    client: ClientFiles = ClientFiles()

    @property
    def share_directory(self) -> bool:
        """Whether all files are in one directory."""
        return self.server.directory == self.client.directory


class TLSSecrets(_Model):
    """The user's own Secrets."""

    server: Name
    """Holds the pair that the plugin presents."""
    client: Name
    """Holds the pair that CloudNativePG presents."""


class TLS(_Model):
    """Who issues the certificates, and what they contain."""

    provider: Provider | None = None
    """None: the operator's default, which is never `SECRETS`."""
    secrets: TLSSecrets | None = None
    """Set if and only if the provider is `SECRETS`."""
    issuer_ref: IssuerRef | None = None
    issuer_scope: Literal["Namespace", "Plugin"] = "Namespace"
    duration: Duration = timedelta(hours=2160)
    renew_before: Duration | None = None
    private_key: PrivateKey = PrivateKey()
    dns_names: Annotated[tuple[DNSPattern, ...], Field(max_length=32)] = ()
    server_name: Name | None = None
    files: Files = Files()
    client_trust: ClientTrust = ClientTrust.CHAIN
    reload: Literal["Auto", "Restart", "None"] = "Auto"


class CNPG(_Model):
    """The CloudNativePG that uses the plugin, named after the section `status.cnpg`.

    It has no namespace: CloudNativePG finds plugins only in its own.
    """

    deployment_name: Name | None = None
    """None: the only one in the namespace."""
    restart_policy: RestartPolicy | None = None
    """None: the operator's default."""
    cluster_refresh: ClusterRefresh = ClusterRefresh.NONE


class Handshake(_Model):
    """Timeout and interval of the handshake."""

    timeout: Duration = timedelta(seconds=5)
    interval: Duration = timedelta(minutes=10)


class TakeOver(_Model):
    """An installation without this operator, which the resource replaces."""

    service_name: ServiceName
    """The Service by which CloudNativePG uses the plugin now."""
    scale_down: Literal["IfNeeded", "Never"] = "IfNeeded"
    """Whether its Deployment may be scaled to zero where it holds the Lease that a server needs."""


class Spec(_Model):
    """What the user wants. The CRD documents the fields."""

    plugin_name: Annotated[Name, Field(max_length=63)]
    mode: Mode = Mode.STANDALONE
    image: str = Field(min_length=1, max_length=1024, pattern=r"^\S+$")
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    image_pull_secrets: tuple[Tree, ...] = Field((), max_length=32)
    command: tuple[Word, ...] = Field((), max_length=64)
    args: tuple[Word, ...] = Field((), max_length=256)
    server_arguments: Literal["Machinery", "None"] = "Machinery"
    port: int = Field(9090, ge=1, le=65535)
    extra_ports: tuple[ExtraPort, ...] = Field((), max_length=16)
    env: tuple[Tree, ...] = Field((), max_length=200)
    env_from: tuple[Tree, ...] = Field((), max_length=50)
    resources: Tree = Field(default_factory=dict)
    volumes: tuple[Tree, ...] = Field((), max_length=64)
    volume_mounts: tuple[Tree, ...] = Field((), max_length=64)
    probes: Probes = Probes()
    security_context: Tree = Field(default_factory=dict)
    pod_security_context: Tree = Field(default_factory=dict)
    node_selector: Labels = Field(default_factory=dict)
    tolerations: tuple[Tree, ...] = Field((), max_length=64)
    affinity: Tree = Field(default_factory=dict)
    topology_spread_constraints: tuple[Tree, ...] = Field((), max_length=16)
    priority_class_name: Name | None = None
    pod_labels: Labels = Field(default_factory=dict)
    pod_annotations: Annotations = Field(default_factory=dict)
    deployment_labels: Labels = Field(default_factory=dict)
    replicas: int = Field(1, ge=1, le=100)
    strategy: Strategy = Strategy()
    min_ready_seconds: Annotated[int, Field(ge=0, le=3600)] | None = None
    progress_deadline_seconds: Annotated[int, Field(ge=1, le=86400)] | None = None
    pod_disruption_budget: PodDisruptionBudget | None = None
    network_policy: NetworkPolicy = NetworkPolicy()
    pod_template: Tree = Field(default_factory=dict)
    service_account: ServiceAccount = ServiceAccount()
    cluster_roles: tuple[RoleName, ...] = Field((), max_length=32)
    roles: tuple[RoleName, ...] = Field((), max_length=32)
    service: Service = Service()
    tls: TLS = TLS()
    cnpg: CNPG = CNPG()
    upgrade_policy: UpgradePolicy = UpgradePolicy.AUTOMATIC
    handshake: Handshake = Handshake()
    deletion_policy: DeletionPolicy = DeletionPolicy.WAIT_FOR_CLUSTERS
    take_over: TakeOver | None = None
    suspend: bool = False
