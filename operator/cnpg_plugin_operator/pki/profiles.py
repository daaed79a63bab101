"""The contents of our own CA's certificates: subjects, extensions, types of keys.

Each rule of X.509 is in one place, with its source. Three verifiers of different strictness have to
agree: Go's `crypto/x509` (CloudNativePG and most plugins), gRPC's BoringSSL, and OpenSSL as Python
>= 3.13 uses it (`VERIFY_X509_STRICT`, which applies RFC 5280 literally). This module must not sign
anything: that is `issuing`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from .reading import find_extension

Usage: TypeAlias = Literal["server", "client"]
"""Which end of a connection presents a leaf."""

Algorithm: TypeAlias = Literal["ECDSA", "RSA"]
"""Algorithm of a leaf's key, as `spec.tls.privateKey` names it."""

Key: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
"""A private key whose signatures every side can verify (`decide.certificates.tls_rules`)."""

Extension: TypeAlias = tuple[x509.ExtensionType, bool]
"""An extension, and whether it is critical."""

ROOT_PATH_LENGTH: Final = 1
"""CAs that may follow a root: the intermediate (RFC 5280, section 4.2.1.9)."""

INTERMEDIATE_PATH_LENGTH: Final = 0
"""CAs that may follow an intermediate: none, it signs leaves only."""

MAX_COMMON_NAME: Final = 64
"""Maximum length of a common name (RFC 5280, appendix A.1, `ub-common-name`); `cryptography` counts
bytes of UTF-8."""

MIN_RSA_BITS: Final = 2048
"""The smallest RSA key that OpenSSL's default level and Go's FIPS mode accept."""

_CURVES: Final[Mapping[int, type[ec.EllipticCurve]]] = {
    256: ec.SECP256R1,
    384: ec.SECP384R1,
    521: ec.SECP521R1,
}
"""Curves by the sizes of cert-manager and `spec.tls.privateKey`."""

_RSA_EXPONENT: Final = 65537
"""Recommended by `cryptography` and NIST (FIPS 186-5)."""

_EXTENDED_USAGES: Final = {
    "server": ExtendedKeyUsageOID.SERVER_AUTH,
    "client": ExtendedKeyUsageOID.CLIENT_AUTH,
}


def generate_key(algorithm: Algorithm, size: int) -> Key:
    """Generate a private key; `ValueError` for a size that the resource's schema does not allow.

    RSA keys of 4096 bits and more take seconds: run this in its own thread.
    """
    if algorithm == "ECDSA" and size in _CURVES:
        return ec.generate_private_key(_CURVES[size]())
    if algorithm == "RSA" and size >= MIN_RSA_BITS:
        return rsa.generate_private_key(public_exponent=_RSA_EXPONENT, key_size=size)
    raise ValueError(f"unsupported key: {algorithm} with {size} bits")


def digest(signer: Key) -> hashes.SHA256 | hashes.SHA384:
    """Return the hash of a signature: TLS 1.3 ties each curve to one (RFC 8446, section 4.2.3)."""
    if isinstance(signer, ec.EllipticCurvePrivateKey) and isinstance(signer.curve, ec.SECP384R1):
        return hashes.SHA384()
    return hashes.SHA256()


def subject(common_name: str) -> x509.Name:
    """Return a subject with a common name, truncated where it is too long.

    It is for users: verifiers only compare it with an issuer, and distinguish issuers with the same
    name by their key identifiers.
    """
    cut = common_name.encode("utf-8", "replace")[:MAX_COMMON_NAME].decode("utf-8", "ignore")
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, cut)] if cut else [])


def authority_extensions(path_length: int) -> Iterator[Extension]:
    """Yield the extensions of a CA (RFC 5280, sections 4.2.1.3 and 4.2.1.9).

    Go refuses an issuer whose key usage lacks `keyCertSign`; the strict verifier also one without
    key usage, or with basic constraints that are not critical.
    """
    yield x509.BasicConstraints(ca=True, path_length=path_length), True
    yield _key_usage("key_cert_sign", "crl_sign", "digital_signature"), True


def leaf_extensions(
    name: x509.Name, dns_names: Sequence[str], usage: Usage, algorithm: Algorithm
) -> Iterator[Extension]:
    """Yield the extensions that limit a certificate to one end of a connection.

    RSA key exchange in TLS 1.2 requires `keyEncipherment` (RFC 5246, section 7.4.2); it has no
    meaning for ECDSA. Host names are verified by the SAN only (Go since 1.15, RFC 9525). A name
    that is not ASCII is left out: the schema allows none, and if it is needed, the verdict is
    `NameNotCovered`.
    """
    encipher = ("key_encipherment",) if algorithm == "RSA" else ()
    yield x509.BasicConstraints(ca=False, path_length=None), True
    yield _key_usage("digital_signature", *encipher), True
    yield x509.ExtendedKeyUsage([_EXTENDED_USAGES[usage]]), False
    names = [x509.DNSName(dns) for dns in dict.fromkeys(dns_names) if dns and dns.isascii()]
    if names:
        # Without a subject, the names alone identify the holder (RFC 5280, section 4.2.1.6).
        yield x509.SubjectAlternativeName(names), not name.rdns


def subject_identifier(key: Key) -> x509.SubjectKeyIdentifier:
    """Return the identifier of a key, which is in every certificate (RFC 5280, section 4.2.1.2).

    With it, and its counterpart in the certificates that the key has signed, verifiers distinguish
    CAs with the same name, such as after a renewal; the strict one requires both.
    """
    return x509.SubjectKeyIdentifier.from_public_key(key.public_key())


def issuer_identifier(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """Return the identifier of an issuer's key as the issuer states it (RFC 5280, 4.2.1.1)."""
    own = find_extension(issuer.extensions, x509.SubjectKeyIdentifier)
    if own is None:
        own = x509.SubjectKeyIdentifier.from_public_key(issuer.public_key())
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


def may_sign(certificate: x509.Certificate) -> bool:
    """Whether the extensions make a certificate a CA for both ends of a connection.

    It must have a key usage (section 4.2.1.3). Go and OpenSSL apply a CA's extended key usage, if
    any, to everything below it; `anyExtendedKeyUsage` satisfies Go only.
    """
    constraints = find_extension(certificate.extensions, x509.BasicConstraints)
    usage = find_extension(certificate.extensions, x509.KeyUsage)
    extended = find_extension(certificate.extensions, x509.ExtendedKeyUsage)
    wanted = set(_EXTENDED_USAGES.values())
    return (
        constraints is not None
        and constraints.ca
        and usage is not None
        and usage.key_cert_sign
        and (extended is None or wanted.issubset(extended))
    )


def _key_usage(*allowed: str) -> x509.KeyUsage:
    """Return a key usage that allows only these purposes."""
    return x509.KeyUsage(**{purpose: purpose in allowed for purpose in _PURPOSES})


_PURPOSES: Final = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)
"""Every purpose of a key usage, in the spelling of `cryptography`."""
