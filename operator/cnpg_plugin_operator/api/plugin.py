"""One `CNPGPlugin`: its identity, its spec and the names of its objects.

Parsing also applies the CRD's rules (`rules`), because a resource may have been stored before a
rule existed.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

from pydantic import ValidationError

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.rules import find_contradictions
from cnpg_plugin_operator.api.spec import DeletionPolicy, Mode, Provider, Spec
from cnpg_plugin_operator.api.times import read_time
from cnpg_plugin_operator.api.untrusted import is_within, mapping
from cnpg_plugin_operator.errors import InvalidSpecError


@dataclass(frozen=True, slots=True)
class Resource:
    """The identity of one `CNPGPlugin`, known even where its spec cannot be parsed."""

    namespace: str
    name: str
    uid: str
    generation: int
    created: datetime
    deleting: bool
    renew_requested_at: datetime | None
    """When a user requested new certificates; see `names.annotations.RENEW`."""


@dataclass(frozen=True, slots=True)
class Plugin(Resource):
    """One `CNPGPlugin` with its spec."""

    spec: Spec
    provider: Provider
    """Who issues its certificates: from the spec, else from the operator's settings."""
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    """The operator's default labels for the objects of plugins."""

    @property
    def plugin_name(self) -> str:
        """The CNPG-I name."""
        return self.spec.plugin_name

    @property
    def service_name(self) -> str:
        """Name of the Service, and so of the host that CloudNativePG dials."""
        return self.spec.service.name or self.name

    @property
    def previous_service(self) -> str:
        """Name of the Service that it takes over; empty where it takes over none."""
        return self.spec.take_over.service_name if self.spec.take_over else ""

    @property
    def adopts(self) -> bool:
        """Whether the Service that it takes over becomes its own."""
        return self.previous_service == self.service_name

    @property
    def server_name(self) -> str:
        """The name that the server certificate is verified for."""
        return self.spec.tls.server_name or self.service_name

    @property
    def host(self) -> str:
        """The host that CloudNativePG 1.28.4, 1.29.2, 1.30.0 and newer dials."""
        return f"{self.service_name}.{self.namespace}.svc"

    @property
    def candidate_host(self) -> str:
        """The host by which it is proven while its Service is still another's."""
        return f"{names.children.candidate_service(self.name)}.{self.namespace}.svc"

    @property
    def is_sidecar(self) -> bool:
        """Whether it runs in CloudNativePG's own pod."""
        return self.spec.mode is Mode.SIDECAR

    @property
    def cnpg_reference(self) -> str:
        """Name of CloudNativePG's Deployment where the user named it, else empty."""
        return self.spec.cnpg.deployment_name or ""

    @property
    def shares_chain(self) -> bool:
        """Whether it uses the authorities that the operator keeps for the namespace.

        A plugin with its own intermediate still uses the namespace's root.
        """
        return self.provider is not Provider.SECRETS and self.spec.tls.issuer_ref is None

    @property
    def has_own_authority(self) -> bool:
        """Whether it has an intermediate that issues to no other plugin."""
        return self.shares_chain and self.spec.tls.issuer_scope == "Plugin"

    @property
    def server_secret(self) -> str:
        """Name of the Secret with the pair that the plugin presents."""
        own = self.spec.tls.secrets
        return own.server if own is not None else names.children.server_secret(self.name)

    @property
    def client_secret(self) -> str:
        """Name of the Secret with the pair that CloudNativePG presents."""
        own = self.spec.tls.secrets
        return (
            own.client if own is not None else names.children.client_secret(self.name, self._issuer)
        )

    @property
    def authorities(self) -> tuple[str, ...]:
        """Names of the Secrets of the operator's authorities that issue its pairs, root first."""
        if not self.shares_chain:
            return ()
        own = self.provider is Provider.SELF_MANAGED
        root = names.children.OWN_ROOT if own else names.children.CHAIN_ROOT
        shared = names.children.OWN_INTERMEDIATE if own else names.children.CHAIN_INTERMEDIATE
        return root, names.children.authority(self.name) if self.has_own_authority else shared

    @property
    def secrets(self) -> frozenset[str]:
        """Names of all Secrets that it uses."""
        own = {self.server_secret, self.client_secret, names.children.trust_secret(self.name)}
        return frozenset({*own, *self.authorities})

    @property
    def _issuer(self) -> str:
        """A short digest of the issuer; empty for the default chain."""
        tls = self.spec.tls
        reference = tls.issuer_ref.model_dump() if tls.issuer_ref else None
        issuer = [self.provider.value, reference, tls.issuer_scope]
        if issuer == [Provider.CERT_MANAGER.value, None, "Namespace"]:
            return ""
        return hashlib.sha256(json.dumps(issuer, sort_keys=True).encode()).hexdigest()[:6]

    @property
    def owner_references(self) -> list[dict[str, Any]]:
        """What every child carries as its owner; orphans must survive a foreground deletion."""
        if self.spec.deletion_policy is DeletionPolicy.ORPHAN:
            return []
        owner = {
            "apiVersion": names.resource.API_VERSION,
            "kind": names.resource.KIND,
            "name": self.name,
            "uid": self.uid,
            "controller": True,
            "blockOwnerDeletion": True,
        }
        return [owner]


DEPTH_LIMIT: Final = 32
"""Maximum levels of a spec; a Pod's own fields have about a dozen."""

SIZE_LIMIT: Final = 256 * 1024
"""Maximum bytes of a spec; an object that holds it twice still fits into etcd."""
NAME: Final = re.compile("[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?")
"""Pattern of a resource's name, which becomes a label value and part of other names. The CRD allows
50 characters."""

LOCATION_LIMIT: Final = 3
"""How many problems of a spec a message lists: enough to act on, short enough to read."""


def parse_resource(body: Mapping[str, Any]) -> Resource:
    """Read the identity of a resource as the API server returned it."""
    metadata = body["metadata"]
    annotations = mapping(metadata.get("annotations"))
    return Resource(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        generation=int(metadata.get("generation", 0)),
        created=datetime.fromisoformat(metadata["creationTimestamp"]),
        deleting=bool(metadata.get("deletionTimestamp")),
        # An invalid time requests nothing.
        renew_requested_at=read_time(annotations.get(names.annotations.RENEW)),
    )


def names_sidecar(spec: object) -> bool:
    """Whether a spec, parsed or not, asks for mode Sidecar."""
    return mapping(spec).get("mode") == Mode.SIDECAR


def parse_plugin(
    body: Mapping[str, Any],
    default_provider: Provider = Provider.CERT_MANAGER,
    labels: Mapping[str, str] = MappingProxyType({}),
) -> Plugin:
    """Parse a resource as the API server returned it.

    `default_provider` applies where the spec names none; an issuer is always cert-manager's.
    `labels` are the operator's defaults. Raises `InvalidSpecError` with the fields that cannot be
    parsed, and nothing else, whatever the spec contains.
    """
    raw = body.get("spec") or {}
    if not is_within(raw, depth=DEPTH_LIMIT, size=SIZE_LIMIT):
        raise InvalidSpecError(
            f"spec: must have at most {DEPTH_LIMIT} levels and {SIZE_LIMIT // 1024} KiB"
        )
    if not NAME.fullmatch(body["metadata"]["name"]):
        raise InvalidSpecError(
            "metadata.name: must consist of at most 50 lower-case letters, digits and hyphens; "
            "create the resource under another name"
        )
    try:
        spec = Spec.model_validate(raw)
    except ValidationError as error:
        raise InvalidSpecError(_describe(error)) from error
    if contradictions := find_contradictions(spec):
        raise InvalidSpecError("; ".join(contradictions))
    chosen = Provider.CERT_MANAGER if spec.tls.issuer_ref else default_provider
    provider = spec.tls.provider or chosen
    return Plugin(**asdict(parse_resource(body)), spec=spec, provider=provider, labels=labels)


def _describe(error: ValidationError) -> str:
    """Name the first fields that do not parse, without repeating their values."""
    problems = error.errors(include_input=False, include_url=False)
    named = [
        f"spec.{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"
        for problem in problems[:LOCATION_LIMIT]
    ]
    more = len(problems) - len(named)
    return "; ".join(named) + (f" (and {more} more)" if more else "")
