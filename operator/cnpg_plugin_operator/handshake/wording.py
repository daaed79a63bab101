"""Describes what is wrong with a connection: which peer, what is wrong, what to do.

Every failure of the transport has its own reason and sentence. `tls` detects it, this module
describes it: it opens no connection and reads no clock.
"""

import os
import re
import socket
import ssl
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cnpg_plugin_operator.api.conditions import Reason
from cnpg_plugin_operator.api.times import format_time
from cnpg_plugin_operator.decide.certificates.certificates import ANY_USAGE, SERVER_AUTH
from cnpg_plugin_operator.decide.certificates.tls_rules import is_usable
from cnpg_plugin_operator.decide.facts.plugin import CertificateFacts

from .progress import HandshakeError

_NOT_YET_VALID: Final = 9
_EXPIRED: Final = 10
_UNSUITABLE_PURPOSE: Final = 26
_UNTRUSTED: Final = frozenset({2, 7, 18, 19, 20, 21, 24, 27})
_TOO_WEAK: Final = frozenset({66, 67, 68})
# The numbers are OpenSSL's X509_V_ERR_* (x509_vfy.h), stable since 1.1.

_NOT_TLS: Final = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"})
_TOO_OLD: Final = frozenset({"TLSV1_ALERT_PROTOCOL_VERSION", "UNSUPPORTED_PROTOCOL"})
_ALERT: Final = re.compile("^(?:SSLV3|TLSV1|TLSV13)_ALERT_")

_OTHER_SERVER: Final = (
    "The plugin may still serve its previous certificate (its files are updated within about two "
    "minutes after a renewal, and some plugins need a restart), or another server answers there."
)


@dataclass(frozen=True, slots=True)
class Peer:
    """The server of a connection, as messages describe it."""

    where: str
    """Name and port, with the address where it differs."""
    server_name: str
    """The name that its certificate must be valid for."""

    def unresolved(self, error: OSError | UnicodeError) -> HandshakeError:
        """Report that the name has no address."""
        return HandshakeError(
            Reason.UNREACHABLE,
            f"{self.where}: the name does not resolve ({_system(error)}). Check that the Service "
            "exists and that the cluster's DNS answers.",
        )

    def unconnected(self, error: OSError) -> HandshakeError:
        """Report that no server accepts the connection."""
        if isinstance(error, ConnectionRefusedError):
            advice = (
                "Check that a ready pod of the plugin listens on this port (spec.port), on all "
                "addresses."
            )
        else:
            advice = "Check for a NetworkPolicy or a firewall in between."
        return HandshakeError(
            Reason.UNREACHABLE, f"{self.where} cannot be reached: {_system(error)}. {advice}"
        )

    def unusable_name(self, error: ValueError) -> HandshakeError:
        """Report that the server name is invalid in a TLS handshake."""
        return HandshakeError(
            Reason.TLS_REJECTED,
            f"{self.server_name!r} cannot be used as a TLS server name ({error}): correct "
            "spec.tls.serverName.",
        )

    def unverified(
        self,
        error: ssl.SSLCertVerificationError,
        chain: tuple[CertificateFacts, ...],
        now: datetime,
    ) -> HandshakeError:
        """Explain why CloudNativePG would not accept the server's certificate."""
        code = error.verify_code
        if code == _EXPIRED:
            problem = _expired(chain, now)
        elif code == _NOT_YET_VALID:
            problem = _premature(chain, now)
        elif code == _UNSUITABLE_PURPOSE:
            problem = _wrong_purpose(chain)
        elif code in _UNTRUSTED:
            problem = (
                "which is neither in the server Secret's tls.crt nor issued by one in it. "
                + _OTHER_SERVER
            )
        elif code in _TOO_WEAK:
            problem = f"which is too weak ({error.verify_message}): use ECDSA P-256 and SHA-256."
        else:
            problem = f"which is not accepted: {error.verify_message}."
        shown = f"{self.where} presents {_certificate(chain)}"
        return HandshakeError(Reason.TLS_REJECTED, f"{shown}, {problem}")

    def unfit(self, error: ssl.SSLError) -> HandshakeError:
        """Report that the server does not speak TLS as CloudNativePG does."""
        reason = error.reason or ""
        if reason in _TOO_OLD:
            problem = (
                "does not support TLS 1.3, which CloudNativePG requires. Enable it in the "
                "plugin's server, and use a key of a common type (ECDSA P-256)."
            )
        elif reason in _NOT_TLS:
            problem = (
                "does not speak TLS. Start the plugin with its server certificate (--server-cert "
                "and --server-key), or correct the port."
            )
        elif _ALERT.match(reason):
            problem = (
                f"ends the TLS handshake with the alert '{_alert(reason)}'. See the plugin's log; "
                "check that it can read its certificate, key and client certificate."
            )
        else:
            problem = f"fails the TLS handshake: {_alert(reason) or error}."
        return HandshakeError(Reason.TLS_REJECTED, f"{self.where} {problem}")

    def hung_up(self) -> HandshakeError:
        """Report that the server closed the connection during the TLS handshake."""
        return HandshakeError(
            Reason.TLS_REJECTED,
            f"{self.where} closes the connection during the TLS handshake: it is ending, does not "
            "support TLS 1.3, or cannot load its certificate. See the plugin's log.",
            closed=True,
        )

    def misnamed(self, names: tuple[str, ...]) -> HandshakeError:
        """Report the names that the server's certificate is for."""
        shown = f"[{', '.join(names)}]" if names else "no DNS name (SAN)"
        return HandshakeError(
            Reason.TLS_REJECTED,
            f"{self.where} presents a certificate for {shown}, not for {self.server_name}: issue "
            "the server certificate with that DNS name. The common name does not count.",
        )

    def misaddressed(self, addresses: tuple[str, ...]) -> HandshakeError:
        """Report that the server's certificate lacks the expected IP address."""
        shown = f"[{', '.join(addresses)}]" if addresses else "no IP address (SAN)"
        return HandshakeError(
            Reason.TLS_REJECTED,
            f"{self.where} presents a certificate for {shown}, not for {self.server_name}: "
            "CloudNativePG compares an IP address with the certificate's IP addresses only, not "
            "with its DNS names. Set spec.tls.serverName to a DNS name of the certificate.",
        )

    def unknown_key(self, key_type: str) -> HandshakeError:
        """Report that Go does not support the type of the key."""
        return HandshakeError(
            Reason.UNSUPPORTED_KEY,
            f"{self.where} presents a certificate with a key of type {key_type}, which Go does not "
            "support: CloudNativePG would refuse it. Issue the server certificate with ECDSA "
            "P-256.",
        )

    def without_http2(self) -> HandshakeError:
        """Report that the server does not agree on HTTP/2."""
        return HandshakeError(
            Reason.TLS_REJECTED,
            f"{self.where} does not offer HTTP/2 (ALPN 'h2') in the TLS handshake, which gRPC "
            "requires. Check that this is the plugin's gRPC port and its gRPC library is up to "
            "date.",
        )

    def not_acceptable(self, issuer: str) -> HandshakeError:
        """Report that Go would send no certificate: the server does not accept its issuer."""
        return HandshakeError(
            Reason.CLIENT_CERTIFICATE_REFUSED,
            f"{self.where} accepts client certificates of certain issuers only, and {issuer}, the "
            "issuer of the client Secret's certificate, is not among them: CloudNativePG would "
            "send no certificate and be refused. Either the certificates that the plugin trusts "
            "(the file of --client-cert) are not from this Secret, or they must be the Secret's "
            "ca.crt (spec.tls.clientTrust).",
        )

    def refused(self, error: OSError | EOFError, key_type: str) -> HandshakeError:
        """Report that the server closed the connection after the client's certificate."""
        if isinstance(error, ssl.SSLError) and _ALERT.match(error.reason or ""):
            how = f"refuses the client Secret's certificate (TLS alert '{_alert(error.reason)}')"
        else:
            how = (
                "closes the connection without a reason after the client Secret's certificate is "
                "presented"
            )
        advice = (
            "Compare the certificates that the plugin trusts (the file of --client-cert) with the "
            "client Secret; it may still have loaded a previous certificate."
        )
        if not is_usable(key_type):
            advice = (
                f"The certificate's key is {key_type}, which not every plugin supports: issue it "
                "with ECDSA P-256."
            )
        return HandshakeError(Reason.CLIENT_CERTIFICATE_REFUSED, f"{self.where} {how}. {advice}")

    def other_protocol(self) -> HandshakeError:
        """Report that the server speaks another protocol than HTTP/2."""
        return HandshakeError(
            Reason.NOT_A_PLUGIN,
            f"{self.where} speaks TLS but not HTTP/2: it is not a gRPC server. Check that this is "
            "the plugin's port.",
        )


def _certificate(chain: tuple[CertificateFacts, ...]) -> str:
    """Describe the presented certificate."""
    if not chain:
        return "a certificate"
    leaf = chain[0]
    return f"a certificate ({leaf.subject or 'no subject'}, issued by {leaf.issuer or 'no name'})"


def _expired(chain: tuple[CertificateFacts, ...], now: datetime) -> str:
    """Describe which certificate has expired."""
    if chain and chain[0].not_after < now:
        return f"which expired at {format_time(chain[0].not_after)}: renew it. {_OTHER_SERVER}"
    return "whose issuer's certificate has expired: renew the issuer's, then issue this one again."


def _premature(chain: tuple[CertificateFacts, ...], now: datetime) -> str:
    """Describe which certificate is not valid yet."""
    if chain and chain[0].not_before > now:
        since = format_time(chain[0].not_before)
        return (
            f"which is not valid before {since}: wait, or compare the clocks of issuer and nodes."
        )
    return "whose issuer's certificate is not valid yet: compare the clocks of issuer and nodes."


def _wrong_purpose(chain: tuple[CertificateFacts, ...]) -> str:
    """Describe which usage is missing; OpenSSL does not accept `any`, though Go does."""
    usages = chain[0].extended_key_usages if chain else frozenset()
    if usages is None or SERVER_AUTH in usages:
        return (
            "whose issuer's certificate has a key usage that does not allow servers: use another "
            "issuer."
        )
    if ANY_USAGE in usages:
        return (
            "whose key usage 'any' CloudNativePG accepts, but not OpenSSL, which this operator "
            "checks with: issue it with the usage 'server auth'."
        )
    return "whose key usage does not allow a server: issue it with the usage 'server auth'."


def _alert(reason: str | None) -> str:
    """Return the text of an alert or of OpenSSL's reason."""
    return _ALERT.sub("", reason or "").lower().replace("_", " ")


def _system(error: OSError | UnicodeError) -> str:
    """Return the system's message for an error, without addresses and numbers."""
    if isinstance(error, socket.gaierror):
        return error.strerror or str(error)
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno)
    return str(error)
