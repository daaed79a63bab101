"""The certificate chains that the plugins of a namespace share: who uses one, what is issued when.

A chain outlives any single plugin, so it goes only where no resource may use it any more.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from cnpg_plugin_operator import errors, names
from cnpg_plugin_operator.api.conditions import Type, find_condition
from cnpg_plugin_operator.api.plugin import Plugin, parse_plugin
from cnpg_plugin_operator.api.spec import Provider
from cnpg_plugin_operator.api.status import read_status
from cnpg_plugin_operator.decide.certificates.renewal import (
    BACKDATE,
    PROPAGATION,
    RenewalInput,
    decide_renewal,
    renewal_time,
)
from cnpg_plugin_operator.decide.facts.plugin import PairFacts
from cnpg_plugin_operator.desired.certificates import INTERMEDIATE_LIFETIME, ROOT_LIFETIME

CHAINS: Final[Mapping[Provider, tuple[tuple[str, str], ...]]] = {
    Provider.CERT_MANAGER: (
        ("Certificate", names.children.CHAIN_INTERMEDIATE),
        ("Certificate", names.children.CHAIN_ROOT),
        ("Issuer", names.children.CHAIN_INTERMEDIATE),
        ("Issuer", names.children.CHAIN_ROOT),
        ("Issuer", names.children.CHAIN_SELF_SIGNED),
        ("Secret", names.children.CHAIN_INTERMEDIATE),
        ("Secret", names.children.CHAIN_ROOT),
    ),
    Provider.SELF_MANAGED: (
        ("Secret", names.children.OWN_INTERMEDIATE),
        ("Secret", names.children.OWN_ROOT),
    ),
}
"""The parts of each chain, by kind and name, in the order of their deletion.

Certificates first, or cert-manager would issue the Secrets again.
"""

ALL_CHAINS: Final = frozenset(CHAINS)


def find_chains(body: Mapping[str, Any], default: Provider) -> frozenset[Provider]:
    """Name the chains that a resource may use, by the provider.

    One that is suspended, cannot be read, or is not yet registered as its spec asks for may use
    any: CloudNativePG may still present what an earlier spec had issued.
    """
    try:
        plugin = parse_plugin(body, default)
    except errors.InvalidSpecError:
        return ALL_CHAINS
    if plugin.spec.suspend or _is_changing(body, plugin):
        return ALL_CHAINS
    uses = plugin.shares_chain and not plugin.is_sidecar
    return frozenset({plugin.provider}) if uses else frozenset()


def _is_changing(body: Mapping[str, Any], plugin: Plugin) -> bool:
    """Whether CloudNativePG uses the plugin, but not yet as this generation asks for."""
    status = read_status(body)
    registered = find_condition(status, Type.REGISTERED)
    current = registered.get("observedGeneration") == plugin.generation
    used = bool((status.get("cnpg") or {}).get("registeredRevision"))
    return used and not (registered.get("status") == "True" and current)


@dataclass(frozen=True, slots=True)
class AuthorityFacts:
    """An authority that the operator itself issues."""

    pair: PairFacts
    can_sign: bool
    requested_at: datetime | None
    """When a user requested a new one."""

    @property
    def is_usable(self) -> bool:
        """Whether it can sign what a plugin needs."""
        return self.pair.owner is None and self.pair.leaf is not None and self.can_sign


def lacks_itself(root: AuthorityFacts) -> bool:
    """Whether a root is not among the certificates that its own Secret says to trust.

    Without them, the next intermediate would be one that no side trusts.
    """
    known = {each.fingerprint for each in root.pair.authorities}
    return root.pair.leaf is not None and root.pair.leaf.fingerprint not in known


@dataclass(frozen=True, slots=True)
class Due:
    """Whether an authority has to be issued."""

    why: str | None
    """None where it is fine, or belongs to another owner."""
    again: datetime | None
    """When to decide again."""


Decide = Callable[[AuthorityFacts, datetime], Due]


def decide_root(root: AuthorityFacts, now: datetime) -> Due:
    """Decide whether the root has to be issued."""
    return _decide(
        root, RenewalInput(root.pair, None, ROOT_LIFETIME, None, root.requested_at, now), now
    )


def decide_intermediate(
    intermediate: AuthorityFacts, now: datetime, *, root: AuthorityFacts
) -> Due:
    """Decide on an intermediate: it follows a renewed root as soon as all sides trust that."""
    settled_at = _settles_at(root.pair, now)
    given = RenewalInput(
        intermediate.pair,
        root.pair.leaf,
        INTERMEDIATE_LIFETIME,
        None,
        intermediate.requested_at,
        now,
        issuer_settled=now >= settled_at,
    )
    return _decide(intermediate, given, settled_at)


def _decide(authority: AuthorityFacts, given: RenewalInput, settled_at: datetime) -> Due:
    pair = authority.pair
    if pair.owner is not None:
        return Due(None, None)
    why = decide_renewal(given)
    if why is None and not authority.can_sign:
        why = "it cannot sign"
    again = renewal_time(pair.leaf, None) if pair.leaf is not None else None
    if given.now < settled_at and decide_renewal(replace(given, issuer_settled=True)):
        again = settled_at
    return Due(why, again)


def _settles_at(root: PairFacts, now: datetime) -> datetime:
    """Return when a root is trusted everywhere; the first is so from its creation."""
    if root.leaf is None or len(root.authorities) <= 1:
        return now
    return root.leaf.not_before + BACKDATE + PROPAGATION
