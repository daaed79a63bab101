"""Reads the content of a Secret: certificates, their key, and whether the two belong together.

Verdicts are made from plain values (`CertificateFacts`, `PairFacts`) before CloudNativePG uses the
Secret. This module judges nothing (`decide.certificates` does), never raises on any content, and
reveals no byte of a private key: errors about keys have fixed texts.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa

from cnpg_plugin_operator.decide.facts.plugin import CertificateFacts, PairFacts

from . import pem

_Kind = TypeVar("_Kind", bound=x509.ExtensionType)

TLS_CERTIFICATE: Final = "tls.crt"
"""Key, in a Secret of type `kubernetes.io/tls`, of the certificate and the intermediates that lead
to its root."""

TLS_KEY: Final = "tls.key"
"""Key of the private key of the first certificate."""

AUTHORITIES: Final = "ca.crt"
"""Key under which cert-manager stores the certificate of the issuer."""

MAX_CERTIFICATES: Final = 1024 * 1024
"""Maximum bytes of PEM; the API server stores no larger Secret."""

MAX_CHAIN: Final = 20
"""Maximum certificates in `tls.crt`; a chain has two or three."""

MAX_POOL: Final = 250
"""Maximum certificates of a pool; browsers trust about 150 roots."""

MAX_KEY: Final = 32 * 1024
"""Maximum bytes of a key; RSA with 16384 bits needs less than half of it."""

UNKNOWN_KEY: Final = "unknown"
"""`key_type` where this program does not know the algorithm of a public key."""

_DER: Final = serialization.Encoding.DER
_SPKI: Final = serialization.PublicFormat.SubjectPublicKeyInfo

_BRIEF: Final = 160
"""Maximum characters of a library's message that users see."""

_CURVES: Final = {
    "secp224r1": "P-224",
    "secp256r1": "P-256",
    "secp384r1": "P-384",
    "secp521r1": "P-521",
}
"""NIST's names, in the spelling of Go and cert-manager, by SEC's names."""


def read_pair(
    secret_name: str,
    data: Mapping[str, bytes] | None,
    *,
    owner: str | None = None,
    written_at: datetime | None = None,
) -> PairFacts:
    """Read a Secret's decoded data; None means that the Secret does not exist.

    `owner` and `written_at` are passed on unchanged.

    All certificates in `tls.crt` must be readable, because CloudNativePG loads all of them.
    Unreadable ones in `ca.crt` are skipped: CloudNativePG does not read it.
    """
    if data is None:
        return PairFacts(secret=secret_name)
    found = PairFacts(secret=secret_name, exists=True, owner=owner, written_at=written_at)
    try:
        chain = _read_chain(data.get(TLS_CERTIFICATE, b""))
        matches = _key_matches(chain[0].encoded, data.get(TLS_KEY, b""))
    except _UnreadableError as error:
        return replace(found, problem=str(error))
    authorities = read_certificates(data.get(AUTHORITIES, b""))
    return replace(found, chain=chain, authorities=authorities, key_matches=matches)


def read_certificates(data: bytes) -> tuple[CertificateFacts, ...]:
    """Read the readable certificates of a PEM file; others are skipped, as in Go's pools."""
    if len(data) > MAX_CERTIFICATES:
        return ()
    found = (read_certificate(encoded) for encoded in pem.certificates(data)[:MAX_POOL])
    return tuple(facts for facts in found if facts is not None)


def read_certificate(encoded: bytes) -> CertificateFacts | None:
    """Read one certificate in DER; None where that is impossible."""
    try:
        return _facts(encoded)
    except _UnreadableError:
        return None


class _UnreadableError(Exception):
    """The content of a Secret is unusable; the message is for its owner."""


def _read_chain(data: bytes) -> tuple[CertificateFacts, ...]:
    """Read every certificate in `tls.crt`."""
    if not data.strip():
        raise _UnreadableError(f"{TLS_CERTIFICATE} is missing or empty")
    if len(data) > MAX_CERTIFICATES:
        raise _UnreadableError(f"{TLS_CERTIFICATE} is larger than {MAX_CERTIFICATES} bytes")
    encoded = pem.certificates(data)
    if not encoded:
        raise _UnreadableError(f"{TLS_CERTIFICATE} contains no certificate in PEM")
    if len(encoded) > MAX_CHAIN:
        raise _UnreadableError(
            f"{TLS_CERTIFICATE} contains {len(encoded)} certificates, more than {MAX_CHAIN}"
        )
    chain = []
    for number, certificate in enumerate(encoded, start=1):
        try:
            chain.append(_facts(certificate))
        except _UnreadableError as error:
            text = f"{TLS_CERTIFICATE}: certificate {number} of {len(encoded)} {error}"
            raise _UnreadableError(text) from error
    return tuple(chain)


@lru_cache(maxsize=256)
def _facts(encoded: bytes) -> CertificateFacts:
    """Read the public part of one certificate.

    Cached, because every pass reads the same few certificates.

    `cryptography` is stricter than Go in places (encodings, extensions) and decodes lazily, so any
    of these lines may fail. Its message about a certificate is not secret.
    """
    try:
        certificate = x509.load_der_x509_certificate(encoded)
        return CertificateFacts(
            subject=certificate.subject.rfc4514_string(),
            issuer=certificate.issuer.rfc4514_string(),
            subject_der=certificate.subject.public_bytes(),
            issuer_der=certificate.issuer.public_bytes(),
            dns_names=_dns_names(certificate.extensions),
            not_before=certificate.not_valid_before_utc,
            not_after=certificate.not_valid_after_utc,
            extended_key_usages=_extended_key_usages(certificate.extensions),
            key_type=_key_type(certificate),
            is_ca=_is_ca(certificate.extensions),
            fingerprint=hashlib.sha256(encoded).hexdigest(),
            encoded=encoded,
        )
    except Exception as error:
        raise _UnreadableError(f"is unreadable: {_brief(error)}") from error


def _brief(error: Exception) -> str:
    """Return one short line of a library's message about a certificate."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _BRIEF else f"{text[:_BRIEF]}…"


def find_extension(extensions: x509.Extensions, kind: type[_Kind]) -> _Kind | None:
    """Return an extension of a certificate, None where it has none of that kind."""
    try:
        return extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _dns_names(extensions: x509.Extensions) -> tuple[str, ...]:
    """Return the DNS names of the SAN extension."""
    names = find_extension(extensions, x509.SubjectAlternativeName)
    return tuple(names.get_values_for_type(x509.DNSName)) if names is not None else ()


def _extended_key_usages(extensions: x509.Extensions) -> frozenset[str] | None:
    """Return the OIDs of the extended key usage, None without the extension."""
    usages = find_extension(extensions, x509.ExtendedKeyUsage)
    return None if usages is None else frozenset(usage.dotted_string for usage in usages)


def _is_ca(extensions: x509.Extensions) -> bool:
    """Whether the basic constraints make this certificate an issuer."""
    constraints = find_extension(extensions, x509.BasicConstraints)
    return constraints is not None and constraints.ca


def _key_type(certificate: x509.Certificate) -> str:
    """Name the algorithm and the size of the public key."""
    try:
        key = certificate.public_key()
    except (UnsupportedAlgorithm, ValueError):
        key = None
    match key:
        case ec.EllipticCurvePublicKey():
            name = f"ECDSA {_CURVES.get(key.curve.name, key.curve.name)}"
        case rsa.RSAPublicKey():
            name = f"RSA {key.key_size}"
        case ed25519.Ed25519PublicKey():
            name = "Ed25519"
        case ed448.Ed448PublicKey():
            name = "Ed448"
        case dsa.DSAPublicKey():
            name = f"DSA {key.key_size}"
        case _:
            name = f"{UNKNOWN_KEY} ({certificate.public_key_algorithm_oid.dotted_string})"
    return name


def _key_matches(leaf: bytes, key: bytes) -> bool:
    """Whether a private key belongs to a certificate in DER.

    A leaf whose public key cannot be decoded counts as matching: its problem is the type of its
    key, and the verdict should say so.
    """
    if not key.strip():
        raise _UnreadableError(f"{TLS_KEY} is missing or empty")
    text = pem.private_key(key) if len(key) <= MAX_KEY else None
    if text is None:
        raise _UnreadableError(f"{TLS_KEY} contains no private key in PEM")
    public = _public_part(text)
    return _public_key(leaf) in (None, public)


@lru_cache(maxsize=256)
def _public_key(encoded: bytes) -> bytes | None:
    """Return a certificate's public key, encoded; None where its algorithm is unknown."""
    try:
        key = x509.load_der_x509_certificate(encoded).public_key()
        return key.public_bytes(_DER, _SPKI)
    except (UnsupportedAlgorithm, ValueError):
        return None


def _public_part(key: bytes) -> bytes:
    """Return the public part of a private key, encoded.

    The library's error is dropped, including its cause: it might contain a byte of the key.
    """
    try:
        loaded = serialization.load_pem_private_key(
            key, password=None, unsafe_skip_rsa_key_validation=True
        )
        if isinstance(loaded, rsa.RSAPrivateKey):
            _check_rsa(loaded.private_numbers())
        return loaded.public_key().public_bytes(_DER, _SPKI)
    except TypeError:
        problem = f"{TLS_KEY} is encrypted: its reader has no password for it"
    except Exception:  # noqa: BLE001 - content of any kind, errors of many kinds
        problem = f"{TLS_KEY} contains an unreadable private key"
    raise _UnreadableError(problem)


def _check_rsa(numbers: rsa.RSAPrivateNumbers) -> None:
    """Check an RSA key as Go does when it loads one (`crypto/rsa`, `PrivateKey.Validate`).

    The library's own check also tests the primes, which takes 0.2 s for 4096 bits whenever a Secret
    is read, and blocks all other plugins. Raises `ValueError`.
    """
    public, primes = numbers.public_numbers, (numbers.p, numbers.q)
    product = numbers.p * numbers.q == public.n
    if not product or any((numbers.d * public.e - 1) % (prime - 1) for prime in primes):
        raise ValueError("the parts of the key do not belong together")
