"""Whether there is exactly one CloudNativePG for a resource, and whether it can see plugins."""

from dataclasses import dataclass
from typing import Final

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.conditions import Reason, Verdict, no
from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.decide import first
from cnpg_plugin_operator.decide.facts.cnpg import CNPGFacts


@dataclass(frozen=True, slots=True)
class LocatingInput:
    """What was found, and where."""

    plugin: Plugin
    managed_namespaces: tuple[str, ...]
    """Where this operator has rights, and so expects CloudNativePG."""
    found: tuple[CNPGFacts, ...]
    """The CloudNativePG operators of the resource's namespace; with a reference, the named one."""
    elsewhere: tuple[str, ...]
    """Managed namespaces in which CloudNativePG runs."""
    reference_exists: bool = False
    """Whether the Deployment that `spec.cnpg` names exists, CloudNativePG's or not."""


def decide_locating(given: LocatingInput) -> Verdict | None:
    """Say what is wrong with CloudNativePG's place; None where it is found and sees plugins."""
    return first(CHECKS, given)


def _named_missing(given: LocatingInput) -> Verdict | None:
    """The Deployment that the resource names does not exist, or is not CloudNativePG's."""
    reference = given.plugin.cnpg_reference
    if given.found or not reference:
        return None
    if given.reference_exists:
        return no(
            Reason.CNPG_NOT_FOUND,
            f"Deployment {given.plugin.namespace}/{reference}, which spec.cnpg.deploymentName "
            f"names, is not CloudNativePG's: it has no container {names.cnpg.CONTAINER} with the "
            f"variable {names.cnpg.IMAGE_VARIABLE}, and none of its pods holds Lease "
            f"{names.cnpg.LEASE}. "
            "Name CloudNativePG's Deployment, or remove spec.cnpg.deploymentName.",
        )
    return no(
        Reason.CNPG_NOT_FOUND,
        f"Deployment {given.plugin.namespace}/{reference}, which spec.cnpg.deploymentName names, "
        "does not exist: correct the name, or remove spec.cnpg.deploymentName if the namespace has "
        "one CloudNativePG only.",
    )


def _missing(given: LocatingInput) -> Verdict | None:
    """No CloudNativePG runs here; it finds plugins in its own namespace only."""
    if given.found:
        return None
    namespace = given.plugin.namespace
    message = f"No CloudNativePG operator runs in namespace {namespace}"
    if given.elsewhere:
        message += (
            f"; it runs in {', '.join(given.elsewhere)}: create the resource there. "
            "CloudNativePG finds plugins in its own namespace only."
        )
    elif namespace not in given.managed_namespaces:
        message += (
            " that this operator manages: its chart value cnpg.namespaces lists "
            f"{', '.join(given.managed_namespaces)}."
        )
    else:
        message += (
            f": no Deployment has a container {names.cnpg.CONTAINER} with the variable "
            f"{names.cnpg.IMAGE_VARIABLE}, and no pod holds Lease {names.cnpg.LEASE}. Install it "
            "there."
        )
    return no(Reason.CNPG_NOT_FOUND, message)


def _ambiguous(given: LocatingInput) -> Verdict | None:
    """The namespace has more than one CloudNativePG."""
    if len(given.found) < 2:  # noqa: PLR2004 - one is right, more are too many
        return None
    found = ", ".join(sorted(cnpg.deployment for cnpg in given.found))
    return no(
        Reason.CNPG_AMBIGUOUS,
        f"Namespace {given.plugin.namespace} has several CloudNativePG Deployments: {found}. "
        "Name one in spec.cnpg.deploymentName, or run only one per namespace.",
    )


def _not_watching(given: LocatingInput) -> Verdict | None:
    """It watches other namespaces only: neither a Service here nor a restart reaches it.

    Its informers cover the namespaces of WATCH_NAMESPACE and nothing else (pkg/multicache, 1.30.0).
    """
    cnpg, namespace = given.found[0], given.plugin.namespace
    if not cnpg.watches or namespace in cnpg.watches:
        return None
    return no(
        Reason.CNPG_NOT_WATCHING,
        f"CloudNativePG's Deployment {cnpg.deployment} watches only {', '.join(cnpg.watches)} and "
        f"cannot see plugins in its own namespace: add {namespace} to "
        f"{names.cnpg.WATCH_VARIABLE}{_where(cnpg)}.",
    )


def _where(cnpg: CNPGFacts) -> str:
    return " (targetNamespaces of its OperatorGroup)" if cnpg.olm else " in its environment"


CHECKS: Final = (_named_missing, _missing, _ambiguous, _not_watching)
"""In order: whether there is one, only one, and one that looks."""
