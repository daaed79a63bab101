"""When the state of certificates changes by itself: start of validity, renewal, warning, expiry.

A warning has to come early enough to act on it, with every provider.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from cnpg_plugin_operator.api.conditions import Reason, Verdict, yes
from cnpg_plugin_operator.api.times import format_time
from cnpg_plugin_operator.decide.facts.plugin import CertificateFacts, PairFacts

WARN_MOST: Final = timedelta(days=30)
"""An earlier warning would be ignored."""

Renewals = Sequence[datetime | None]
"""When each of the pairs is due for renewal; None where that is unknown."""


def find_expiring(pairs: Sequence[PairFacts], renewals: Renewals, now: datetime) -> Verdict | None:
    """Warn of a certificate that was not renewed, while everything still works."""
    late = [
        (leaf.not_after, pair.secret)
        for pair, leaf, renewal in _leaves(pairs, renewals)
        if now >= warn_at(leaf, renewal)
    ]
    if not late:
        return None
    until, secret = min(late)
    return yes(
        Reason.EXPIRING,
        f"Secret {secret}: the certificate expires at {format_time(until)} and has not been "
        "renewed. Renew it, or check why its issuer did not renew it.",
    )


def warn_at(leaf: CertificateFacts, renewal: datetime | None) -> datetime:
    """Return the time from which a certificate that was not renewed is worth a warning.

    This is one sixth of its lifetime before it expires, half of what cert-manager reserves for
    renewals by default. If its renewal is due later, it is half-way between renewal and expiry.
    """
    moment = leaf.not_after - min((leaf.not_after - leaf.not_before) / 6, WARN_MOST)
    if renewal is not None:
        moment = max(moment, renewal + (leaf.not_after - renewal) / 2)
    return moment


def next_check(pairs: Sequence[PairFacts], renewals: Renewals, now: datetime) -> datetime | None:
    """Return when the state of the certificates changes next by itself, None where never."""
    moments = [
        moment
        for pair in pairs
        for certificate in pair.chain
        for moment in (certificate.not_before, certificate.not_after)
    ]
    moments += [renewal for renewal in renewals if renewal is not None]
    moments += [warn_at(leaf, renewal) for _, leaf, renewal in _leaves(pairs, renewals)]
    return min((moment for moment in moments if moment > now), default=None)


def _leaves(
    pairs: Sequence[PairFacts], renewals: Renewals
) -> Iterable[tuple[PairFacts, CertificateFacts, datetime | None]]:
    """Pairs with the certificate that each presents and the time of its renewal."""
    return (
        (pair, pair.leaf, renewal)
        for pair, renewal in zip(pairs, renewals, strict=True)
        if pair.leaf is not None
    )
