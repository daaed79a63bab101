"""Whom CloudNativePG and a plugin trust. The operator keeps it apart from the pairs they present.

So no certificate has to change on both sides at the same moment. CloudNativePG loads a changed
Secret at once; a plugin's pod gets it from the kubelet a minute later or more. In between, each
side has to accept both the previous and the new certificate of the other. So both sides trust
authorities rather than single certificates wherever there are any, and previous ones stay until all
pods have reloaded.

Sources: CloudNativePG uses every certificate in the server Secret's `tls.crt` as a root, and no
other (internal/controller/plugin_controller.go, 1.24.0 to 1.30.0); Go accepts any certificate of a
pool as a root, self-signed or not (crypto/x509, `Verify`).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cnpg_plugin_operator.api.spec import ClientTrust
from cnpg_plugin_operator.decide.facts.plugin import CertificateFacts, PairFacts, Trust

OVERLAP: Final = timedelta(minutes=10)
"""How long previous certificates stay trusted at least, even if all pods have reloaded:
CloudNativePG may be a moment behind, and an older one is restarted first."""

Certificates = tuple[CertificateFacts, ...]


@dataclass(frozen=True, slots=True)
class TrustInput:
    """The input of the decision."""

    server: PairFacts
    """The pair that the plugin is to present."""
    client: PairFacts
    """The pair that CloudNativePG is to present."""
    in_use: PairFacts | None
    """The pair that CloudNativePG currently presents, where that is another one."""
    client_trust: ClientTrust
    keeps_root: bool
    """Whether the plugin trusts clients by the root that the operator keeps for the namespace.
    A foreign root would admit every client that it has certified."""
    one_issuer: bool
    """Whether one issuer signs both pairs, CloudNativePG's first."""
    signers: Certificates
    """The authorities that sign the next certificates, where the operator keeps them."""
    live: Trust | None
    """What is trusted now."""
    settled: bool
    """Whether all pods present the newest certificate and accept CloudNativePG's."""
    now: datetime
    previous: Certificates = ()
    """The certificates by which CloudNativePG trusts the server of a previous installation, whose
    pods may still get its calls."""


def decide_trust(given: TrustInput) -> Trust:
    """Decide whom both sides have to trust now.

    The certificates that are presented now come first; if they change, the overlap starts again.
    """
    servers, clients = find_needed(given)
    live = given.live
    if live is None:
        return Trust(servers, clients)
    moved = not (_leads(servers, live.servers) and _leads(clients, live.clients))
    if moved or not _overlap_is_over(given, live):
        servers += _missing(_valid(live.servers, given.now), servers)
        clients += _missing(_valid(live.clients, given.now), clients)
    same = _same(servers, live.servers) and _same(clients, live.clients)
    return live if same else Trust(servers, clients, given.now)


def find_needed(given: TrustInput) -> tuple[Certificates, Certificates]:
    """Return what servers and clients are trusted by, without previous certificates."""
    signers = _valid(given.signers, given.now)
    servers = _anchors(given.server.chain, given.server.authorities, given.now)
    servers += _next_signers(given)
    in_use = _clients(given, given.in_use) if given.in_use is not None else ()
    servers = _distinct(servers, signers, _valid(given.previous, given.now))
    return servers, _distinct(in_use, _clients(given, given.client), signers)


def _next_signers(given: TrustInput) -> Certificates:
    """Return the authorities that sign for CloudNativePG, and will sign for the plugin.

    A new issuer's must be trusted before the plugin has a certificate from it: a kubelet may put it
    into the pod as soon as it is issued, before the operator has read it.
    """
    if not given.one_issuer:
        return ()
    found = _anchors(given.client.chain, given.client.authorities, given.now)
    return tuple(c for c in found if c.is_ca)


def overlap_ends(trust: Trust, server: PairFacts, client: PairFacts) -> datetime | None:
    """Return when previous certificates may be dropped, None where there are none."""
    previous = _missing(trust.servers, _anchors(server.chain, server.authorities))
    previous += _missing(trust.clients, _anchors(client.chain, client.authorities))
    return trust.changed_at + OVERLAP if previous and trust.changed_at is not None else None


def _overlap_is_over(given: TrustInput, live: Trust) -> bool:
    """Whether previous certificates may be dropped: all pods reloaded, and the overlap is over."""
    since = live.changed_at
    return given.settled and (since is None or given.now >= since + OVERLAP)


def _same(one: Certificates, other: Certificates) -> bool:
    return [c.fingerprint for c in one] == [c.fingerprint for c in other]


def _leads(present: Certificates, pool: Certificates) -> bool:
    """Whether a pool begins with what is presented; the rest are previous certificates."""
    return _same(present, pool[: len(present)])


def _clients(given: TrustInput, pair: PairFacts) -> Certificates:
    """Return the certificates by which the plugin trusts a pair of CloudNativePG's."""
    if given.client_trust is ClientTrust.ROOT:
        return _valid(pair.authorities, given.now)
    found = _anchors(pair.chain, pair.authorities if given.keeps_root else (), given.now)
    return _valid(found, given.now)


def _anchors(
    chain: Certificates, authorities: Certificates, now: datetime | None = None
) -> Certificates:
    """Return the certificates by which a chain is trusted: its authorities, else its leaf itself.

    Of `ca.crt` only the issuers of the chain count: users put whole bundles there.
    """
    if not chain:
        return ()
    above = (*chain[1:], *_issuers(chain[-1], authorities))
    above = _valid(above, now) if now is not None else above
    issued = any(c.is_ca and c.subject_der == chain[0].issuer_der for c in above)
    return above if issued else (chain[0], *above)


def _issuers(certificate: CertificateFacts, authorities: Certificates) -> Certificates:
    """Walk from a certificate up to its root; issuers with the same name are all included."""
    found: list[CertificateFacts] = []
    wanted = {certificate.issuer_der}
    while wanted:
        issuers = [c for c in authorities if c.is_ca and c.subject_der in wanted and c not in found]
        found += [c for c in issuers if c.fingerprint != certificate.fingerprint]
        wanted = {c.issuer_der for c in issuers if c.issuer_der != c.subject_der}
    return tuple(found)


def _distinct(*groups: Iterable[CertificateFacts]) -> Certificates:
    """Join groups in their order, each certificate once."""
    return tuple({c.fingerprint: c for group in groups for c in group}.values())


def _missing(
    certificates: Iterable[CertificateFacts], pool: Iterable[CertificateFacts]
) -> Certificates:
    """Return the certificates that are not in a pool."""
    known = {c.fingerprint for c in pool}
    return tuple(c for c in certificates if c.fingerprint not in known)


def _valid(certificates: Iterable[CertificateFacts], now: datetime) -> Certificates:
    """Drop expired certificates."""
    return tuple(c for c in certificates if now <= c.not_after)
