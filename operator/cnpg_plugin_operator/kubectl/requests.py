"""`renew` and `approve`: annotations that ask the operator for something.

The operator reads them in its next pass; nothing else of a resource is written.
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
    """Ask for new certificates; return what was asked for.

    Raises `SettingsError` where the operator issues none, and what `Kubectl.annotate` does.
    """
    namespace, name = body["metadata"]["namespace"], body["metadata"]["name"]
    spec = mapping(body.get("spec"))
    if names_sidecar(spec):
        raise errors.SettingsError(f"{name} is a sidecar, which needs no certificates")
    if mapping(spec.get("tls")).get("provider") == Provider.SECRETS:
        raise errors.SettingsError(
            f"{name} uses Secrets of its user (tls.provider: Secrets): renew them where you issue "
            "them; the operator follows"
        )
    kubectl.annotate(kinds.PLUGIN, name, namespace, names.annotations.RENEW, format_time(now))
    return (
        f"Asked for new certificates of {namespace}/{name}. Follow it: "
        f"kubectl cnpg-plugin status {name} -n {namespace}"
    )


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
