"""`renew` and `approve` ask the operator by an annotation, or cert-manager by a condition.

The operator reads annotations in its next pass; nothing else of a resource is written. What
cert-manager issues is renewed as its own command `cmctl renew` does it.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from cnpg_plugin_operator import errors, names
from cnpg_plugin_operator.api.conditions import Reason, Type, read_verdict
from cnpg_plugin_operator.api.plugin import names_sidecar
from cnpg_plugin_operator.api.spec import Provider
from cnpg_plugin_operator.api.status import read_status
from cnpg_plugin_operator.api.times import format_time
from cnpg_plugin_operator.api.untrusted import mapping
from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.decide.workload.upgrade import find_token
from cnpg_plugin_operator.kubectl.access import Kubectl


def renew(kubectl: Kubectl, body: Mapping[str, Any], now: datetime) -> str:
    """Ask whoever issues a plugin's certificates for new ones; return what was asked for.

    Raises `SettingsError` where its user does, and what `Kubectl` does.
    """
    namespace, name = body["metadata"]["namespace"], body["metadata"]["name"]
    spec = mapping(body.get("spec"))
    if names_sidecar(spec):
        raise errors.SettingsError(f"{name} is a sidecar, which needs no certificates")
    provider = mapping(spec.get("tls")).get("provider")
    if provider == Provider.SECRETS:
        raise errors.SettingsError(
            f"{name} uses Secrets of its user (tls.provider: Secrets): renew them where you issue "
            "them; the operator follows"
        )
    # Without a provider in the resource, the chart's default counts: what exists shows it.
    issued = [] if provider == Provider.SELF_MANAGED else _find_issued(kubectl, name, namespace)
    for certificate in issued:
        _issue_again(kubectl, certificate, now)
    if not issued:
        kubectl.annotate(kinds.PLUGIN, name, namespace, names.annotations.RENEW, format_time(now))
    asked = "cert-manager" if issued else "the operator"
    return (
        f"Asked {asked} for new certificates of {namespace}/{name}. Follow it: "
        f"kubectl cnpg-plugin status {name} -n {namespace}"
    )


def _find_issued(kubectl: Kubectl, name: str, namespace: str) -> list[dict[str, Any]]:
    """List the plugin's Certificates of cert-manager."""
    try:
        return kubectl.list(kinds.CERTIFICATE, namespace, labels=f"{names.labels.NAME}={name}")
    except errors.KindMissingError:
        return []


def _issue_again(kubectl: Kubectl, certificate: Mapping[str, Any], now: datetime) -> None:
    """Set the condition by which cert-manager issues a Certificate now; keep the others."""
    metadata = mapping(certificate.get("metadata"))
    conditions = mapping(certificate.get("status")).get("conditions") or []
    issuing = {
        "type": "Issuing",
        "status": "True",
        "reason": "ManuallyTriggered",
        "message": "Requested with kubectl cnpg-plugin renew",
        "lastTransitionTime": format_time(now),
        "observedGeneration": metadata["generation"],
    }
    change = {
        # Refused if cert-manager has changed the conditions meanwhile.
        "metadata": {"resourceVersion": metadata["resourceVersion"]},
        "status": {"conditions": [*(c for c in conditions if c["type"] != "Issuing"), issuing]},
    }
    kubectl.patch_status(kinds.CERTIFICATE, metadata["name"], metadata["namespace"], change)


def approve(kubectl: Kubectl, body: Mapping[str, Any]) -> str:
    """Approve the change that waits for it; return which one.

    Raises `SettingsError` where no change waits, and what `Kubectl.annotate` does.
    """
    namespace, name = body["metadata"]["namespace"], body["metadata"]["name"]
    verdict = read_verdict(read_status(body), Type.AVAILABLE)
    if verdict is None or verdict.reason is not Reason.AWAITING_APPROVAL:
        raise errors.SettingsError(f"no change of {namespace}/{name} waits for approval")
    token = find_token(verdict.message)
    if token is None:
        raise errors.SettingsError(f"the condition Available names no change: {verdict.message}")
    kubectl.annotate(kinds.PLUGIN, name, namespace, names.annotations.APPROVE, token)
    return f"Approved change {token} of {namespace}/{name}. {verdict.message}"
