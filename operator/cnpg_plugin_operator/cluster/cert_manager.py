"""What cert-manager reports about a plugin's certificates and their issuer."""

from collections.abc import Mapping
from typing import Any

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.conditions import find_condition
from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.api.times import read_time
from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.cluster.client import Client
from cnpg_plugin_operator.cluster.ownership import Live
from cnpg_plugin_operator.cluster.secrets import Secret
from cnpg_plugin_operator.decide.facts.cert_manager import IssuerFacts, RequestFacts


def read_requests(plugin: Plugin, live: Live) -> tuple[RequestFacts, ...]:
    """Read the progress of a plugin's certificates."""
    return tuple(
        _read_request(name, live.get(("Certificate", name)))
        for name in (plugin.server_secret, plugin.client_secret)
    )


def is_behind(secret: Secret | None, certificate: Mapping[str, Any] | None) -> bool:
    """Whether a Secret, as it is known, may be older than what cert-manager has issued by now.

    Two watches may show what happened in another order.
    """
    ends = read_time(((certificate or {}).get("status") or {}).get("notAfter"))
    if ends is None:
        return False
    if secret is None:
        return True
    leaf = secret.pair.leaf if secret.pair is not None else None
    return secret.pair is not None and (leaf is None or leaf.not_after != ends)


async def read_issuer(client: Client, plugin: Plugin, *, wide: bool = True) -> IssuerFacts | None:
    """Read the user's issuer; None for the chain's own, for external groups, and without rights."""
    reference = plugin.spec.tls.issuer_ref
    if reference is None or reference.group != "cert-manager.io":
        return None
    kind = kinds.CLUSTER_ISSUER if reference.kind == "ClusterIssuer" else kinds.ISSUER
    if kind == kinds.CLUSTER_ISSUER and not wide:
        return None
    body = await client.find(kind, reference.name, plugin.namespace)
    ready, message = _ready(body)
    return IssuerFacts(
        reference=f"{reference.kind} {reference.name}",
        exists=body is not None,
        ready=ready,
        message=message,
        own=body is not None and _is_operators(body["metadata"]),
    )


def _is_operators(metadata: Mapping[str, Any]) -> bool:
    """Whether this operator created an issuer, by its label or its owner."""
    owners = metadata.get("ownerReferences") or []
    owned = any(str(o.get("apiVersion")).startswith(f"{names.resource.GROUP}/") for o in owners)
    return (
        owned
        or (metadata.get("labels") or {}).get(names.labels.MANAGED_BY) == names.resource.OPERATOR
    )


def _ready(body: Mapping[str, Any] | None) -> tuple[bool, str]:
    """Read cert-manager's `Ready` condition."""
    ready = find_condition((body or {}).get("status") or {}, "Ready")
    return ready.get("status") == "True", str(ready.get("message") or "it reports no reason yet")


def _is_behind(body: Mapping[str, Any] | None) -> bool:
    """Whether cert-manager's condition is about a previous generation."""
    ready = find_condition((body or {}).get("status") or {}, "Ready")
    generation = ((body or {}).get("metadata") or {}).get("generation", 0)
    return bool(ready) and ready.get("observedGeneration", 0) < generation


def _read_request(name: str, body: Mapping[str, Any] | None) -> RequestFacts:
    ready, message = _ready(body)
    status = (body or {}).get("status") or {}
    if _is_behind(body):
        ready, message = False, "cert-manager has not processed its last change yet"
    return RequestFacts(
        name=name,
        ready=ready,
        failed=bool(status.get("failedIssuanceAttempts")),
        message=message,
        since=read_time(((body or {}).get("metadata") or {}).get("creationTimestamp")),
        renewal_time=read_time(status.get("renewalTime")),
    )
