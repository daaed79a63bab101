"""Says in words what is wrong with a connection: which peer, what about it, what to do.

Exists so that every failure of the transport has a reason and a sentence of its own. `tls` finds
out, this module tells: it opens no connection and reads no clock.
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
    "The plugin may still serve a former certificate (its files follow a renewed Secret within "
    "about two minutes, and some plugins have to be restarted), or another server answers there."
)


@dataclass(frozen=True, slots=True)
class Peer:
    """The server that a connection is made to, as messages call it."""

    where: str
    """Name and port, with the address where it differs."""
    server_name: str
    """The name its certificate has to be for."""

    def unresolved(self, error: OSError | UnicodeError) -> HandshakeError:
        """Say that no address belongs to the name."""
        return HandshakeError(
            Reason.UNREACHABLE,
            f"{self.where}: the name does not resolve ({_system(error)}). Does the Service exist, "
            "and does the cluster's DNS answer?",
        )

    def unconnected(self, error: OSError) -> HandshakeError:
        """Say that nobody accepts the connection."""
        if isinstance(error, ConnectionRefusedError):
            advice = (
                "Does a ready pod of the plugin listen on this port (spec.port), on all addresses?"
            )
        else:
            advice = "Is there a NetworkPolicy or a firewall in between?"
        return HandshakeError(
            Reason.UNREACHABLE, f"{self.where} cannot be reached: {_system(error)}. {advice}"
        )

    def unusable_name(self, error: ValueError) -> HandshakeError:
        """Say that the server name fits no TLS handshake."""
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
        """Say why CloudNativePG would not accept the server's certificate."""
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
        """Say that the server does not speak TLS as CloudNativePG does."""
        reason = error.reason or ""
        if reason in _TOO_OLD:
            problem = (
                "does not speak TLS 1.3, below which CloudNativePG does not go. Allow it in the "
                "plugin's server, and give it a key of a usual type (ECDSA P-256)."
            )
        elif reason in _NOT_TLS:
            problem = (
                "does not speak TLS. Start the plugin with its server certificate (--server-cert "
                "and --server-key), or correct the port."
            )
        elif _ALERT.match(reason):
            problem = (
                f"ends the TLS handshake with the alert '{_alert(reason)}'. The plugin's log may "
                "say why; can it read its certificate, key and client certificate?"
            )
        else:
            problem = f"fails the TLS handshake: {_alert(reason) or error}."
        return HandshakeError(Reason.TLS_REJECTED, f"{self.where} {problem}")

    def hung_up(self) -> HandshakeError:
        """Say that the server gave up the TLS handshake."""
        return HandshakeError(
            Reason.TLS_REJECTED,
            f"{self.where} closes the connection during the TLS handshake: it does not speak TLS "
            "1.3, or cannot load its certificate. The plugin's log may say why.",
        )

    def misnamed(self, names: tuple[str, ...]) -> HandshakeError:
        """Say whom the server's certificate is for."""
        shown = f"[{', '.join(names)}]" if names else "no DNS name (SAN)"
        return HandshakeError(
            Reason.TLS_REJECTED,
            f"{self.where} presents a certificate for {shown}, not for {self.server_name}: issue "
            "the server certificate with that DNS name. The common name does not count.",
        )

    def misaddressed(self, addresses: tuple[str, ...]) -> HandshakeError:
        """Say that an IP address is expected which the server's certificate does not have."""
        shown = f"[{', '.join(addresses)}]" if addresses else "no IP address (SAN)"
        return HandshakeError(
            Reason.TLS_REJECTED,
            f"{self.where} presents a certificate for {shown}, not for {self.server_name}: "
            "CloudNativePG looks for an IP address among the certificate's IP addresses only, not "
            "among its DNS names. Set spec.tls.serverName to a DNS name of the certificate.",
        )

    def unknown_key(self, key_type: str) -> HandshakeError:
        """Say that Go knows nothing of such keys."""
        return HandshakeError(
            Reason.UNSUPPORTED_KEY,
            f"{self.where} presents a certificate with a key of type {key_type}, which Go does not "
            "take: CloudNativePG would refuse it. Issue the server certificate with ECDSA P-256.",
        )

    def without_http2(self) -> HandshakeError:
        """Say that the server does not agree on HTTP/2."""
        return HandshakeError(
            Reason.TLS_REJECTED,
            f"{self.where} does not offer HTTP/2 (ALPN 'h2') in the TLS handshake, which gRPC "
            "needs: is it the plugin's gRPC port, and is its gRPC library up to date?",
        )

    def not_acceptable(self, issuer: str) -> HandshakeError:
        """Say that Go would send no certificate: its issuer is not asked for."""
        return HandshakeError(
            Reason.CLIENT_CERTIFICATE_REFUSED,
            f"{self.where} names the issuers of client certificates that it accepts, and {issuer}, "
            "which issued the client Secret's, is not among them: CloudNativePG would send no "
            "certificate and be refused. Either what the plugin trusts (the file of "
            "--client-cert) is not from this Secret, or it has to be the Secret's ca.crt "
            "(spec.tls.clientCA).",
        )

    def refused(self, error: OSError | EOFError, key_type: str) -> HandshakeError:
        """Say that the server hung up on the client's certificate."""
        if isinstance(error, ssl.SSLError) and _ALERT.match(error.reason or ""):
            how = f"refuses the client Secret's certificate (TLS alert '{_alert(error.reason)}')"
        else:
            how = (
                "closes the connection once the client Secret's certificate is presented, without "
                "saying why"
            )
        advice = (
            "Compare what the plugin trusts (the file of --client-cert) with the client Secret; "
            "it may still hold a former certificate."
        )
        if not is_usable(key_type):
            advice = (
                f"The certificate's key is {key_type}, which not every plugin can use: issue it "
                "with ECDSA P-256."
            )
        return HandshakeError(Reason.CLIENT_CERTIFICATE_REFUSED, f"{self.where} {how}. {advice}")

    def other_protocol(self) -> HandshakeError:
        """Say that the server speaks something else than HTTP/2."""
        return HandshakeError(
            Reason.NOT_A_PLUGIN,
            f"{self.where} speaks TLS but not HTTP/2: it is no gRPC server. Is it the plugin's "
            "port?",
        )


def _certificate(chain: tuple[CertificateFacts, ...]) -> str:
    """Describe the certificate that was presented."""
    if not chain:
        return "a certificate"
    leaf = chain[0]
    return f"a certificate ({leaf.subject or 'no subject'}, issued by {leaf.issuer or 'no name'})"


def _expired(chain: tuple[CertificateFacts, ...], now: datetime) -> str:
    """Say which certificate's time is over."""
    if chain and chain[0].not_after < now:
        return f"which expired at {format_time(chain[0].not_after)}: renew it. {_OTHER_SERVER}"
    return "whose issuer's certificate has expired: renew the issuer's, then issue this one again."


def _premature(chain: tuple[CertificateFacts, ...], now: datetime) -> str:
    """Say which certificate's time has not come."""
    if chain and chain[0].not_before > now:
        since = format_time(chain[0].not_before)
        return f"which is valid from {since} on: wait, or compare the clocks of issuer and nodes."
    return "whose issuer's certificate is not valid yet: compare the clocks of issuer and nodes."


def _wrong_purpose(chain: tuple[CertificateFacts, ...]) -> str:
    """Say which usage is missing; OpenSSL does not take `any` for it, though Go does."""
    usages = chain[0].extended_key_usages if chain else frozenset()
    if usages is None or SERVER_AUTH in usages:
        return (
            "whose issuer's certificate has a key usage that does not allow servers: take another "
            "issuer."
        )
    if ANY_USAGE in usages:
        return (
            "whose key usage 'any' CloudNativePG accepts, but not OpenSSL, with which this "
            "operator checks: issue it with the usage 'server auth'."
        )
    return "whose key usage does not allow a server: issue it with the usage 'server auth'."


def _alert(reason: str | None) -> str:
    """Return the words of an alert or of OpenSSL's reason."""
    return _ALERT.sub("", reason or "").lower().replace("_", " ")


def _system(error: OSError | UnicodeError) -> str:
    """Return the system's words for an error, without addresses and numbers."""
    if isinstance(error, socket.gaierror):
        return error.strerror or str(error)
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno)
    return str(error)
