"""Which issuers may issue certificates for which names to a resource.

A company's programs trust the certificates of the company's issuers. So the author of a
`CNPGPlugin` gets certificates for the names of its own Service only. Other names need an issuer
that the chart grants, or the operator's own chain, which only CloudNativePG and plugins trust.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.conditions import Reason, Verdict, no
from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.api.spec import IssuerRef
from cnpg_plugin_operator.decide import first
from cnpg_plugin_operator.decide.facts.cert_manager import IssuerFacts
from cnpg_plugin_operator.desired.certificates import service_names
from cnpg_plugin_operator.desired.workload import build_pod_template

ANY: Final = "*"
"""Grants every issuer."""

CERT_MANAGER: Final = "cert-manager.io"

_CHAIN: Final = frozenset(
    {names.children.CHAIN_SELF_SIGNED, names.children.CHAIN_ROOT, names.children.CHAIN_INTERMEDIATE}
)


@dataclass(frozen=True, slots=True)
class IssuerInput:
    """The input of the checks."""

    plugin: Plugin
    issuer: IssuerFacts | None
    """The issuer that the resource names; None where it cannot be read."""
    granted: frozenset[str]
    """As `write_reference` writes them, or `ANY`."""
    announced: str | None
    """The name that CloudNativePG currently verifies. It stays in the certificate until another
    name is announced."""
    domain: str
    """DNS domain of the cluster."""


def judge_issuer(given: IssuerInput) -> Verdict | None:
    """Explain why a resource must not have its certificates; None where it may."""
    reference = given.plugin.spec.tls.issuer_ref
    found = first(CHECKS, given, reference) if reference is not None else None
    return found or _issued_by_driver(given)


def write_reference(kind: str, group: str, name: str) -> str:
    """Format a reference to an issuer."""
    return f"{kind}.{group}/{name}"


def _operators_own(given: IssuerInput, reference: IssuerRef) -> Verdict | None:
    """The operator's own issuers sign what CloudNativePG and all plugins of the chain trust."""
    if not _is_own(reference, given.issuer):
        return None
    return no(
        Reason.INVALID_SPEC,
        f"spec.tls.issuerRef: {reference.kind} {reference.name} is the operator's own, or has a "
        "name that is reserved for one: remove issuerRef to use the operator's chain, or name "
        "another issuer.",
    )


def _is_own(reference: IssuerRef, issuer: IssuerFacts | None) -> bool:
    if issuer is not None and issuer.own:
        return True
    if (reference.kind, reference.group) != ("Issuer", CERT_MANAGER):
        return False
    # An existing issuer of another owner cannot become the operator's: nothing is adopted.
    free = issuer is None or not issuer.exists
    return reference.name in _CHAIN or (
        free and reference.name.endswith(names.children.authority(""))
    )


def _ungranted_names(given: IssuerInput, reference: IssuerRef) -> Verdict | None:
    """The certificate has names beyond the Service's, and the issuer is not granted for them."""
    written = write_reference(reference.kind, reference.group, reference.name)
    if not given.granted.isdisjoint({ANY, written}):
        return None
    place, name = next(_find_further_names(given), ("", ""))
    if not name:
        return None
    return no(
        Reason.INVALID_SPEC,
        f"{place}: {name} is not a name of Service {given.plugin.service_name}, and "
        f"{reference.kind} {reference.name} is not granted for other names: remove the name, or "
        "ask an administrator to add the issuer to the chart value allowedIssuers.",
    )


def _find_further_names(given: IssuerInput) -> Iterator[tuple[str, str]]:
    """Find the names in the server certificate that are not names of the Service."""
    tls = given.plugin.spec.tls
    asked = [("spec.tls.dnsNames", name) for name in tls.dns_names]
    asked += [("spec.tls.serverName", tls.server_name)] if tls.server_name else []
    if given.announced:
        asked.append(
            (
                "spec.tls.issuerRef: CloudNativePG still verifies the previous serverName",
                given.announced,
            )
        )
    own = service_names(given.plugin, given.domain)
    return ((place, name) for place, name in asked if name not in own)


CHECKS: Final = (_operators_own, _ungranted_names)
"""In order: whose the issuer is, then what for."""


def _issued_by_driver(given: IssuerInput) -> Verdict | None:
    """cert-manager's CSI driver would issue certificates for any name, from any issuer."""
    plugin = given.plugin
    pod: Any = {"volumes": plugin.spec.volumes}
    if not plugin.is_sidecar:
        pod = build_pod_template(plugin).get("spec")
    volumes = pod.get("volumes") if isinstance(pod, Mapping) else None
    for volume in volumes if isinstance(volumes, list | tuple) else ():
        source = volume.get("csi") if isinstance(volume, Mapping) else None
        driver = str(source.get("driver") or "") if isinstance(source, Mapping) else ""
        if driver.endswith(CERT_MANAGER) and ANY not in given.granted:
            return no(
                Reason.INVALID_SPEC,
                f"The pod must not mount a certificate of CSI driver {driver}, because it could "
                "have any name. Mount a Secret of the plugin's own instead.",
            )
    return None
