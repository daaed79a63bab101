"""The spec of a `CNPGPlugin` for the rest of the program: parsed once, frozen, with defaults.

The CRD's schema and CEL rules are the first gate and carry the same defaults. Parsing repeats what
it leans on, for a resource may have been stored before a rule existed.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.durations import parse_duration
from cnpg_plugin_operator.errors import InvalidSpecError

Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
"""A Go duration string such as `2160h` or `5s`."""

Tree = dict[str, Any]
"""A part of a Pod that is handed on as it is; the API server judges it."""


class RestartPolicy(StrEnum):
    """What may be done to CloudNativePG."""

    IF_NEEDED = "IfNeeded"
    ALWAYS = "Always"
    NEVER = "Never"


class UpgradePolicy(StrEnum):
    """Whether a changed plugin reaches CloudNativePG, and so the databases, by itself."""

    AUTOMATIC = "Automatic"
    MANUAL = "Manual"


class _Model(BaseModel):
    """Camel case outside, snake case inside; unknown fields are the API server's business."""

    model_config = ConfigDict(
        frozen=True, alias_generator=to_camel, populate_by_name=True, extra="ignore"
    )


class Strategy(_Model):
    """How pods are replaced. Most plugin servers listen only on their lease holder: `Recreate`."""

    type: Literal["Recreate", "RollingUpdate"] = "Recreate"
    rolling_update: Tree | None = None


class Probes(_Model):
    """Probes of the plugin's container; None means a TCP connection to the port."""

    startup: Tree | None = None
    readiness: Tree | None = None
    liveness: Tree | None = None


class ServiceAccount(_Model):
    """The account of the plugin's pods."""

    create: bool | None = None
    """None: create one when roles are to be bound."""
    name: str | None = None
    annotations: dict[str, str] = Field(default_factory=dict)


class Service(_Model):
    """The plugin's Service."""

    name: str | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    ip_families: tuple[str, ...] = ()
    ip_family_policy: str | None = None


class IssuerRef(_Model):
    """A cert-manager issuer of the user's choice."""

    name: str
    kind: str = "Issuer"
    group: str = "cert-manager.io"


class PrivateKey(_Model):
    """Key of the certificates."""

    algorithm: Literal["ECDSA", "RSA"] = "ECDSA"
    size: int | None = None

    @property
    def effective_size(self) -> int:
        """Bits; the smallest size of the algorithm that nobody calls weak."""
        return self.size or {"ECDSA": 256, "RSA": 2048}[self.algorithm]


class Mounts(_Model):
    """Where the TLS files are found in the container."""

    server: str = "/server"
    client: str = "/client"


class TLS(_Model):
    """Where certificates come from and what they say."""

    provider: Literal["CertManager"] | None = None
    """None: the operator's default."""
    issuer_ref: IssuerRef | None = None
    duration: Duration = timedelta(hours=2160)
    renew_before: Duration | None = None
    private_key: PrivateKey = PrivateKey()
    dns_names: tuple[str, ...] = ()
    server_name: str | None = None
    mounts: Mounts = Mounts()
    client_ca: Annotated[Literal["tls.crt", "ca.crt"], Field(validation_alias="clientCA")] = (
        "tls.crt"
    )


class CNPGRef(_Model):
    """The CloudNativePG operator that is meant, by the name of its Deployment.

    Called like the section `status.cnpg` that it decides about, and shaped like `tls.issuerRef`. No
    namespace: CloudNativePG finds plugins in its own only.
    """

    name: str = Field(min_length=1)


class Handshake(_Model):
    """Deadline and repetition of the handshake."""

    timeout: Duration = timedelta(seconds=5)
    interval: Duration = timedelta(minutes=10)


class Spec(_Model):
    """What the user wants. Field meanings are documented in the CRD."""

    plugin_name: str = Field(min_length=1, max_length=63)
    mode: Literal["Standalone"] = "Standalone"
    image: str = Field(min_length=1)
    image_pull_policy: str | None = None
    image_pull_secrets: tuple[Tree, ...] = ()
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    server_arguments: Literal["Machinery", "None"] = "Machinery"
    port: int = Field(9090, ge=1, le=65535)
    env: tuple[Tree, ...] = ()
    env_from: tuple[Tree, ...] = ()
    resources: Tree = Field(default_factory=dict)
    volumes: tuple[Tree, ...] = ()
    volume_mounts: tuple[Tree, ...] = ()
    probes: Probes = Probes()
    security_context: Tree = Field(default_factory=dict)
    pod_security_context: Tree = Field(default_factory=dict)
    node_selector: dict[str, str] = Field(default_factory=dict)
    tolerations: tuple[Tree, ...] = ()
    affinity: Tree = Field(default_factory=dict)
    topology_spread_constraints: tuple[Tree, ...] = ()
    priority_class_name: str | None = None
    pod_labels: dict[str, str] = Field(default_factory=dict)
    pod_annotations: dict[str, str] = Field(default_factory=dict)
    replicas: int = Field(1, ge=1)
    strategy: Strategy = Strategy()
    pod_template: Tree = Field(default_factory=dict)
    service_account: ServiceAccount = ServiceAccount()
    cluster_roles: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    service: Service = Service()
    tls: TLS = TLS()
    restart_policy: RestartPolicy | None = None
    """None: the operator's default."""
    cnpg_ref: CNPGRef | None = None
    """None: the only one of the namespace."""
    upgrade_policy: UpgradePolicy = UpgradePolicy.AUTOMATIC
    nudge_clusters: bool = False
    handshake: Handshake = Handshake()
    deletion_protection: bool = True
    suspend: bool = False


@dataclass(frozen=True, slots=True)
class Resource:
    """The identity of one `CNPGPlugin` in the cluster; known even where its spec cannot be read."""

    namespace: str
    name: str
    uid: str
    generation: int
    created: datetime
    deleting: bool


@dataclass(frozen=True, slots=True)
class Plugin(Resource):
    """One `CNPGPlugin` with its spec."""

    spec: Spec

    @property
    def service_name(self) -> str:
        """Name of the Service, hence of the host that CloudNativePG dials."""
        return self.spec.service.name or self.name

    @property
    def server_name(self) -> str:
        """The name that the server certificate is verified for."""
        return self.spec.tls.server_name or self.service_name

    @property
    def host(self) -> str:
        """The host that CloudNativePG 1.28.4, 1.29.2, 1.30.0 and newer dials."""
        return f"{self.service_name}.{self.namespace}.svc"

    @property
    def cnpg_reference(self) -> str:
        """Name of CloudNativePG's Deployment where the user named it, else empty."""
        return self.spec.cnpg_ref.name if self.spec.cnpg_ref else ""

    @property
    def owner_reference(self) -> Mapping[str, Any]:
        """The controller reference that every child carries."""
        return {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            "name": self.name,
            "uid": self.uid,
            "controller": True,
            "blockOwnerDeletion": True,
        }


LOCATION_LIMIT: Final = 3
"""How many problems of a spec are named at once: enough to act on, short enough to read."""


def parse_resource(body: Mapping[str, Any]) -> Resource:
    """Read the identity of a resource as the API server returned it."""
    metadata = body["metadata"]
    return Resource(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        generation=int(metadata.get("generation", 0)),
        created=datetime.fromisoformat(metadata["creationTimestamp"]),
        deleting=bool(metadata.get("deletionTimestamp")),
    )


def parse_plugin(body: Mapping[str, Any]) -> Plugin:
    """Parse a resource as the API server returned it.

    Raises `InvalidSpecError` with the fields that cannot be read; never anything else, whatever the
    spec's content.
    """
    try:
        spec = Spec.model_validate(body.get("spec") or {})
    except ValidationError as error:
        raise InvalidSpecError(_describe(error)) from error
    return Plugin(**asdict(parse_resource(body)), spec=spec)


def _describe(error: ValidationError) -> str:
    """Name the first fields that do not parse, without repeating their values."""
    problems = error.errors(include_input=False, include_url=False)
    named = [
        f"spec.{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"
        for problem in problems[:LOCATION_LIMIT]
    ]
    more = len(problems) - len(named)
    return "; ".join(named) + (f" (and {more} more)" if more else "")
