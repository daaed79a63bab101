"""Why cert-manager has not issued certificates yet, as cert-manager itself reports it."""

from datetime import datetime, timedelta
from typing import Final

from cnpg_plugin_operator.api.conditions import Reason, Verdict, no, unknown
from cnpg_plugin_operator.decide import first
from cnpg_plugin_operator.decide.facts.cert_manager import IssuingFacts

OVERDUE: Final = timedelta(seconds=10)
"""Issuing from a CA in the cluster takes a second or two. Only after this time the status quotes
cert-manager; earlier, the message would change too often."""


def decide_issuing(facts: IssuingFacts, now: datetime) -> Verdict | None:
    """Report what the certificates wait for, or None where cert-manager calls them ready."""
    return first(CHECKS, facts, now)


def _not_installed(facts: IssuingFacts, _: datetime) -> Verdict | None:
    """The cluster does not serve cert-manager's kinds."""
    if not facts.served:
        return no(
            Reason.CERT_MANAGER_NOT_INSTALLED,
            "The cluster has no cert-manager (cert-manager.io/v1). Install cert-manager; the "
            "operator detects it automatically.",
        )
    return None


def _issuer_not_ready(facts: IssuingFacts, _: datetime) -> Verdict | None:
    """The issuer is missing, or reports why it cannot issue."""
    issuer = facts.issuer
    if issuer is None or issuer.ready:
        return None
    if not issuer.exists:
        return no(Reason.ISSUER_NOT_READY, f"{issuer.reference} does not exist: create it.")
    return no(Reason.ISSUER_NOT_READY, f"{issuer.reference} is not ready: {issuer.message}")


def _failed(facts: IssuingFacts, _: datetime) -> Verdict | None:
    """An attempt failed; cert-manager backs off between attempts."""
    for request in facts.requests:
        if request.failed and not request.ready:
            return no(
                Reason.ISSUING_FAILED, f"Certificate {request.name} failed: {request.message}"
            )
    return None


def _issuing(facts: IssuingFacts, now: datetime) -> Verdict | None:
    """cert-manager is issuing."""
    for request in facts.requests:
        if not request.ready:
            overdue = request.since is not None and now - request.since >= OVERDUE
            words = f": {request.message}" if overdue else "."
            return unknown(
                Reason.ISSUING, f"cert-manager is issuing Certificate {request.name}{words}"
            )
    return None


CHECKS: Final = (_not_installed, _issuer_not_ready, _failed, _issuing)
"""In order: what explains the rest first."""
