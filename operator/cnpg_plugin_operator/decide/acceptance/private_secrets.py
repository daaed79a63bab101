"""Which Secrets hold keys that a plugin must not read: a fact of the cluster, not of their names.

Private are the Secrets that CloudNativePG's own pod and this operator's use, that plugins and
CloudNativePG authenticate each other with, that issuers sign with, tokens of accounts, and what
this operator keeps. The author of a `CNPGPlugin` must not gain any of them, wherever the resource
names them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.conditions import Reason, Verdict, no
from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.api.secret_places import find_secrets
from cnpg_plugin_operator.desired.workload import build_pod_template, tls_volumes

SECRETS_LIMIT: Final = 64
"""Distinct Secrets that one resource may name: every pass reads each of them."""

_CHAIN: Final = frozenset(
    {
        names.children.CHAIN_ROOT,
        names.children.CHAIN_INTERMEDIATE,
        names.children.OWN_ROOT,
        names.children.OWN_INTERMEDIATE,
    }
)
_SUFFIXES: Final = (
    names.children.server_secret(""),
    names.children.client_secret(""),
    names.children.authority(""),
)


@dataclass(frozen=True, slots=True)
class Claim:
    """The Secrets that one `CNPGPlugin` of the namespace names, even with an invalid spec."""

    plugin: str
    """Name of the resource."""
    created: datetime
    provided: frozenset[str]
    """The pair in its `tls.secrets`."""
    named: frozenset[str]
    """Every Secret that it names."""


@dataclass(frozen=True, slots=True)
class PrivateSecrets:
    """What is known of the Secrets that resources name; empty where none names any."""

    used: Mapping[str, str] = field(default_factory=dict)
    """By name: why other objects make a Secret private, such as "Issuer X signs with it"."""
    existing: Mapping[str, str] = field(default_factory=dict)
    """The named Secrets that exist: why the Secret itself is private, or empty."""
    claims: tuple[Claim, ...] = ()
    """Of all resources of the namespace, including the evaluated one."""


def find_named(plugin: Plugin) -> Iterator[tuple[str, str]]:
    """Find the Secrets that a plugin's resource names: place and name, in the final pod.

    The operator's own two TLS volumes are left out, unless the template changes them.
    """
    provided = plugin.spec.tls.secrets
    if provided is not None:
        yield "spec.tls.secrets.server", provided.server
        yield "spec.tls.secrets.client", provided.client
    if plugin.is_sidecar:
        spec = plugin.spec
        parts = {"volumes": spec.volumes, "env": spec.env, "envFrom": spec.env_from}
        yield from ((f"spec.{place}", name) for place, name in find_secrets(parts))
        return
    pod = build_pod_template(plugin).get("spec")
    if isinstance(pod, Mapping) and isinstance(pod.get("volumes"), list):
        own = tls_volumes(plugin)
        pod = {**pod, "volumes": [volume for volume in pod["volumes"] if volume not in own]}
    yield from ((f"the pod's {place}", name) for place, name in find_secrets(pod))


def judge_secrets(plugin: Plugin, private: PrivateSecrets) -> Verdict | None:
    """Refuse a resource that names a private Secret; None where it names only its own."""
    named = list(find_named(plugin))
    if len({name for _, name in named}) > SECRETS_LIMIT:
        return no(
            Reason.INVALID_SPEC,
            f"The spec names more than {SECRETS_LIMIT} Secrets: merge their keys into fewer.",
        )
    for place, name in named:
        reason = _find_reason(plugin, name, private, pair=place.startswith("spec.tls.secrets"))
        if reason:
            return no(
                Reason.INVALID_SPEC,
                f"Secret {name} in {place} is private: {reason}; use a Secret of the plugin's own.",
            )
    return None


def _find_reason(plugin: Plugin, name: str, private: PrivateSecrets, *, pair: bool) -> str:
    """Explain why a plugin must not use a Secret; `pair` means that it would present its pair."""
    if name in private.used:
        return private.used[name]
    if private.existing.get(name):
        return private.existing[name]
    mine = (plugin.created, plugin.name)
    for claim in private.claims:
        # The older resource keeps what both name: otherwise any author could end another's use.
        if claim.plugin == plugin.name or (claim.created, claim.plugin) > mine:
            continue
        if name in claim.provided:
            return f"it contains the certificate of CNPGPlugin {claim.plugin}"
        if pair and name in claim.named:
            return f"CNPGPlugin {claim.plugin} reads it, and would know the private key"
    if name not in private.existing and is_reserved(name):
        # It would be mounted as soon as the operator creates it, before the next evaluation.
        return "it does not exist, and the operator reserves such names for its own Secrets"
    return ""


def is_reserved(name: str) -> bool:
    """Whether the operator may create a Secret of this name at any time."""
    return name in _CHAIN or name.endswith(_SUFFIXES)
