"""Issues the certificates of `tls.provider: SelfManaged`: the operator is its own CA.

This is for clusters without cert-manager. Apart from fresh keys and serial numbers, every result is
a function of its arguments; other modules decide when to issue and where to store. `profiles`
defines the contents of certificates. No exception or representation contains a byte of a key.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from cnpg_plugin_operator.decide.certificates.renewal import BACKDATE
from cnpg_plugin_operator.decide.certificates.tls_rules import is_usable
from cnpg_plugin_operator.decide.facts.plugin import CertificateFacts

from . import pem, profiles
from .reading import AUTHORITIES, TLS_CERTIFICATE, TLS_KEY, read_certificates, read_pair

_CA_KEY: Final[tuple[profiles.Algorithm, int]] = ("ECDSA", 256)
"""Key of every CA, whatever key the leaves use: small, and every verifier supports it."""

_PEM: Final = serialization.Encoding.PEM


@dataclass(frozen=True, slots=True)
class IssuedPair:
    """A certificate with its key, in the format of a Secret of type kubernetes.io/tls."""

    certificate: bytes
    """PEM: the certificate, then the intermediates that lead to its root. The root is omitted
    (RFC 8446, section 4.4.2, allows it): `ca.crt` defines whom to trust."""
    key: bytes = field(repr=False)
    """PEM of the private key (PKCS#8)."""
    authorities: bytes
    """PEM of the trusted roots."""

    @property
    def data(self) -> dict[str, bytes]:
        """The data of the Secret."""
        return {TLS_CERTIFICATE: self.certificate, TLS_KEY: self.key, AUTHORITIES: self.authorities}


@dataclass(frozen=True, slots=True)
class Authority:
    """A CA that can sign, from a Secret (see `read_authority`)."""

    certificate: x509.Certificate
    key: profiles.Key = field(repr=False, compare=False)
    intermediates: bytes
    """PEM of what follows a certificate that it signs: itself and the CAs above, without roots."""
    authorities: bytes
    """PEM of the roots: the CA's own `ca.crt`, byte by byte, so that it can be compared with the
    one in the pairs that it signs."""


def read_authority(data: Mapping[str, bytes] | None) -> Authority | None:
    """Read a CA's Secret; None where it cannot sign what all sides would accept.

    That is: incomplete or unreadable, a key of another certificate, not a CA, not allowed to sign
    certificates, or a key that not every side supports. Expiry is not checked. Never raises, never
    reveals a byte of the key.
    """
    pair = read_pair("", data)
    if data is None or pair.leaf is None or not pair.key_matches:
        return None
    own = x509.load_der_x509_certificate(pair.leaf.encoded)
    key = _read_key(data[TLS_KEY])
    if key is None or not is_usable(pair.leaf.key_type) or not profiles.may_sign(own):
        return None
    authorities = data.get(AUTHORITIES, b"")
    if _is_self_signed(own):
        if pair.leaf.fingerprint not in {trusted.fingerprint for trusted in pair.authorities}:
            # `kubectl create secret tls` writes no ca.crt; a root restored by it must not be lost.
            authorities = _bundle((pair.leaf, *pair.authorities))
    elif not pair.authorities:
        return None
    between = (
        c for c in pair.chain if not _is_self_signed(x509.load_der_x509_certificate(c.encoded))
    )
    return Authority(own, key, intermediates=_bundle(between), authorities=authorities)


def issue_root(
    common_name: str, *, lifetime: timedelta, now: datetime, previous: bytes = b""
) -> IssuedPair:
    """Create a self-signed CA.

    `previous` is PEM of earlier roots. They stay trusted until they expire, so that the
    certificates they have signed keep working until they are issued again.
    """
    key = profiles.generate_key(*_CA_KEY)
    subject = profiles.subject(common_name)
    identifier = profiles.subject_identifier(key)
    root = _sign(
        _builder(subject, key, profiles.authority_extensions(profiles.ROOT_PATH_LENGTH)),
        issuer=subject,
        signer=key,
        identifier=x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier),
        validity=(now - BACKDATE, now + lifetime),
    )
    kept = (old for old in read_certificates(previous) if old.is_ca and now <= old.not_after)
    own = root.public_bytes(_PEM)
    return IssuedPair(own, _write_key(key), own + _bundle(kept))


def issue_intermediate(
    issuer: Authority,
    common_name: str,
    *,
    lifetime: timedelta,
    now: datetime,
    authorities: bytes,
) -> IssuedPair:
    """Create a CA below a root; `authorities` is the PEM of all trusted roots, its `ca.crt`.

    CloudNativePG's pool is a whole `tls.crt`, which has the leaf and its intermediate but no root.
    So where only the `tls.crt` of the previous leaf is known, a renewed leaf is trusted by its
    intermediate.
    """
    key = profiles.generate_key(*_CA_KEY)
    subject = profiles.subject(common_name)
    extensions = profiles.authority_extensions(profiles.INTERMEDIATE_PATH_LENGTH)
    chain = _issue(issuer, _builder(subject, key, extensions), lifetime=lifetime, now=now)
    return IssuedPair(chain, _write_key(key), authorities)


def issue_leaf(
    issuer: Authority,
    *,
    common_name: str,
    dns_names: Sequence[str],
    usage: profiles.Usage,
    algorithm: profiles.Algorithm,
    size: int,
    lifetime: timedelta,
    now: datetime,
) -> IssuedPair:
    """Issue the certificate of one end of a connection; its `ca.crt` is the issuer's own.

    Generating a large RSA key takes seconds: run this in a thread (`profiles.generate_key`).
    """
    key = profiles.generate_key(algorithm, size)
    subject = profiles.subject(common_name)
    extensions = profiles.leaf_extensions(subject, dns_names, usage, algorithm)
    chain = _issue(issuer, _builder(subject, key, extensions), lifetime=lifetime, now=now)
    return IssuedPair(chain, _write_key(key), issuer.authorities)


def _builder(
    subject: x509.Name, key: profiles.Key, extensions: Iterable[profiles.Extension]
) -> x509.CertificateBuilder:
    """Return a builder with everything except what the issuer adds."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key.public_key())
        # 159 bits of randomness: more than the 64 that the CA/Browser Forum requires, within the 20
        # octets of RFC 5280, section 4.1.2.2.
        .serial_number(x509.random_serial_number())
        .add_extension(profiles.subject_identifier(key), critical=False)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder


def _issue(
    issuer: Authority, builder: x509.CertificateBuilder, *, lifetime: timedelta, now: datetime
) -> bytes:
    """Sign and return the chain; no certificate outlives its issuer, as verifiers check both."""
    certificate = _sign(
        builder,
        issuer=issuer.certificate.subject,
        signer=issuer.key,
        identifier=profiles.issuer_identifier(issuer.certificate),
        validity=(now - BACKDATE, min(now + lifetime, issuer.certificate.not_valid_after_utc)),
    )
    return certificate.public_bytes(_PEM) + issuer.intermediates


def _sign(
    builder: x509.CertificateBuilder,
    *,
    issuer: x509.Name,
    signer: profiles.Key,
    identifier: x509.AuthorityKeyIdentifier,
    validity: tuple[datetime, datetime],
) -> x509.Certificate:
    """Add the issuer's fields and sign.

    Below an expired issuer, a certificate would end before it begins. It gets no validity at all,
    but this is not an error: the verdict on its Secret is `Expired`.
    """
    start, end = (moment.replace(microsecond=0) for moment in validity)
    return (
        builder.issuer_name(issuer)
        .not_valid_before(min(start, end))
        .not_valid_after(end)
        .add_extension(identifier, critical=False)
        .sign(signer, profiles.digest(signer))
    )


def _is_self_signed(certificate: x509.Certificate) -> bool:
    """Whether a certificate is a root, which takes more than the same name as its issuer."""
    try:
        certificate.verify_directly_issued_by(certificate)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _bundle(certificates: Iterable[CertificateFacts]) -> bytes:
    """Write certificates in PEM, each once."""
    return pem.encode(dict.fromkeys(c.encoded for c in certificates))


def _read_key(data: bytes) -> profiles.Key | None:
    """Read a key that `read_pair` found readable; None for key types that we do not use."""
    text = pem.private_key(data)
    key = serialization.load_pem_private_key(text, password=None) if text is not None else None
    return key if isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) else None


def _write_key(key: profiles.Key) -> bytes:
    """Write a key in the format that every library reads: PKCS#8 in PEM, not encrypted."""
    return key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
