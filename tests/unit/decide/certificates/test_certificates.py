"""Whether two Secrets can secure the connection: every check, its reason and its message."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from cnpg_plugin_operator.api.conditions import Reason, Status
from cnpg_plugin_operator.api.spec import ClientTrust
from cnpg_plugin_operator.decide.certificates.certificates import (
    ANY_USAGE,
    CHECKS,
    CLIENT_AUTH,
    SERVER_AUTH,
    CertificateInput,
    decide_certificates,
)
from cnpg_plugin_operator.decide.certificates.tls_rules import covers, is_usable
from cnpg_plugin_operator.decide.facts.plugin import CertificateFacts, PairFacts

NOW = datetime(2026, 8, 1, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)


def certificate(
    subject: str = "hello",
    issuer: str | None = None,
    *,
    dns: tuple[str, ...] = ("hello-world",),
    usages: frozenset[str] | None = None,
    key: str = "ECDSA P-256",
    ca: bool = False,
    since: timedelta = -30 * DAY,
    until: timedelta = 60 * DAY,
) -> CertificateFacts:
    """A certificate, self-signed where no issuer is given."""
    issuer = issuer or subject
    return CertificateFacts(
        subject=f"CN={subject}",
        issuer=f"CN={issuer}",
        subject_der=subject.encode(),
        issuer_der=issuer.encode(),
        dns_names=dns,
        not_before=NOW + since,
        not_after=NOW + until,
        extended_key_usages=usages,
        key_type=key,
        is_ca=ca,
        fingerprint=f"{subject}/{issuer}/{since}/{until}",
    )


def pair(
    *chain: CertificateFacts, authorities: tuple[CertificateFacts, ...] = (), name: str = "server"
) -> PairFacts:
    """A readable Secret with these certificates."""
    return PairFacts(name, exists=True, chain=chain, authorities=authorities, key_matches=True)


SERVER = certificate(usages=frozenset({SERVER_AUTH}))
CLIENT = certificate("cnpg", dns=(), usages=frozenset({CLIENT_AUTH}), until=50 * DAY)
ROOT = certificate("root", dns=(), ca=True, until=3650 * DAY)
SUB = certificate("sub", "root", dns=(), ca=True, until=365 * DAY)
LOWEST = certificate("lowest", "sub", dns=(), ca=True, until=365 * DAY)
BY_ROOT = certificate("cnpg", "root", dns=())
BY_SUB = certificate("cnpg", "sub", dns=())

GOOD = CertificateInput(
    pair(SERVER), pair(CLIENT, name="client"), "hello-world", ClientTrust.CHAIN, NOW
)


def server(*chain: CertificateFacts) -> CertificateInput:
    return replace(GOOD, server=pair(*chain))


def client(*chain: CertificateFacts) -> CertificateInput:
    return replace(GOOD, client=pair(*chain, name="client"))


def trusting(
    *authorities: CertificateFacts, chain: tuple[CertificateFacts, ...]
) -> CertificateInput:
    """The plugin trusts `ca.crt` of the client Secret."""
    return replace(
        GOOD,
        client=pair(*chain, authorities=authorities, name="client"),
        client_trust=ClientTrust.ROOT,
    )


FINE = [
    ("self-signed leaves that are pinned", GOOD),
    ("no extended key usage", server(certificate())),
    ("a server certificate for any purpose", server(certificate(usages=frozenset({ANY_USAGE})))),
    (
        "a client certificate for any purpose",
        client(replace(CLIENT, extended_key_usages=frozenset({ANY_USAGE}))),
    ),
    ("both purposes", server(certificate(usages=frozenset({SERVER_AUTH, CLIENT_AUTH})))),
    (
        "a wildcard for the name",
        replace(server(certificate(dns=("*.svc",))), server_name="hello.svc"),
    ),
    ("one of several names", server(certificate(dns=("a", "Hello-World", "b")))),
    ("an RSA key", server(certificate(key="RSA 4096"))),
    ("the last second of a certificate", server(certificate(until=timedelta()))),
    ("the first second of a certificate", server(certificate(since=timedelta()))),
    (
        "an expired issuer behind a server leaf that is pinned",
        server(certificate("a", "sub"), replace(SUB, not_after=NOW - DAY)),
    ),
    ("a client from an intermediate, with its chain in the pool", client(BY_SUB, SUB)),
    ("a client from a root that the plugin trusts", trusting(ROOT, chain=(BY_ROOT,))),
    (
        "a client whose intermediate leads to a root that the plugin trusts",
        trusting(ROOT, chain=(BY_SUB, SUB)),
    ),
    ("a client from an intermediate that the plugin trusts", trusting(SUB, chain=(BY_SUB, SUB))),
    ("a self-signed client that is its own authority", trusting(CLIENT, chain=(CLIENT,))),
]


@pytest.mark.parametrize("seen", [row[1] for row in FINE], ids=[row[0] for row in FINE])
def test_secrets_are_usable_with(seen: CertificateInput) -> None:
    verdict = decide_certificates(seen)
    assert verdict.status is Status.TRUE, verdict.message
    assert verdict.reason in (Reason.ISSUED, Reason.EXPIRING)


MISSING = PairFacts("client")
LOOP = (
    certificate("cnpg", "x", dns=()),
    certificate("x", "y", ca=True),
    certificate("y", "x", ca=True),
)
BAD = [
    (
        "no server Secret",
        replace(GOOD, server=PairFacts("server")),
        Reason.SECRET_MISSING,
        ("Secret server does not exist",),
    ),
    (
        "no client Secret",
        replace(GOOD, client=MISSING),
        Reason.SECRET_MISSING,
        ("Secret client does not exist",),
    ),
    (
        "a server Secret without a key",
        replace(
            GOOD, server=PairFacts("server", exists=True, problem="tls.key is missing or empty")
        ),
        Reason.SECRET_INCOMPLETE,
        ("Secret server: tls.key is missing or empty", "issue the certificate again"),
    ),
    (
        "a client Secret without anything",
        replace(GOOD, client=PairFacts("client", exists=True)),
        Reason.SECRET_INCOMPLETE,
        ("Secret client: tls.crt contains no certificate",),
    ),
    (
        "a trusted ca.crt that is not there",
        trusting(chain=(BY_ROOT,)),
        Reason.SECRET_INCOMPLETE,
        ("Secret client: ca.crt contains no certificate", "clientTrust to Chain"),
    ),
    (
        "a server key of another certificate",
        replace(GOOD, server=replace(pair(SERVER), key_matches=False)),
        Reason.KEY_MISMATCH,
        ("Secret server", "does not belong"),
    ),
    (
        "a client key of another certificate",
        replace(GOOD, client=replace(GOOD.client, key_matches=False)),
        Reason.KEY_MISMATCH,
        ("Secret client",),
    ),
    (
        "an expired server certificate",
        server(certificate(until=-DAY)),
        Reason.EXPIRED,
        ("Secret server", "expired at 2026-07-31T12:00:00Z", "Renew it"),
    ),
    (
        "an expired client certificate",
        client(replace(CLIENT, not_after=NOW - timedelta(seconds=1))),
        Reason.EXPIRED,
        ("Secret client",),
    ),
    (
        "a server certificate that is not valid yet",
        server(certificate(since=DAY)),
        Reason.NOT_YET_VALID,
        ("Secret server", "not valid before 2026-08-02T12:00:00Z", "clocks"),
    ),
    (
        "a client certificate that is not valid yet",
        client(replace(CLIENT, not_before=NOW + DAY)),
        Reason.NOT_YET_VALID,
        ("Secret client",),
    ),
    (
        "other names",
        server(certificate(dns=("a", "b"))),
        Reason.NAME_NOT_COVERED,
        ("Secret server", "is for [a, b]", "verifies hello-world", "Add that DNS name"),
    ),
    (
        "no name",
        server(certificate("hello-world", dns=())),
        Reason.NAME_NOT_COVERED,
        ("has no DNS name (SAN)", "common name does not count"),
    ),
    (
        "a wildcard of another depth",
        replace(server(certificate(dns=("*.svc",))), server_name="a.b.svc"),
        Reason.NAME_NOT_COVERED,
        ("[*.svc]",),
    ),
    (
        "a server certificate for clients",
        server(certificate(usages=frozenset({CLIENT_AUTH}))),
        Reason.WRONG_KEY_USAGE,
        ("Secret server", "'server auth'"),
    ),
    (
        "a server certificate for nothing",
        server(certificate(usages=frozenset())),
        Reason.WRONG_KEY_USAGE,
        ("'server auth'",),
    ),
    (
        "a client certificate for servers",
        client(replace(CLIENT, extended_key_usages=frozenset({SERVER_AUTH}))),
        Reason.WRONG_KEY_USAGE,
        ("Secret client", "'client auth'"),
    ),
    (
        "a server key that gRPC cannot use",
        server(certificate(key="Ed25519")),
        Reason.UNSUPPORTED_KEY,
        ("Secret server", "Ed25519", "ECDSA P-256"),
    ),
    (
        "a client key that gRPC cannot use",
        client(replace(CLIENT, key_type="ECDSA P-521")),
        Reason.UNSUPPORTED_KEY,
        ("Secret client", "P-521"),
    ),
    (
        "a key without a signature in TLS 1.3",
        server(certificate(key="ECDSA P-224")),
        Reason.UNSUPPORTED_KEY,
        ("P-224",),
    ),
    (
        "a key that is too short",
        server(certificate(key="RSA 1024")),
        Reason.UNSUPPORTED_KEY,
        ("RSA 1024", "2048 to 8192"),
    ),
    (
        "a key that is too long",
        server(certificate(key="RSA 16384")),
        Reason.UNSUPPORTED_KEY,
        ("RSA 16384",),
    ),
    (
        "an unknown type of key",
        server(certificate(key="unknown (1.2.3)")),
        Reason.UNSUPPORTED_KEY,
        ("unknown (1.2.3)",),
    ),
    (
        "a client from a CA, of which the plugin has pinned the leaf",
        client(BY_ROOT),
        Reason.INCOMPATIBLE_ISSUER,
        (
            "Secret client",
            "issued by CN=root",
            "not in its tls.crt",
            "send no certificate",
            "spec.tls.clientTrust",
        ),
    ),
    (
        "a client from another CA than the plugin trusts",
        trusting(ROOT, chain=(certificate("cnpg", "other"),)),
        Reason.INCOMPATIBLE_ISSUER,
        ("CN=other", "not in its ca.crt", "into ca.crt"),
    ),
    (
        "a client from an issuer that is no CA",
        trusting(certificate("root"), chain=(BY_ROOT,)),
        Reason.INCOMPATIBLE_ISSUER,
        ("to a valid CA in its ca.crt",),
    ),
    (
        "a client from a CA that has expired",
        trusting(replace(ROOT, not_after=NOW - DAY), chain=(BY_ROOT,)),
        Reason.INCOMPATIBLE_ISSUER,
        ("to a valid CA in its ca.crt",),
    ),
    (
        "a chain with a gap",
        trusting(ROOT, chain=(certificate("cnpg", "lowest"), SUB)),
        Reason.INCOMPATIBLE_ISSUER,
        ("to a valid CA in its ca.crt",),
    ),
    (
        "a circular chain",
        trusting(certificate("y"), chain=LOOP),
        Reason.INCOMPATIBLE_ISSUER,
        ("to a valid CA in its ca.crt",),
    ),
]


@pytest.mark.parametrize(
    ("seen", "reason", "says"), [row[1:] for row in BAD], ids=[row[0] for row in BAD]
)
def test_secrets_are_refused_for(
    seen: CertificateInput, reason: Reason, says: tuple[str, ...]
) -> None:
    verdict = decide_certificates(seen)
    assert verdict.status is Status.FALSE
    assert verdict.reason is reason, verdict.message
    for part in says:
        assert part in verdict.message


def test_a_chain_of_two_intermediates_leads_to_its_root() -> None:
    assert decide_certificates(
        trusting(ROOT, chain=(certificate("cnpg", "lowest", dns=()), LOWEST, SUB))
    ).is_true


def test_the_message_of_good_secrets_names_the_earlier_expiry() -> None:
    message = "Secrets server and client are usable until 2026-09-20T12:00:00Z."
    assert decide_certificates(GOOD).message == message


def test_only_the_first_problem_is_reported() -> None:
    seen = replace(server(certificate(until=-DAY, dns=(), key="Ed25519")), client=MISSING)
    assert decide_certificates(seen).reason is Reason.SECRET_MISSING


def test_every_check_has_a_docstring() -> None:
    for check in CHECKS:
        assert (check.__doc__ or "").startswith("Require "), check


@pytest.mark.parametrize(
    ("pattern", "name", "covered"),
    [
        ("hello", "hello", True),
        ("hello", "Hello", True),
        ("HELLO", "hello", True),
        ("hello", "hello.", True),
        ("hello", "hell", False),
        ("*.svc", "hello.svc", True),
        ("*.svc", "svc", False),
        ("*.svc", ".svc", False),
        ("*.svc", "a.b.svc", False),
        ("*", "hello", False),
        ("h*.svc", "hello.svc", False),
        ("a.*.svc", "a.b.svc", False),
        ("*.*.svc", "a.b.svc", False),
        ("a_b", "a_b", True),
        ("-a", "-a", True),
        ("-a.svc", "-A.svc", True),
        ("", "", False),
        (".", ".", False),
        ("a..b", "a..b", True),
        ("bücher", "bücher", True),
        ("hello.", "hello", False),
    ],
)
def test_names_are_covered_as_in_go(pattern: str, name: str, *, covered: bool) -> None:
    assert covers([pattern], name) is covered


@pytest.mark.parametrize(
    ("key_type", "usable"),
    [
        ("ECDSA P-256", True),
        ("ECDSA P-384", True),
        ("ECDSA secp256k1", False),
        ("RSA 2048", True),
        ("RSA 2047", False),
        ("RSA 8192", True),
        ("RSA 8193", False),
        ("RSA ", False),
        ("DSA 2048", False),
        ("Ed448", False),
        ("", False),
    ],
)
def test_keys_are_usable_where_all_sides_can_use_them(key_type: str, *, usable: bool) -> None:
    assert is_usable(key_type) is usable
