"""Creates certificates of every kind that the tests need, with `cryptography`, in memory."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from ipaddress import ip_address
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SERVER: Final = ExtendedKeyUsageOID.SERVER_AUTH
CLIENT: Final = ExtendedKeyUsageOID.CLIENT_AUTH
ANY: Final = ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE

_CURVES: Final[dict[str, ec.EllipticCurve]] = {
    "P-224": ec.SECP224R1(),
    "P-256": ec.SECP256R1(),
    "P-384": ec.SECP384R1(),
    "P-521": ec.SECP521R1(),
    "secp256k1": ec.SECP256K1(),
}


def make_key(kind: str = "P-256") -> CertificateIssuerPrivateKeyTypes:
    """Make a private key: a curve's name, `RSA <bits>`, `Ed25519`, `Ed448` or `DSA`."""
    if kind in _CURVES:
        return ec.generate_private_key(_CURVES[kind])
    if kind.startswith("RSA "):
        return rsa.generate_private_key(public_exponent=65537, key_size=int(kind[4:]))
    if kind == "DSA":
        return dsa.generate_private_key(key_size=2048)
    if kind == "Ed448":
        return ed448.Ed448PrivateKey.generate()
    return ed25519.Ed25519PrivateKey.generate()


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate with its key and with what leads to its root."""

    certificate: x509.Certificate
    key_object: CertificateIssuerPrivateKeyTypes = field(repr=False)
    intermediates: tuple[x509.Certificate, ...] = ()
    issuer: x509.Certificate | None = None

    @property
    def leaf(self) -> bytes:
        """PEM of the certificate alone."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def chain(self) -> bytes:
        """PEM of the certificate and the intermediates: what cert-manager puts into `tls.crt`."""
        return self.leaf + b"".join(
            c.public_bytes(serialization.Encoding.PEM) for c in self.intermediates
        )

    @property
    def key(self) -> bytes:
        """PEM of the private key."""
        return self.key_object.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    @property
    def authority(self) -> bytes:
        """PEM of the issuer: what cert-manager puts into `ca.crt`."""
        issuer = self.issuer or self.certificate
        return issuer.public_bytes(serialization.Encoding.PEM)

    @property
    def secret(self) -> dict[str, bytes]:
        """The data of a Secret as cert-manager writes it."""
        return {"tls.crt": self.chain, "tls.key": self.key, "ca.crt": self.authority}


def authority(
    name: str = "root", issuer: Pair | None = None, *, ends: timedelta = timedelta(days=3650)
) -> Pair:
    """Make a CA: a root, or an intermediate where an issuer is given."""
    return issue(issuer, name, dns=(), usages=None, ends=ends, ca=True)


def issue(
    issuer: Pair | None,
    name: str = "hello-world",
    *,
    dns: Sequence[str] = ("hello-world",),
    usages: Sequence[x509.ObjectIdentifier] | None = (SERVER,),
    key: str = "P-256",
    starts: timedelta = timedelta(hours=-1),
    ends: timedelta = timedelta(days=90),
    ca: bool = False,
    extra: Sequence[x509.ExtensionType] = (),
) -> Pair:
    """Make a certificate; as with cert-manager, its chain contains no root."""
    private = make_key(key)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer = private if issuer is None else issuer.key_object
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.certificate.subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + starts)
        .not_valid_after(now + ends)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    for extension in (*_extensions(dns, usages, ca=ca), *extra):
        builder = builder.add_extension(extension, critical=False)
    edwards = isinstance(signer, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey)
    certificate = builder.sign(signer, None if edwards else hashes.SHA256())
    between: tuple[x509.Certificate, ...] = ()
    if issuer is not None and issuer.issuer is not None:
        between = (issuer.certificate, *issuer.intermediates)
    return Pair(
        certificate,
        private,
        intermediates=between,
        issuer=issuer.certificate if issuer else None,
    )


self_signed = partial(issue, None)
"""Makes a certificate that signs itself, as cert-manager's SelfSigned issuer does."""


def addresses(*texts: str, dns: Sequence[str] = ()) -> x509.SubjectAlternativeName:
    """Make the extension with IP addresses, and names, for `extra`; `dns` has to be empty then."""
    found = [x509.IPAddress(ip_address(text)) for text in texts]
    return x509.SubjectAlternativeName([*found, *map(x509.DNSName, dns)])


def usage(*names: str) -> x509.KeyUsage:
    """Make the extension that allows a key no more than this, for `extra`."""
    return x509.KeyUsage(**(dict.fromkeys(_KEY_USAGES, False) | dict.fromkeys(names, True)))


def key_number(number: int) -> x509.SubjectKeyIdentifier:
    """Make the extension that distinguishes issuers of one name, for `extra` of an issuer."""
    return x509.SubjectKeyIdentifier(bytes([number]))


def issuer_number(number: int) -> x509.AuthorityKeyIdentifier:
    """Make the extension that identifies the issuer, for `extra` of an issued certificate."""
    return x509.AuthorityKeyIdentifier(bytes([number]), None, None)


def _extensions(
    dns: Sequence[str], usages: Sequence[x509.ObjectIdentifier] | None, *, ca: bool
) -> list[x509.ExtensionType]:
    extensions: list[x509.ExtensionType] = []
    if dns:
        extensions.append(x509.SubjectAlternativeName([x509.DNSName(name) for name in dns]))
    if usages is not None:
        extensions.append(x509.ExtendedKeyUsage(list(usages)))
    if ca:
        extensions.append(usage("key_cert_sign", "crl_sign"))
    return extensions


_KEY_USAGES: Final = (
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
