"""Whether two Secrets fit CloudNativePG's connection to a plugin, decided before connecting.

CloudNativePG registers a plugin whatever its certificates are, fails later and reports little. Each
check is one rule of Go's TLS (CloudNativePG and nearly every plugin are Go programs), in the order
in which a person would look. This module is pure: it does not verify signatures, the handshake
does.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cnpg_plugin_operator.api.conditions import Reason, Verdict, no, yes
from cnpg_plugin_operator.api.spec import ClientTrust
from cnpg_plugin_operator.api.times import format_time
from cnpg_plugin_operator.decide import first
from cnpg_plugin_operator.decide.certificates.expiry import find_expiring
from cnpg_plugin_operator.decide.certificates.tls_rules import RSA_BITS, covers, is_usable
from cnpg_plugin_operator.decide.facts.plugin import CertificateFacts, PairFacts

SERVER_AUTH: Final = "1.3.6.1.5.5.7.3.1"
"""Extended key usage of a TLS server (RFC 5280)."""

CLIENT_AUTH: Final = "1.3.6.1.5.5.7.3.2"
"""Extended key usage of a TLS client (RFC 5280)."""

ANY_USAGE: Final = "2.5.29.37.0"
"""`anyExtendedKeyUsage`: no restriction (RFC 5280)."""


@dataclass(frozen=True, slots=True)
class CertificateInput:
    """The input of the checks."""

    server: PairFacts
    """The pair the plugin presents; its `tls.crt` is CloudNativePG's whole trust pool."""
    client: PairFacts
    """The pair CloudNativePG presents."""
    server_name: str
    """The name that CloudNativePG verifies the plugin for."""
    client_trust: ClientTrust
    """Which certificates of the client Secret the plugin trusts."""
    now: datetime
    renewals: tuple[datetime | None, datetime | None] = (None, None)
    """When each certificate is due for renewal, server first; None where that is unknown."""

    @property
    def pairs(self) -> tuple[PairFacts, PairFacts]:
        """Both pairs, in the order of the checks."""
        return self.server, self.client

    @property
    def leaves(self) -> Iterable[tuple[PairFacts, CertificateFacts]]:
        """Both pairs with the certificate that each presents."""
        return ((pair, pair.leaf) for pair in self.pairs if pair.leaf is not None)

    @property
    def pool(self) -> tuple[CertificateFacts, ...]:
        """The certificates by which the plugin trusts clients."""
        return (
            self.client.chain if self.client_trust is ClientTrust.CHAIN else self.client.authorities
        )


def decide_certificates(seen: CertificateInput) -> Verdict:
    """Decide `CertificatesReady`: the first check that objects wins."""
    found = first(CHECKS, seen) or find_expiring(seen.pairs, seen.renewals, seen.now)
    return found or yes(
        Reason.ISSUED,
        f"Secrets {seen.server.secret} and {seen.client.secret} are usable until "
        f"{format_time(min(leaf.not_after for _, leaf in seen.leaves))}.",
    )


def secrets_are_free(seen: CertificateInput) -> Verdict | None:
    """Require that no other owner has the Secrets: the operator would overwrite or use them."""
    for pair in seen.pairs:
        if pair.owner is not None:
            return foreign_secret(pair.secret, pair.owner)
    return None


def foreign_secret(name: str, owner: str) -> Verdict:
    """Report that a Secret which this resource needs belongs to another owner."""
    return no(
        Reason.FOREIGN_SECRET,
        f"Secret {name} belongs to {owner}: rename this resource, name another Secret in "
        "spec.tls.secrets, or delete that Secret.",
    )


def secrets_exist(seen: CertificateInput) -> Verdict | None:
    """Require both Secrets: CloudNativePG drops a plugin whose Secret is missing."""
    for pair in seen.pairs:
        if not pair.exists:
            return no(
                Reason.SECRET_MISSING,
                f"Secret {pair.secret} does not exist: create it, or let its issuer create it.",
            )
    return None


def secrets_are_complete(seen: CertificateInput) -> Verdict | None:
    """Require a readable certificate and key in both, and the certificates to trust."""
    for pair in seen.pairs:
        if pair.problem is not None or pair.leaf is None:
            problem = pair.problem or "tls.crt contains no certificate"
            return no(
                Reason.SECRET_INCOMPLETE,
                f"Secret {pair.secret}: {problem}. It needs tls.crt and tls.key in PEM: issue the "
                "certificate again.",
            )
    if not seen.pool:
        return no(
            Reason.SECRET_INCOMPLETE,
            f"Secret {seen.client.secret}: {seen.client_trust.key} contains no certificate, but "
            "the plugin must trust clients by it. Add the issuer's certificate, or set "
            "spec.tls.clientTrust to Chain.",
        )
    return None


def keys_match(seen: CertificateInput) -> Verdict | None:
    """Require that each key belongs to the first certificate in its Secret (Go's `X509KeyPair`)."""
    for pair in seen.pairs:
        if not pair.key_matches:
            return no(
                Reason.KEY_MISMATCH,
                f"Secret {pair.secret}: tls.key does not belong to the first certificate in "
                "tls.crt. Put the certificate of this key first, or issue the certificate again.",
            )
    return None


def not_expired(seen: CertificateInput) -> Verdict | None:
    """Require that no certificate has expired (Go's `x509.Verify`)."""
    for pair, leaf in seen.leaves:
        if seen.now > leaf.not_after:
            return no(
                Reason.EXPIRED,
                f"Secret {pair.secret}: the certificate expired at {format_time(leaf.not_after)}. "
                "Renew it, or check why its issuer did not renew it.",
            )
    return None


def already_valid(seen: CertificateInput) -> Verdict | None:
    """Require that the certificates are already valid (Go's `x509.Verify`)."""
    for pair, leaf in seen.leaves:
        if seen.now < leaf.not_before:
            return no(
                Reason.NOT_YET_VALID,
                f"Secret {pair.secret}: the certificate is not valid before "
                f"{format_time(leaf.not_before)}. Wait, or compare the clocks of the issuer and "
                "of this node.",
            )
    return None


def name_covered(seen: CertificateInput) -> Verdict | None:
    """Require a DNS name (SAN) in the server certificate for the name CloudNativePG verifies."""
    leaf = seen.server.leaf
    if leaf is None or covers(leaf.dns_names, seen.server_name):
        return None
    names = f"is for [{', '.join(leaf.dns_names)}]" if leaf.dns_names else "has no DNS name (SAN)"
    return no(
        Reason.NAME_NOT_COVERED,
        f"Secret {seen.server.secret}: the certificate {names}, but CloudNativePG verifies "
        f"{seen.server_name}. Add that DNS name to the certificate; the common name does not "
        "count.",
    )


def usages_fit(seen: CertificateInput) -> Verdict | None:
    """Require that an extended key usage, if any, allows the purpose (Go's `x509.Verify`)."""
    wanted = (
        (seen.server, SERVER_AUTH, "server auth"),
        (seen.client, CLIENT_AUTH, "client auth"),
    )
    for pair, usage, name in wanted:
        usages = pair.leaf.extended_key_usages if pair.leaf is not None else None
        if usages is not None and usages.isdisjoint({usage, ANY_USAGE}):
            return no(
                Reason.WRONG_KEY_USAGE,
                f"Secret {pair.secret}: the certificate's extended key usage does not allow "
                f"'{name}'. Issue it with that usage.",
            )
    return None


def keys_supported(seen: CertificateInput) -> Verdict | None:
    """Require keys that both sides and the handshake can use.

    Ed25519 is refused although Go accepts it: gRPC's C-core, which every Python or C++ plugin and
    this operator's handshake use, does not, so no handshake with such a plugin could succeed.
    """
    for pair, leaf in seen.leaves:
        if not is_usable(leaf.key_type):
            return no(
                Reason.UNSUPPORTED_KEY,
                f"Secret {pair.secret}: the certificate's key is {leaf.key_type}, which not every "
                "side of the connection supports. Issue it with ECDSA P-256 (or P-384, or RSA with "
                f"{RSA_BITS.start} to {RSA_BITS.stop - 1} bits).",
            )
    return None


def issuer_is_acceptable(seen: CertificateInput) -> Verdict | None:
    """Require that CloudNativePG would send its certificate at all.

    A server names the subjects of its pool. Go sends a certificate only if a certificate of its
    chain has one of them as its issuer (`CertificateRequestInfo.SupportsCertificate` in
    `crypto/tls`); otherwise it sends none, and the plugin answers `tls: certificate required`.
    """
    acceptable = {certificate.subject_der for certificate in seen.pool}
    if any(certificate.issuer_der in acceptable for certificate in seen.client.chain):
        return None
    issuer = seen.client.chain[0].issuer
    return no(
        Reason.INCOMPATIBLE_ISSUER,
        f"Secret {seen.client.secret}: its certificate is issued by {issuer}, which is not in its "
        f"{seen.client_trust.key}, by which the plugin trusts clients; CloudNativePG would send no "
        f"certificate. {_remedy(seen)}",
    )


def client_is_trusted(seen: CertificateInput) -> Verdict | None:
    """Require a chain from CloudNativePG's certificate to one that the plugin trusts."""
    if _trusted(seen.client.chain, seen.pool, seen.now):
        return None
    return no(
        Reason.INCOMPATIBLE_ISSUER,
        f"Secret {seen.client.secret}: its certificate (issued by {seen.client.chain[0].issuer}) "
        f"does not chain to a valid CA in its {seen.client_trust.key}, by which the plugin trusts "
        f"clients. {_remedy(seen)}",
    )


CHECKS: Final = (
    secrets_are_free,
    secrets_exist,
    secrets_are_complete,
    keys_match,
    not_expired,
    already_valid,
    name_covered,
    usages_fit,
    keys_supported,
    issuer_is_acceptable,
    client_is_trusted,
)
"""In this order: each check may rely on the ones before it."""


def _remedy(seen: CertificateInput) -> str:
    """Suggest what to do about an issuer that cannot work."""
    if seen.client_trust is ClientTrust.CHAIN:
        return (
            "Let the plugin trust ca.crt (spec.tls.clientTrust: Root), or use an issuer that is an "
            "intermediate CA and so part of tls.crt, or a self-signed certificate."
        )
    return "Put the certificate of that issuer into ca.crt, or issue the certificate again."


def _trusted(
    chain: tuple[CertificateFacts, ...], pool: tuple[CertificateFacts, ...], now: datetime
) -> bool:
    """Whether a chain of names leads into the pool, by Go's rules for roots and intermediates.

    A leaf that is itself in the pool is trusted (`crypto/x509/verify.go`).
    """
    leaf, *rest = chain
    if any(certificate.fingerprint == leaf.fingerprint for certificate in pool):
        return True
    roots = {c.subject_der for c in pool if _may_issue(c, now)}
    issuers = {c.subject_der: c for c in rest if _may_issue(c, now)}
    current: CertificateFacts | None = leaf
    while current is not None:
        if current.issuer_der in roots:
            return True
        current = issuers.pop(current.issuer_der, None)
    return False


def _may_issue(certificate: CertificateFacts, now: datetime) -> bool:
    """Whether a certificate is a CA and currently valid."""
    return certificate.is_ca and certificate.not_before <= now <= certificate.not_after
