"""What cert-manager says of a plugin's certificates and of their issuer."""

from collections.abc import Mapping
from typing import Any

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.spec import Plugin
from cnpg_plugin_operator.cluster import kinds, observe
from cnpg_plugin_operator.cluster.client import Client
from cnpg_plugin_operator.cluster.ownership import Live
from cnpg_plugin_operator.decide.issuing import IssuerFacts, IssuingFacts, RequestFacts


async def read_issuing(client: Client, plugin: Plugin, live: Live, *, served: bool) -> IssuingFacts:
    """Read how far cert-manager got with a plugin's certificates."""
    requests = tuple(
        _read_request(name, body)
        for (kind, name), body in live.items()
        if kind == "Certificate"
        and name in (names.server_secret(plugin.name), names.client_secret(plugin.name))
    )
    issuer = await _read_issuer(client, plugin) if served else None
    return IssuingFacts(served=served, issuer=issuer, requests=requests)


async def _read_issuer(client: Client, plugin: Plugin) -> IssuerFacts | None:
    """Read the user's issuer; None for the chain's own and for external groups."""
    reference = plugin.spec.tls.issuer_ref
    if reference is None or reference.group != "cert-manager.io":
        return None
    kind = kinds.CLUSTER_ISSUER if reference.kind == "ClusterIssuer" else kinds.ISSUER
    body = await client.find(kind, reference.name, plugin.namespace)
    ready, message = _ready(body)
    return IssuerFacts(
        reference=f"{reference.kind} {reference.name}",
        exists=body is not None,
        ready=ready,
        message=message,
    )


def _ready(body: Mapping[str, Any] | None) -> tuple[bool, str]:
    """Read cert-manager's `Ready` condition."""
    conditions = ((body or {}).get("status") or {}).get("conditions") or []
    ready: Mapping[str, Any] = next((c for c in conditions if c.get("type") == "Ready"), {})
    return ready.get("status") == "True", str(ready.get("message") or "it has not said why yet")


def _read_request(name: str, body: Mapping[str, Any] | None) -> RequestFacts:
    ready, message = _ready(body)
    status = (body or {}).get("status") or {}
    return RequestFacts(
        name=name,
        ready=ready,
        failed=bool(status.get("failedIssuanceAttempts")),
        message=message,
        since=observe.read_time(((body or {}).get("metadata") or {}).get("creationTimestamp")),
        renewal_time=observe.read_time(status.get("renewalTime")),
    )
