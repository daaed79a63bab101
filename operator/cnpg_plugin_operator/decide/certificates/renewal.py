"""When and why the operator, as its own certificate authority, issues a certificate again.

Where cert-manager has a rule, this one is the same, so that users need to know only one.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cnpg_plugin_operator.api.times import format_time
from cnpg_plugin_operator.decide import first
from cnpg_plugin_operator.decide.facts.plugin import CertificateFacts, PairFacts

BACKDATE: Final = timedelta(minutes=5)
"""How much earlier than its creation a certificate becomes valid, because clocks differ."""

PROPAGATION: Final = timedelta(minutes=3)
"""How long a new authority is trusted before it signs: a kubelet updates a changed Secret within a
minute or two (`syncFrequency` 1 min, and its cache)."""


@dataclass(frozen=True, slots=True)
class RenewalInput:
    """What is known of a pair, and what it should be."""

    pair: PairFacts
    issuer: CertificateFacts | None
    """The authority that would sign it; None for a root."""
    lifetime: timedelta
    renew_before: timedelta | None
    """None: a third of its lifetime."""
    requested_at: datetime | None
    """When a user requested a new one."""
    now: datetime
    key_type: str = ""
    """Expected type of key; empty where any is fine."""
    dns_names: frozenset[str] = frozenset()
    """Names that it needs at least."""
    roots: frozenset[str] = frozenset()
    """Fingerprints of its authority's `ca.crt`: its own needs one of them. Empty: any will do."""
    issuer_settled: bool = True
    """Whether all sides trust the authority already."""


def decide_renewal(given: RenewalInput) -> str | None:
    """Explain why a certificate has to be issued now, or None where it is fine."""
    leaf = given.pair.leaf
    if not given.pair.exists:
        return "it does not exist"
    if leaf is None or not given.pair.key_matches:
        return given.pair.problem or "its key does not belong to it"
    passed_over = MAY_WAIT if _may_wait(given, leaf) else frozenset()
    checks = (check for check in CHECKS if check not in passed_over)
    return first(checks, given, leaf)


def renewal_time(leaf: CertificateFacts, renew_before: timedelta | None) -> datetime:
    """Return when a certificate is renewed.

    As in cert-manager, a `renewBefore` of the whole lifetime or more does not count: the issuer may
    have shortened the certificate, and it would be issued in a loop.
    """
    life = leaf.not_after - leaf.not_before
    if renew_before is None or renew_before >= life - BACKDATE:
        renew_before = life / 3
    return leaf.not_after - renew_before


def _may_wait(given: RenewalInput, leaf: CertificateFacts) -> bool:
    """Whether to wait until all sides trust a renewed authority; not to the last moment."""
    return not given.issuer_settled and given.now + 10 * PROPAGATION < leaf.not_after


def _due(given: RenewalInput, leaf: CertificateFacts) -> str | None:
    if given.now >= renewal_time(leaf, given.renew_before):
        return f"it expires at {format_time(leaf.not_after)}"
    return None


def _requested(given: RenewalInput, leaf: CertificateFacts) -> str | None:
    requested = given.requested_at
    if requested is not None and leaf.not_before + BACKDATE < requested <= given.now:
        return "a renewal was requested"
    return None


def _issued_by_another(given: RenewalInput, leaf: CertificateFacts) -> str | None:
    """A certificate follows its renewed authority as soon as all sides trust the new one."""
    issuer = given.issuer
    if issuer is None or not given.issuer_settled:
        return None
    known = {c.fingerprint for c in (*given.pair.chain[1:], *given.pair.authorities)}
    if leaf.issuer_der != issuer.subject_der or issuer.fingerprint not in known:
        return "its authority has changed"
    return None


def _other_names(given: RenewalInput, leaf: CertificateFacts) -> str | None:
    missing = sorted(given.dns_names.difference(leaf.dns_names))
    return f"it lacks the name {missing[0]}" if missing else None


def _other_key(given: RenewalInput, leaf: CertificateFacts) -> str | None:
    if given.key_type and leaf.key_type != given.key_type:
        return f"its key is {leaf.key_type}"
    return None


def _no_root(given: RenewalInput, leaf: CertificateFacts) -> str | None:  # noqa: ARG001 - a check
    known = {c.fingerprint for c in given.pair.authorities}
    return "its ca.crt lacks the root" if given.roots and known.isdisjoint(given.roots) else None


def _other_lifetime(given: RenewalInput, leaf: CertificateFacts) -> str | None:
    """The expected lifetime changed; one that its authority limits cannot be longer."""
    issuer = given.issuer
    if issuer is not None and leaf.not_after >= issuer.not_after:
        return None
    # Certificates store whole seconds only.
    lifetime = leaf.not_after - leaf.not_before - BACKDATE
    if abs(lifetime - given.lifetime) >= timedelta(seconds=1):
        return "its duration has changed"
    return None


CHECKS: Final = (
    _due,
    _requested,
    _issued_by_another,
    _other_names,
    _other_key,
    _no_root,
    _other_lifetime,
)
"""In order: what cannot wait first."""

MAY_WAIT: Final = frozenset({_due, _requested, _other_key, _no_root, _other_lifetime})
"""What waits until all sides trust a renewed authority: the certificate still works."""
