"""What the operator signs as its own CA: every extension, real TLS, and CAs that cannot sign."""

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from cnpg_plugin_operator.api.conditions import Status
from cnpg_plugin_operator.api.spec import ClientTrust
from cnpg_plugin_operator.decide.certificates.certificates import (
    CertificateInput,
    decide_certificates,
)
from cnpg_plugin_operator.decide.certificates.renewal import BACKDATE
from cnpg_plugin_operator.pki import profiles
from cnpg_plugin_operator.pki.issuing import (
    Authority,
    IssuedPair,
    issue_intermediate,
    issue_leaf,
    issue_root,
    read_authority,
)
from cnpg_plugin_operator.pki.reading import read_pair
from tests.support.tls import certificates as support

NOW: Final = datetime.now(UTC)
DAY: Final = timedelta(days=1)
NAME: Final = "hello-world.cnpg-system.svc"


def authority_of(pair: IssuedPair) -> Authority:
    """Read a CA as the operator does from its Secret."""
    found = read_authority(pair.data)
    assert found is not None
    return found


def make_root(
    *, now: datetime = NOW, lifetime: timedelta = 3650 * DAY, previous: bytes = b""
) -> IssuedPair:
    """A root; all roots of the tests have one name, as after a renewal."""
    return issue_root("root", lifetime=lifetime, now=now, previous=previous)


def make_intermediate(
    issuer: IssuedPair,
    name: str = "intermediate",
    *,
    now: datetime = NOW,
    lifetime: timedelta = 365 * DAY,
) -> IssuedPair:
    """An intermediate that includes the root's `ca.crt`."""
    return issue_intermediate(
        authority_of(issuer),
        name,
        lifetime=lifetime,
        now=now,
        authorities=issuer.authorities,
    )


def make_leaf(
    issuer: IssuedPair | Authority,
    usage: profiles.Usage = "server",
    *,
    name: str = "hello-world",
    dns: Sequence[str] | None = None,
    algorithm: profiles.Algorithm = "ECDSA",
    size: int = 256,
    now: datetime = NOW,
    lifetime: timedelta = 90 * DAY,
) -> IssuedPair:
    """A leaf; a server's is for `NAME`, a client's for none."""
    return issue_leaf(
        authority_of(issuer) if isinstance(issuer, IssuedPair) else issuer,
        common_name=name,
        dns_names=dns if dns is not None else (NAME,) if usage == "server" else (),
        usage=usage,
        algorithm=algorithm,
        size=size,
        lifetime=lifetime,
        now=now,
    )


ROOT: Final = make_root()
INTERMEDIATE: Final = make_intermediate(ROOT)
SERVER: Final = make_leaf(INTERMEDIATE)
CLIENT: Final = make_leaf(INTERMEDIATE, "client")
RSA: Final = make_leaf(INTERMEDIATE, algorithm="RSA", size=2048)


def load(pair: IssuedPair) -> x509.Certificate:
    """The certificate itself."""
    return chain_of(pair)[0]


def chain_of(pair: IssuedPair) -> list[x509.Certificate]:
    """Everything in `tls.crt`."""
    return x509.load_pem_x509_certificates(pair.certificate)


def alone(pair: IssuedPair) -> bytes:
    """PEM of the certificate without what follows it."""
    return load(pair).public_bytes(serialization.Encoding.PEM)


def find(pair: IssuedPair, kind: Any) -> Any:
    """One extension of a certificate."""
    return load(pair).extensions.get_extension_for_class(kind)


# Contents of certificates


CASES = [("root", ROOT), ("intermediate", INTERMEDIATE), ("server", SERVER), ("client", CLIENT)]
EVERY = pytest.mark.parametrize("pair", [row[1] for row in CASES], ids=[row[0] for row in CASES])


@pytest.mark.parametrize(
    ("pair", "ca", "path_length"),
    [(ROOT, True, 1), (INTERMEDIATE, True, 0), (SERVER, False, None), (CLIENT, False, None)],
    ids=["root", "intermediate", "server", "client"],
)
def test_the_basic_constraints_say_who_may_sign(
    pair: IssuedPair, *, ca: bool, path_length: int | None
) -> None:
    constraints = find(pair, x509.BasicConstraints)
    assert constraints.critical
    assert constraints.value == x509.BasicConstraints(ca=ca, path_length=path_length)


@pytest.mark.parametrize(
    ("pair", "allowed"),
    [
        (ROOT, {"key_cert_sign", "crl_sign", "digital_signature"}),
        (INTERMEDIATE, {"key_cert_sign", "crl_sign", "digital_signature"}),
        (SERVER, {"digital_signature"}),
        (CLIENT, {"digital_signature"}),
        (RSA, {"digital_signature", "key_encipherment"}),
    ],
    ids=["root", "intermediate", "server", "client", "RSA"],
)
def test_the_key_usage_is_minimal(pair: IssuedPair, allowed: set[str]) -> None:
    usage = find(pair, x509.KeyUsage)
    assert usage.critical
    # The last two have a meaning with `key_agreement` only, and cannot be asked for otherwise.
    assert {name for name in profiles._PURPOSES[:-2] if getattr(usage.value, name)} == allowed


@pytest.mark.parametrize(
    ("pair", "usages"),
    [
        (ROOT, None),
        (INTERMEDIATE, None),
        (SERVER, [ExtendedKeyUsageOID.SERVER_AUTH]),
        (RSA, [ExtendedKeyUsageOID.SERVER_AUTH]),
        (CLIENT, [ExtendedKeyUsageOID.CLIENT_AUTH]),
    ],
    ids=["root", "intermediate", "server", "RSA", "client"],
)
def test_a_leaf_is_for_one_end_of_a_connection(
    pair: IssuedPair, usages: list[x509.ObjectIdentifier] | None
) -> None:
    if usages is None:
        with pytest.raises(x509.ExtensionNotFound):
            find(pair, x509.ExtendedKeyUsage)
    else:
        assert list(find(pair, x509.ExtendedKeyUsage).value) == usages


@pytest.mark.parametrize(
    ("pair", "issuer"),
    [(ROOT, ROOT), (INTERMEDIATE, ROOT), (SERVER, INTERMEDIATE), (CLIENT, INTERMEDIATE)],
    ids=["root", "intermediate", "server", "client"],
)
def test_issuer_and_signature_and_key_identifiers_lead_to_the_issuer(
    pair: IssuedPair, issuer: IssuedPair
) -> None:
    load(pair).verify_directly_issued_by(load(issuer))
    own = find(pair, x509.SubjectKeyIdentifier)
    above = find(pair, x509.AuthorityKeyIdentifier)
    assert not own.critical
    assert not above.critical
    assert own.value == x509.SubjectKeyIdentifier.from_public_key(load(pair).public_key())
    issuer_id = find(issuer, x509.SubjectKeyIdentifier).value.digest
    assert above.value == x509.AuthorityKeyIdentifier(issuer_id, None, None)


def test_serial_numbers_are_random() -> None:
    serials = {load(make_leaf(INTERMEDIATE)).serial_number for _ in range(4)}
    assert len(serials) == 4
    assert all(0 < serial.bit_length() <= 159 for serial in serials)


NAMES = [
    ("as many as there are", ["a.example", "*.b.example", "c"], ["a.example", "*.b.example", "c"]),
    ("each once", ["a", "b", "a"], ["a", "b"]),
    ("of full length", [f"{'a' * 60}." * 4 + "b"], [f"{'a' * 60}." * 4 + "b"]),
    ("without what X.509 cannot carry", ["größe.example", "", "a"], ["a"]),
]


@pytest.mark.parametrize(
    ("given", "found"), [row[1:] for row in NAMES], ids=[row[0] for row in NAMES]
)
def test_dns_names_are_in_the_san(given: list[str], found: list[str]) -> None:
    names = find(make_leaf(INTERMEDIATE, dns=given), x509.SubjectAlternativeName)
    assert not names.critical
    assert names.value.get_values_for_type(x509.DNSName) == found


@pytest.mark.parametrize("dns", [(), ("", "größe")])
def test_a_leaf_without_dns_names_has_no_san(dns: Sequence[str]) -> None:
    with pytest.raises(x509.ExtensionNotFound):
        find(make_leaf(INTERMEDIATE, "client", dns=dns), x509.SubjectAlternativeName)


def test_the_names_of_a_leaf_without_subject_are_critical() -> None:
    pair = make_leaf(INTERMEDIATE, name="")
    assert not load(pair).subject.rdns
    assert find(pair, x509.SubjectAlternativeName).critical


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("hello-world", "hello-world"),
        ("a" * 64, "a" * 64),
        ("a" * 65, "a" * 64),
        ("ä" * 64, "ä" * 32),
        ("a" * 63 + "ä", "a" * 63),
        ("\ud800", "?"),
    ],
    ids=["short", "as long as may be", "too long", "two bytes each", "half a letter", "no letter"],
)
def test_common_names_are_truncated(given: str, found: str) -> None:
    root = issue_root(given, lifetime=DAY, now=NOW)
    middle = make_intermediate(root, given)
    for pair in (root, middle, make_leaf(middle, name=given)):
        (name,) = load(pair).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        assert name.value == found


@pytest.mark.parametrize(
    ("algorithm", "size", "named"),
    [
        ("ECDSA", 256, "ECDSA P-256"),
        ("ECDSA", 384, "ECDSA P-384"),
        ("ECDSA", 521, "ECDSA P-521"),
        ("RSA", 2048, "RSA 2048"),
        ("RSA", 3072, "RSA 3072"),
    ],
)
def test_keys_have_the_requested_type_and_match_their_certificates(
    algorithm: profiles.Algorithm, size: int, named: str
) -> None:
    facts = read_pair("a", make_leaf(INTERMEDIATE, algorithm=algorithm, size=size).data)
    assert facts.problem is None
    assert facts.key_matches
    assert facts.leaf is not None
    assert facts.leaf.key_type == named


@EVERY
def test_pairs_are_readable_secrets_with_keys_in_pkcs8(pair: IssuedPair) -> None:
    assert set(pair.data) == {"tls.crt", "tls.key", "ca.crt"}
    assert pair.key.startswith(b"-----BEGIN PRIVATE KEY-----\n")
    facts = read_pair("a", pair.data)
    assert facts.problem is None
    assert facts.key_matches
    assert [c.subject for c in facts.authorities] == ["CN=root"]
    assert {c.key_type for c in facts.chain} == {"ECDSA P-256"}


@pytest.mark.parametrize(
    ("algorithm", "size"), [("ECDSA", 255), ("ECDSA", 2048), ("RSA", 256), ("RSA", 2047)]
)
def test_keys_that_the_schema_refuses_are_refused(algorithm: profiles.Algorithm, size: int) -> None:
    with pytest.raises(ValueError, match=f"unsupported key: {algorithm} with {size} bits"):
        make_leaf(INTERMEDIATE, algorithm=algorithm, size=size)


def test_every_key_is_a_new_one() -> None:
    pairs = (make_leaf(INTERMEDIATE), make_leaf(INTERMEDIATE), make_root(), ROOT, INTERMEDIATE)
    assert len({pair.key for pair in pairs}) == 5


@pytest.mark.parametrize(
    ("pair", "subjects"),
    [
        (ROOT, ["root"]),
        (INTERMEDIATE, ["intermediate"]),
        (SERVER, ["hello-world", "intermediate"]),
        (make_leaf(ROOT), ["hello-world"]),
    ],
    ids=["root", "intermediate", "leaf of the intermediate", "leaf of the root"],
)
def test_no_root_is_in_a_chain_but_its_own(pair: IssuedPair, subjects: list[str]) -> None:
    assert [c.subject.rfc4514_string() for c in chain_of(pair)] == [f"CN={s}" for s in subjects]


def test_a_longer_chain_is_included_without_its_root() -> None:
    first = support.authority("first", support.authority())
    second = support.authority("second", first)
    whole = {**second.secret, "tls.crt": second.chain + first.authority}
    issuer = read_authority(whole)
    assert issuer is not None
    subjects = [c.subject.rfc4514_string() for c in chain_of(make_leaf(issuer))]
    assert subjects == ["CN=hello-world", "CN=second", "CN=first"]


# Time


def test_certificates_are_valid_a_little_before_they_are_issued() -> None:
    moment = datetime(2026, 8, 1, 12, 0, 0, 999_999, tzinfo=UTC)
    root = make_root(now=moment)
    middle = make_intermediate(root, now=moment)
    for pair, days in ((root, 3650), (middle, 365), (make_leaf(middle, now=moment), 90)):
        assert load(pair).not_valid_before_utc == moment.replace(microsecond=0) - BACKDATE
        assert load(pair).not_valid_after_utc == moment.replace(microsecond=0) + days * DAY


def test_the_time_zone_of_now_does_not_matter() -> None:
    elsewhere = NOW.astimezone(datetime.strptime("+0530", "%z").tzinfo)
    there, here = (load(make_root(now=now)) for now in (elsewhere, NOW))
    assert there.not_valid_before_utc == here.not_valid_before_utc
    assert there.not_valid_after_utc == here.not_valid_after_utc


@pytest.mark.parametrize("usage", ["server", "client"])
def test_nothing_outlives_its_issuer(usage: profiles.Usage) -> None:
    root = make_root(lifetime=30 * DAY)
    middle = make_intermediate(root, lifetime=365 * DAY)
    leaf = make_leaf(middle, usage, lifetime=90 * DAY)
    assert load(leaf).not_valid_after_utc == load(middle).not_valid_after_utc
    assert load(middle).not_valid_after_utc == load(root).not_valid_after_utc


def test_an_expired_issuer_issues_expired_certificates() -> None:
    root = make_root(now=NOW - 30 * DAY, lifetime=10 * DAY)
    leaf = load(make_leaf(root))
    assert leaf.not_valid_after_utc == load(root).not_valid_after_utc
    assert leaf.not_valid_before_utc == leaf.not_valid_after_utc


def test_previous_roots_stay_in_ca_crt_until_they_expire() -> None:
    first = make_root(now=NOW - 30 * DAY, lifetime=40 * DAY)
    second = make_root(now=NOW - 10 * DAY, previous=first.authorities)
    assert second.authorities == alone(second) + alone(first)
    third = make_root(now=NOW + 10 * DAY, previous=second.authorities)
    assert third.authorities == alone(third) + alone(second), "the first one has expired"


def test_only_cas_among_previous_roots_are_kept_and_each_once() -> None:
    bundle = b"\xff\n" + ROOT.authorities + SERVER.certificate + ROOT.key + ROOT.authorities
    bundle += b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"
    renewed = make_root(previous=bundle)
    assert renewed.authorities == alone(renewed) + alone(ROOT) + alone(INTERMEDIATE)


# TLS, by OpenSSL


@dataclass(frozen=True, slots=True)
class Side:
    """What one side of a connection presents, and whom it trusts."""

    pair: IssuedPair
    pool: bytes

    def context(self, protocol: int, flags: ssl.VerifyFlags, folder: Path) -> ssl.SSLContext:
        """As `ssl.create_default_context` of Python 3.13 creates it."""
        context = ssl.SSLContext(protocol)
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= flags
        context.load_verify_locations(cadata=self.pool.decode())
        file = folder / "pair.pem"
        file.write_bytes(self.pair.certificate + self.pair.key)
        context.load_cert_chain(file)
        return context


STRICT: Final = ssl.VerifyFlags.VERIFY_X509_STRICT
PARTIAL: Final = ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
"""What Go always does, and Python since 3.13: a pool needs no root."""


def connect(server: Side, client: Side, folder: Path, flags: ssl.VerifyFlags) -> None:
    """Perform a handshake in which both sides verify; raises the error of either side."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    calling = client.context(ssl.PROTOCOL_TLS_CLIENT, flags, folder)
    serving = server.context(ssl.PROTOCOL_TLS_SERVER, flags, folder)
    ends = [
        calling.wrap_bio(back, there, server_hostname=NAME),
        serving.wrap_bio(there, back, server_side=True),
    ]
    for end in (*ends, *ends, *ends):
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            continue
    for end in ends:
        assert end.getpeercert()


POOLS = [
    ("the root", ROOT.authorities, ROOT.authorities, ssl.VerifyFlags(0)),
    ("the root, strictly", ROOT.authorities, ROOT.authorities, STRICT),
    ("the root, as Python 3.13", ROOT.authorities, ROOT.authorities, STRICT | PARTIAL),
    ("the intermediate", INTERMEDIATE.certificate, INTERMEDIATE.certificate, STRICT | PARTIAL),
    ("both tls.crt", SERVER.certificate, CLIENT.certificate, STRICT | PARTIAL),
    # Not the client's alone: Go would send no certificate (`decide.certificates`).
    ("the server's certificate alone", alone(SERVER), CLIENT.certificate, STRICT | PARTIAL),
]


@pytest.mark.parametrize(
    ("servers", "clients", "flags"), [row[1:] for row in POOLS], ids=[row[0] for row in POOLS]
)
def test_both_sides_are_trusted_by(
    servers: bytes, clients: bytes, flags: ssl.VerifyFlags, tmp_path: Path
) -> None:
    connect(Side(SERVER, clients), Side(CLIENT, servers), tmp_path, flags)


NEXT_LEAF: Final = (make_leaf(INTERMEDIATE), make_leaf(INTERMEDIATE, "client"))
NEXT_INTERMEDIATE: Final = make_intermediate(ROOT)
BELOW_NEXT: Final = (make_leaf(NEXT_INTERMEDIATE), make_leaf(NEXT_INTERMEDIATE, "client"))
NEXT_ROOT: Final = make_root(previous=ROOT.authorities)
NEW_CHAIN: Final = make_intermediate(NEXT_ROOT)
IN_NEW_CHAIN: Final = (make_leaf(NEW_CHAIN), make_leaf(NEW_CHAIN, "client"))
OLD: Final = (SERVER, CLIENT)
OLD_TLS_CRT: Final = (SERVER.certificate, CLIENT.certificate)
RENEWALS = [
    ("a new leaf by the old tls.crt", NEXT_LEAF, OLD_TLS_CRT),
    ("an old leaf by the new tls.crt", OLD, tuple(pair.certificate for pair in NEXT_LEAF)),
    (
        "a new intermediate by the old tls.crt with the root",
        BELOW_NEXT,
        tuple(pool + ROOT.authorities for pool in OLD_TLS_CRT),
    ),
    ("a new intermediate by ca.crt", BELOW_NEXT, (ROOT.authorities, ROOT.authorities)),
    (
        "an old leaf by the new intermediate with the root",
        OLD,
        tuple(pair.certificate + ROOT.authorities for pair in BELOW_NEXT),
    ),
    ("a new root by its ca.crt", IN_NEW_CHAIN, tuple(pair.authorities for pair in IN_NEW_CHAIN)),
    ("an old leaf by the new ca.crt", OLD, (NEXT_ROOT.authorities, NEXT_ROOT.authorities)),
]


@pytest.mark.parametrize(
    ("pairs", "pools"), [row[1:] for row in RENEWALS], ids=[row[0] for row in RENEWALS]
)
def test_after_a_renewal_both_sides_trust(
    pairs: tuple[IssuedPair, IssuedPair], pools: tuple[bytes, bytes], tmp_path: Path
) -> None:
    (server, client), (servers, clients) = pairs, pools
    connect(Side(server, clients), Side(client, servers), tmp_path, STRICT | PARTIAL)


@pytest.mark.parametrize(
    ("algorithm", "size"), [("ECDSA", 256), ("ECDSA", 384), ("ECDSA", 521), ("RSA", 2048)]
)
def test_both_sides_are_trusted_with_keys_of(
    algorithm: profiles.Algorithm, size: int, tmp_path: Path
) -> None:
    server = make_leaf(INTERMEDIATE, algorithm=algorithm, size=size)
    client = make_leaf(INTERMEDIATE, "client", algorithm=algorithm, size=size)
    connect(Side(server, ROOT.authorities), Side(client, ROOT.authorities), tmp_path, STRICT)


def as_issuer(pair: IssuedPair) -> Authority:
    """Sign with a certificate that is no CA, as a thief of its key could."""
    key = serialization.load_pem_private_key(pair.key, password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return Authority(load(pair), key, pair.certificate, pair.authorities)


REFUSED = [
    ("a server of another root", make_leaf(make_root()), CLIENT, "self.signed|local issuer"),
    ("a client of another root", SERVER, make_leaf(make_root(), "client"), "local issuer"),
    (
        "a client's certificate as a server's",
        make_leaf(INTERMEDIATE, "client", dns=[NAME]),
        CLIENT,
        "unsuitable certificate purpose",
    ),
    ("a server's certificate as a client's", SERVER, SERVER, "unsuitable certificate purpose"),
    ("a server of another name", make_leaf(INTERMEDIATE, dns=["other"]), CLIENT, "Hostname"),
    ("a certificate that a leaf has signed", make_leaf(as_issuer(SERVER)), CLIENT, "invalid CA"),
    (
        "an intermediate below an intermediate",
        make_leaf(make_intermediate(INTERMEDIATE, "below")),
        CLIENT,
        "path length constraint exceeded",
    ),
    (
        "a certificate that has expired",
        make_leaf(INTERMEDIATE, now=NOW - 99 * DAY),
        CLIENT,
        "certificate has expired",
    ),
    (
        "a certificate that is not valid yet",
        make_leaf(INTERMEDIATE, now=NOW + DAY),
        CLIENT,
        "not yet valid",
    ),
]


@pytest.mark.parametrize(
    ("server", "client", "words"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_neither_side_trusts(
    server: IssuedPair, client: IssuedPair, words: str, tmp_path: Path
) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match=words):
        connect(Side(server, ROOT.authorities), Side(client, ROOT.authorities), tmp_path, STRICT)


# The verdict on both Secrets


@pytest.mark.parametrize("client_trust", list(ClientTrust))
@pytest.mark.parametrize("pair", [SERVER, RSA], ids=["ECDSA", "RSA"])
def test_the_verdict_on_a_pair_of_leaves_is_good(
    pair: IssuedPair, client_trust: ClientTrust
) -> None:
    seen = CertificateInput(
        server=read_pair("server", pair.data),
        client=read_pair("client", CLIENT.data),
        server_name=NAME,
        client_trust=client_trust,
        now=datetime.now(UTC),
    )
    verdict = decide_certificates(seen)
    assert verdict.status is Status.TRUE, verdict.message


# Which CAs can sign


def make_ca(
    usages: Sequence[str] | None = ("key_cert_sign",), *, kind: str = "P-256"
) -> dict[str, bytes]:
    """A CA from another issuer, without key identifiers."""
    key = support.make_key(kind)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "foreign")])
    builder = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, NOW - DAY, NOW + DAY)
    ).add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    if usages is not None:
        builder = builder.add_extension(profiles._key_usage(*usages), critical=True)
    certificate = builder.sign(key, None if kind == "Ed25519" else hashes.SHA256())
    return support.Pair(certificate, key).secret


def secret(pair: IssuedPair = ROOT, **changes: bytes | None) -> dict[str, bytes]:
    """The data of a good Secret, changed; keys are written with `_` for `.`."""
    data: dict[str, bytes | None] = {**pair.data}
    data |= {key.replace("_", "."): value for key, value in changes.items()}
    return {key: value for key, value in data.items() if value is not None}


ENCRYPTED: Final = serialization.load_pem_private_key(ROOT.key, None).private_bytes(
    serialization.Encoding.PEM,
    serialization.PrivateFormat.PKCS8,
    serialization.BestAvailableEncryption(b"secret"),
)
GARBAGE: Final = b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"
USELESS: list[tuple[str, Mapping[str, bytes] | None]] = [
    ("no Secret", None),
    ("an empty Secret", {}),
    ("no certificate", secret(tls_crt=None)),
    ("no key", secret(tls_key=None)),
    ("an empty key", secret(tls_key=b"")),
    ("a key of another CA", secret(tls_key=INTERMEDIATE.key)),
    ("an encrypted key", secret(tls_key=ENCRYPTED)),
    ("a key that is cut short", secret(tls_key=ROOT.key[:100])),
    ("a leaf", SERVER.data),
    ("a leaf that has signed itself", support.self_signed().secret),
    ("text", {"tls.crt": b"\xff\x00", "tls.key": b"\xff\x00", "ca.crt": b"\xff\x00"}),
    ("a certificate that is none", secret(tls_crt=GARBAGE)),
    ("a certificate that is none behind a good one", secret(tls_crt=ROOT.certificate + GARBAGE)),
    ("a CA without key usage", make_ca(None)),
    ("a CA that may sign lists only", make_ca(["crl_sign", "digital_signature"])),
    ("a CA for servers only", support.issue(None, usages=[support.SERVER], ca=True).secret),
    (
        "a CA for what OpenSSL calls nothing",
        support.issue(None, usages=[support.ANY], ca=True).secret,
    ),
    ("a CA with a key that gRPC does not take", make_ca(kind="Ed25519")),
    ("a CA with a key that is too short", make_ca(kind="RSA 1024")),
    ("a CA on a curve that gRPC does not take", make_ca(kind="P-521")),
    ("an intermediate without ca.crt", secret(INTERMEDIATE, ca_crt=None)),
    ("an intermediate with an unreadable ca.crt", secret(INTERMEDIATE, ca_crt=GARBAGE)),
]


@pytest.mark.parametrize("data", [row[1] for row in USELESS], ids=[row[0] for row in USELESS])
def test_an_authority_cannot_be(data: Mapping[str, bytes] | None) -> None:
    assert read_authority(data) is None


@pytest.mark.parametrize(
    "data",
    [
        ROOT.data,
        INTERMEDIATE.data,
        NEXT_ROOT.data,
        make_ca(),
        make_ca(kind="P-384"),
        make_ca(kind="RSA 2048"),
        support.authority("intermediate", support.authority()).secret,
        support.issue(None, usages=[support.SERVER, support.CLIENT], ca=True).secret,
    ],
)
def test_an_authority_signs_what_its_own_ca_crt_leads_to(
    data: dict[str, bytes], tmp_path: Path
) -> None:
    issuer = read_authority(data)
    assert issuer is not None
    server, client = (make_leaf(issuer, usage, lifetime=DAY / 2) for usage in USAGES)
    assert server.authorities == client.authorities == data["ca.crt"]
    assert find(server, x509.AuthorityKeyIdentifier).value.key_identifier is not None
    sides = Side(server, client.authorities), Side(client, server.authorities)
    connect(*sides, tmp_path, PARTIAL)


USAGES: Final[tuple[profiles.Usage, ...]] = ("server", "client")


@pytest.mark.parametrize(
    ("ca_crt", "known"),
    [
        (None, b""),
        (b"", b""),
        (GARBAGE + SERVER.key, b""),
        (NEXT_INTERMEDIATE.authorities[:20], b""),
        (INTERMEDIATE.certificate, INTERMEDIATE.certificate),
    ],
    ids=["nothing", "an empty one", "another text", "a part", "another certificate"],
)
def test_a_root_that_its_ca_crt_lacks_is_added(ca_crt: bytes | None, known: bytes) -> None:
    issuer = read_authority(secret(ca_crt=ca_crt))
    assert issuer is not None
    assert issuer.authorities == ROOT.certificate + known


def test_any_other_ca_crt_is_copied_byte_by_byte() -> None:
    commented = b"# mine\n" + ROOT.authorities
    issuer = read_authority(secret(ca_crt=commented))
    assert issuer is not None
    assert make_leaf(issuer).authorities == commented


def test_the_intermediate_has_the_ca_crt_that_it_is_given() -> None:
    pair = issue_intermediate(
        authority_of(ROOT),
        "intermediate",
        lifetime=DAY,
        now=NOW,
        authorities=NEXT_ROOT.authorities,
    )
    assert pair.authorities == NEXT_ROOT.authorities


def test_an_intermediate_named_like_its_root_is_not_mistaken_for_it() -> None:
    assert len(chain_of(make_leaf(make_intermediate(ROOT, "root")))) == 2


ANYTHING = st.binary(max_size=400) | st.sampled_from(
    [ROOT.certificate, ROOT.key, INTERMEDIATE.certificate, SERVER.certificate, GARBAGE, ENCRYPTED]
)


@given(st.dictionaries(st.sampled_from(["tls.crt", "tls.key", "ca.crt"]), ANYTHING))
def test_any_secret_is_read_without_an_error(data: dict[str, bytes]) -> None:
    issuer = read_authority(data)
    assert issuer is None or load(make_leaf(issuer)).issuer == issuer.certificate.subject


@given(st.data())
def test_any_damaged_authority_is_read_without_an_error(data: st.DataObject) -> None:
    damaged = bytearray(load(ROOT).public_bytes(serialization.Encoding.DER))
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(damaged) - 1))
        damaged[position] = data.draw(st.integers(0, 255))
    pem = ssl.DER_cert_to_PEM_cert(bytes(damaged)).encode()
    for authorities in (pem, ROOT.authorities):
        issuer = read_authority(secret(tls_crt=pem + ROOT.certificate, ca_crt=authorities))
        assert issuer is None or make_leaf(issuer).authorities
    assert make_root(previous=pem).authorities


def shows_key(text: str, key: bytes) -> bool:
    """Whether a line of the key is in a text."""
    return any(line in text for line in key.decode().splitlines()[1:-1])


@EVERY
def test_representations_contain_no_part_of_a_key(pair: IssuedPair) -> None:
    assert shows_key(pair.key.decode(), pair.key)
    printed = [repr(pair), str(pair), repr(read_authority(pair.data)), repr(as_issuer(pair))]
    for text in printed:
        assert "PRIVATE KEY" not in text
        assert not shows_key(text, pair.key)
