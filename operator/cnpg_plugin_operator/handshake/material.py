"""Turns CloudNativePG's TLS material into an `ssl` context with the rules of its Go client.

The defaults of the standard library differ from Go's in a dozen ways that matter here. And `ssl`
loads keys from files only, so the pair goes through a file in memory (`memfd_create`): no key
touches a disk.
"""

import os
import ssl
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from cnpg_plugin_operator.api.conditions import Reason
from cnpg_plugin_operator.decide.facts.plugin import CertificateFacts, Material
from cnpg_plugin_operator.pki import pem
from cnpg_plugin_operator.pki.reading import read_certificates

from .progress import HandshakeError

ALPN: Final = "h2"
"""The only protocol of gRPC; grpc-go 1.67 and newer requires it."""

CIPHERS: Final = "DEFAULT:@SECLEVEL=1"
"""Go's minimum: RSA from 1024 bits, no SHA-1. Python's default level refuses more than Go does."""


@dataclass(frozen=True, slots=True)
class Usable:
    """Material reduced to what a connection needs."""

    trust: bytes = field(repr=False)
    certificate: bytes = field(repr=False)
    key: bytes = field(repr=False)
    client_chain: tuple[CertificateFacts, ...]
    """The certificates that CloudNativePG presents, leaf first."""

    @property
    def client_key_type(self) -> str:
        """The type of the key that CloudNativePG presents."""
        return self.client_chain[0].key_type if self.client_chain else "unknown"


def usable(material: Material) -> Usable:
    """Reduce PEM files to their blocks, as Go reads them, or say which of them holds none."""
    trust = pem.encode(_readable(pem.certificates(material.trust)))
    certificate = pem.encode(pem.certificates(material.certificate))
    key = pem.private_key(material.key)
    if not certificate or key is None:
        missing = (
            "tls.key contains no private key" if certificate else "tls.crt contains no certificate"
        )
        raise HandshakeError(
            Reason.SECRET_INCOMPLETE,
            f"The client Secret's {missing} in PEM: CloudNativePG could not present it. Issue the "
            "client certificate again.",
        )
    return Usable(
        trust=trust,
        certificate=certificate,
        key=key,
        client_chain=read_certificates(certificate),
    )


def build_context(material: Usable) -> ssl.SSLContext:
    """Build a context for one connection: CloudNativePG's `tls.Config`, in OpenSSL's terms.

    OpenSSL does not check the name. `decide.certificates.tls_rules.covers` does right after the
    handshake, because OpenSSL's rules for wildcards differ from Go's, and to list the names.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_ciphers(CIPHERS)
    context.set_alpn_protocols([ALPN])
    # Go accepts a certificate of its pool as a root whether or not it is self-signed.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.load_verify_locations(cadata=material.trust.decode("ascii"))
    _present(context, material)
    return context


def _readable(found: Iterable[bytes]) -> list[bytes]:
    """Return CloudNativePG's pool without unreadable certificates, which Go skips silently.

    Neither OpenSSL nor gRPC would skip them.
    """
    scratch = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    problem = "contains no certificate in PEM: CloudNativePG would trust no server"
    pool = []
    for encoded in found:
        try:
            scratch.load_verify_locations(cadata=encoded)
        except ssl.SSLError as error:
            problem = f"is unreadable ({_words(error)})"
        else:
            pool.append(encoded)
    if not pool:
        raise HandshakeError(
            Reason.SECRET_INCOMPLETE,
            f"The server Secret's tls.crt {problem}. Issue the server certificate again.",
        )
    return pool


def _present(context: ssl.SSLContext, material: Usable) -> None:
    """Load the client's pair. OpenSSL's message is dropped, because a key is involved."""
    descriptor = os.memfd_create("client-pair")
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(material.certificate + material.key)
        # The empty password keeps OpenSSL from asking for one on the terminal.
        context.load_cert_chain(f"/proc/self/fd/{descriptor}", password="")
    except ssl.SSLError as error:
        refused = error.reason or "unknown"
    else:
        refused = ""
    finally:
        os.close(descriptor)
    if not refused:
        return
    if refused == "KEY_VALUES_MISMATCH":
        raise HandshakeError(
            Reason.KEY_MISMATCH,
            "The client Secret's tls.key does not belong to its tls.crt: CloudNativePG could not "
            "load the pair. Issue the client certificate again.",
        )
    raise HandshakeError(
        Reason.SECRET_INCOMPLETE,
        "The client Secret's tls.crt or tls.key is unreadable: CloudNativePG could not load the "
        "pair. Issue the client certificate again.",
    )


def _words(error: ssl.SSLError) -> str:
    """Return OpenSSL's reason in lower case."""
    return (error.reason or "no reason given").lower().replace("_", " ")
