"""What is read from a Secret: every fact, no exception on any content, no byte of a key."""

import base64
import traceback
from collections.abc import Mapping
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from cnpg_plugin_operator.decide.facts.plugin import PairFacts
from cnpg_plugin_operator.pki import pem, reading
from cnpg_plugin_operator.pki.reading import read_certificate, read_certificates, read_pair
from tests.support.tls.certificates import CLIENT, SERVER, Pair, authority, issue, self_signed

ROOT = authority()
INTERMEDIATE = authority("intermediate", ROOT)
PAIR = issue(INTERMEDIATE, dns=("hello-world", "hello-world.cnpg-system"), usages=(SERVER, CLIENT))
OTHER = self_signed("other")
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
ENCODED = PAIR.certificate.public_bytes(serialization.Encoding.DER)


def secret(**changes: bytes | None) -> dict[str, bytes]:
    """The data of a good Secret, changed; keys are written with `_` for `.`."""
    data: dict[str, bytes | None] = {**PAIR.secret}
    data |= {key.replace("_", "."): value for key, value in changes.items()}
    return {key: value for key, value in data.items() if value is not None}


def test_a_missing_secret_is_a_fact() -> None:
    assert read_pair("web-server-tls", None) == PairFacts(secret="web-server-tls", exists=False)


def test_every_fact_of_a_good_secret_is_read() -> None:
    pair = read_pair("web-server-tls", PAIR.secret)
    assert pair.exists
    assert pair.problem is None
    assert pair.key_matches
    assert [c.subject for c in pair.chain] == ["CN=hello-world", "CN=intermediate"]
    assert [c.subject for c in pair.authorities] == ["CN=intermediate"]
    leaf, issuer = pair.chain
    assert leaf is pair.leaf
    assert leaf.issuer == "CN=intermediate"
    assert leaf.issuer_der == issuer.subject_der == INTERMEDIATE.certificate.subject.public_bytes()
    assert leaf.dns_names == ("hello-world", "hello-world.cnpg-system")
    assert leaf.extended_key_usages == frozenset({"1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"})
    assert leaf.not_before == PAIR.certificate.not_valid_before_utc
    assert leaf.not_after == PAIR.certificate.not_valid_after_utc
    assert leaf.not_after.tzinfo is not None
    assert not leaf.is_ca
    assert issuer.is_ca
    assert issuer.extended_key_usages is None
    assert len(leaf.fingerprint) == 64


def test_the_fingerprint_of_a_pair_changes_with_its_certificate() -> None:
    renewed = issue(INTERMEDIATE)
    before, after = (read_pair("a", pair.secret).fingerprint for pair in (PAIR, renewed))
    assert before != after


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        ("P-224", "ECDSA P-224"),
        ("P-256", "ECDSA P-256"),
        ("P-384", "ECDSA P-384"),
        ("P-521", "ECDSA P-521"),
        ("secp256k1", "ECDSA secp256k1"),
        ("RSA 2048", "RSA 2048"),
        ("Ed25519", "Ed25519"),
        ("Ed448", "Ed448"),
        ("DSA", "DSA 2048"),
    ],
)
def test_key_types_have_familiar_names(kind: str, named: str) -> None:
    pair = read_pair("a", self_signed(key=kind).secret)
    assert pair.leaf is not None
    assert pair.leaf.key_type == named
    assert pair.key_matches


def unknown_algorithm(pair: Pair) -> bytes:
    """The certificate with a public key of an unknown algorithm."""
    encoded = pair.certificate.public_bytes(serialization.Encoding.DER)
    curve = bytes.fromhex("06082a8648ce3d030107")
    return encoded.replace(curve, bytes.fromhex("06082a8648ce3d03017f"))


def armour(encoded: bytes, label: str = "CERTIFICATE") -> bytes:
    """Write a PEM block."""
    body = base64.b64encode(encoded).decode()
    return f"-----BEGIN {label}-----\n{body}\n-----END {label}-----\n".encode()


def test_a_key_of_an_unknown_type_is_left_to_the_verdict_about_key_types() -> None:
    pair = read_pair("a", {**OTHER.secret, "tls.crt": armour(unknown_algorithm(OTHER))})
    assert pair.leaf is not None
    assert pair.leaf.key_type.startswith("unknown (")
    assert pair.key_matches


ENCRYPTED = PAIR.key_object.private_bytes(
    serialization.Encoding.PEM,
    serialization.PrivateFormat.PKCS8,
    serialization.BestAvailableEncryption(b"secret"),
)
BROKEN = armour(ENCODED[:100])
PROBLEMS = [
    ("no certificate", secret(tls_crt=None), "tls.crt is missing or empty"),
    ("an empty certificate", secret(tls_crt=b" \n"), "tls.crt is missing or empty"),
    ("no key", secret(tls_key=None), "tls.key is missing or empty"),
    ("an empty key", secret(tls_key=b""), "tls.key is missing or empty"),
    ("nothing at all", {}, "tls.crt is missing or empty"),
    ("text instead of a certificate", secret(tls_crt=b"hello"), "tls.crt contains no certificate"),
    ("a key instead of a certificate", secret(tls_crt=PAIR.key), "tls.crt contains no certificate"),
    ("a block that never ends", secret(tls_crt=PAIR.leaf[:200]), "tls.crt contains no certificate"),
    (
        "a certificate that is cut short",
        secret(tls_crt=BROKEN),
        "tls.crt: certificate 1 of 1 is unreadable",
    ),
    (
        "a second certificate that is cut short",
        secret(tls_crt=PAIR.leaf + BROKEN),
        "tls.crt: certificate 2 of 2 is unreadable",
    ),
    (
        "a chain of hundreds",
        secret(tls_crt=PAIR.leaf * 21),
        "tls.crt contains 21 certificates, more than 20",
    ),
    (
        "a certificate of enormous size",
        secret(tls_crt=PAIR.leaf * 2000),
        "tls.crt is larger than 1048576 bytes",
    ),
    ("text instead of a key", secret(tls_key=b"hello"), "tls.key contains no private key"),
    ("a certificate, no key", secret(tls_key=PAIR.leaf), "tls.key contains no private key"),
    ("a key of enormous size", secret(tls_key=PAIR.key * 500), "tls.key contains no private key"),
    (
        "a key that is cut short",
        secret(tls_key=armour(b"0\x82\x01\x00\x02\x01\x00", "PRIVATE KEY")),
        "tls.key contains an unreadable private key",
    ),
    ("an encrypted key", secret(tls_key=ENCRYPTED), "tls.key is encrypted"),
]


@pytest.mark.parametrize(
    ("data", "problem"), [row[1:] for row in PROBLEMS], ids=[row[0] for row in PROBLEMS]
)
def test_the_problem_is_reported_for(data: Mapping[str, bytes], problem: str) -> None:
    pair = read_pair("a", data)
    assert pair.exists
    assert pair.problem is not None
    assert problem in pair.problem
    assert pair.chain == ()


def test_a_key_of_another_certificate_does_not_match() -> None:
    pair = read_pair("a", secret(tls_key=OTHER.key))
    assert pair.problem is None
    assert not pair.key_matches


def test_a_key_after_its_parameters_is_found() -> None:
    traditional = PAIR.key_object.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    parameters = armour(b"\x06\x08*\x86H\xce=\x03\x01\x07", "EC PARAMETERS")
    assert read_pair("a", secret(tls_key=parameters + traditional)).key_matches


def rsa_key(change: int = 0) -> tuple[bytes, bytes]:
    """An RSA key in PEM, its private exponent changed, and its public part."""
    numbers = RSA_KEY.private_numbers()
    changed = rsa.RSAPrivateNumbers(
        **{part: getattr(numbers, part) for part in ("p", "q", "dmp1", "dmq1", "iqmp")},
        d=numbers.d + change,
        public_numbers=numbers.public_numbers,
    ).private_key(unsafe_skip_rsa_key_validation=True)
    written = changed.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    public = RSA_KEY.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return written, public


def test_an_rsa_key_is_read() -> None:
    key, public = rsa_key()
    assert reading._public_part(key) == public


def test_an_rsa_key_whose_parts_do_not_belong_together_is_refused_as_go_does() -> None:
    pair = read_pair("a", secret(tls_key=rsa_key(change=2)[0]))
    assert pair.problem is not None
    assert "unreadable" in pair.problem


def test_an_unreadable_authority_is_skipped() -> None:
    pair = read_pair("a", secret(ca_crt=BROKEN + PAIR.authority))
    assert pair.problem is None
    assert [c.subject for c in pair.authorities] == ["CN=intermediate"]
    assert read_pair("a", secret(ca_crt=b"\xff" * 2_000_000)).authorities == ()


def test_text_around_the_blocks_is_ignored() -> None:
    noise = "# Főtanúsítvány\n".encode()
    block = PAIR.leaf.replace(b"\n", b"\r\n")
    assert len(read_certificates(noise + block + OTHER.key + noise + OTHER.leaf)) == 2
    headed = block.replace(b"-----\r\n", b"-----\r\nProc-Type: 4\r\n\r\n", 1)
    assert read_certificates(headed) == (), "Go skips blocks with headers"


def test_the_representation_of_a_block_hides_its_content() -> None:
    assert repr(list(pem.blocks(PAIR.key))) == "[Block(label='PRIVATE KEY')]"


@pytest.mark.parametrize(
    ("tag", "content"),
    [
        pytest.param(0x0C, "Füße".encode(), id="UTF8String"),
        pytest.param(0x12, b"1234", id="NumericString"),
        pytest.param(0x13, b"hello", id="PrintableString"),
        pytest.param(0x14, b"hello", id="T61String"),
        pytest.param(0x16, b"hello", id="IA5String"),
        pytest.param(0x1A, b"hello", id="VisibleString"),
        pytest.param(0x1C, "hell\U0001f600".encode("utf-32-be"), id="UniversalString"),
        pytest.param(0x1E, "hell\U0001f600".encode("utf-16-be"), id="BMPString"),
    ],
)
def test_a_name_is_compared_as_it_is_encoded(tag: int, content: bytes) -> None:
    """Go compares the bytes of names: reading must not encode them in another way."""
    common_name = "x" * len(content)
    encoded = self_signed(common_name).certificate.public_bytes(serialization.Encoding.DER)
    written = bytes([tag, len(content)]) + content
    encoded = encoded.replace(b"\x0c" + bytes([len(content)]) + common_name.encode(), written)

    read = read_certificate(encoded)

    assert read is not None
    assert written in read.subject_der
    assert encoded.count(read.subject_der) == 2
    assert read.issuer_der == read.subject_der


def shows_key(text: str, pair: Pair) -> bool:
    """Whether a line of the key, or its decoded number, is in a text."""
    return any(line in text for line in pair.key.decode().splitlines()[1:-1])


@pytest.mark.parametrize("data", [row[1] for row in PROBLEMS], ids=[row[0] for row in PROBLEMS])
def test_no_byte_of_a_key_is_in_a_message(data: Mapping[str, bytes]) -> None:
    printed = repr(read_pair("a", data))
    assert not shows_key(printed, PAIR)
    assert "PRIVATE KEY" not in printed


def test_no_byte_of_a_key_is_in_an_exception() -> None:
    damaged = bytearray(PAIR.key)
    damaged[60] ^= 1
    with pytest.raises(reading._UnreadableError) as caught:
        reading._key_matches(PAIR.leaf, bytes(damaged))
    assert caught.value.__cause__ is None
    assert not shows_key("".join(traceback.format_exception(caught.value)), PAIR)


ANYTHING = st.binary(max_size=400) | st.sampled_from([PAIR.chain, PAIR.key, BROKEN, ENCRYPTED])


@given(st.dictionaries(st.sampled_from(["tls.crt", "tls.key", "ca.crt"]), ANYTHING))
def test_any_content_is_read_without_an_error(data: dict[str, bytes]) -> None:
    pair = read_pair("a", data)
    assert pair.exists
    assert (pair.problem is None) == bool(pair.chain)


@given(st.data())
def test_any_damaged_certificate_is_read_without_an_error(data: st.DataObject) -> None:
    damaged = bytearray(ENCODED)
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(damaged) - 1))
        damaged[position] = data.draw(st.integers(0, 255))
    read_certificate(bytes(damaged))
    pair = read_pair("a", secret(tls_crt=armour(bytes(damaged)) + PAIR.leaf))
    assert pair.problem is not None or len(pair.chain) == 2


@given(st.data())
def test_any_damaged_key_is_read_without_an_error(data: st.DataObject) -> None:
    key = PAIR.key_object.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    damaged = bytearray(key)
    position = data.draw(st.integers(0, len(damaged) - 1))
    damaged[position] = data.draw(st.integers(0, 255))
    read_pair("a", secret(tls_key=armour(bytes(damaged), "PRIVATE KEY")))


def test_a_certificate_that_cryptography_rejects_is_a_problem_not_an_error() -> None:
    strange = self_signed(starts=timedelta(days=-1)).certificate
    version = bytes.fromhex("a003020102")
    odd = strange.public_bytes(serialization.Encoding.DER).replace(
        version, bytes.fromhex("a003020109"), 1
    )
    with pytest.raises(x509.InvalidVersion):
        x509.load_der_x509_certificate(odd)
    pair = read_pair("a", secret(tls_crt=armour(odd)))
    assert pair.problem is not None
    assert "is unreadable: 9 is not a valid X509 version" in pair.problem
