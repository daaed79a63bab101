"""Which Secrets hold keys that a plugin must not read: a fact of the cluster, not of their names.

Private is what CloudNativePG's own pod uses, what plugins and CloudNativePG authenticate each other
with, what issuers sign with, tokens of accounts, and what this operator keeps. An author of a
`CNPGPlugin` must not gain any of them, wherever the resource names them.
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
"""Distinct Secrets that one resource may name: each is read in every pass."""

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
    """What one `CNPGPlugin` of the namespace says of Secrets, whether its spec is valid or not."""

    plugin: str
    """Name of the resource."""
    created: datetime
    brought: frozenset[str]
    """The pair in its `tls.secrets`."""
    named: frozenset[str]
    """Every Secret that it names."""


@dataclass(frozen=True, slots=True)
class PrivateSecrets:
    """What is known of the Secrets that resources name; empty where none names any."""

    used: Mapping[str, str] = field(default_factory=dict)
    """Why a Secret is private, by its name, as other objects say: "Issuer X signs with it"."""
    existing: Mapping[str, str] = field(default_factory=dict)
    """The named Secrets that exist: why each is private by what it is itself, or empty."""
    claims: tuple[Claim, ...] = ()
    """Of all resources of the namespace, the judged one among them."""


def find_named(plugin: Plugin) -> Iterator[tuple[str, str]]:
    """Find the Secrets that a plugin's resource names: place and name, in the final pod.

    The operator's own two TLS volumes are left out, as long as nothing was merged into them.
    """
    brought = plugin.spec.tls.secrets
    if brought is not None:
        yield "spec.tls.secrets.server", brought.server
        yield "spec.tls.secrets.client", brought.client
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
            f"The spec names more than {SECRETS_LIMIT} Secrets: put their keys into fewer.",
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
    """Say why a plugin must not use a Secret; `pair` means that it would present what it holds."""
    if name in private.used:
        return private.used[name]
    if private.existing.get(name):
        return private.existing[name]
    mine = (plugin.created, plugin.name)
    for claim in private.claims:
        # The older resource keeps what both name: else anybody could end another's use of it.
        if claim.plugin == plugin.name or (claim.created, claim.plugin) > mine:
            continue
        if name in claim.brought:
            return f"CNPGPlugin {claim.plugin} has its certificate in it"
        if pair and name in claim.named:
            return f"CNPGPlugin {claim.plugin} reads it, and would know the private key"
    if name not in private.existing and is_reserved(name):
        # It would be mounted the moment the operator makes it, before anything is judged again.
        return "it does not exist, and the operator gives such names to its own Secrets"
    return ""


def is_reserved(name: str) -> bool:
    """Whether the operator could make a Secret of this name at any time."""
    return name in _CHAIN or name.endswith(_SUFFIXES)
