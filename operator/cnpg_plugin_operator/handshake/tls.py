"""Connects as CloudNativePG would and reaches the verdict of its Go TLS, with the exact reason.

gRPC's own TLS is less strict than Go's (common names, key usages, TLS 1.2) and reports no reason
when a client certificate is refused. The check ends with the server's first HTTP/2 frame, which it
sends only to clients that it has accepted. This module does not use gRPC.
"""

import asyncio
import contextlib
import socket
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Final

from cnpg_plugin_operator.api.conditions import Reason
from cnpg_plugin_operator.decide.certificates.tls_rules import RSA_BITS, USABLE_CURVES, covers
from cnpg_plugin_operator.decide.facts.plugin import CertificateFacts, Endpoint
from cnpg_plugin_operator.pki import pem
from cnpg_plugin_operator.pki.reading import read_certificate

from .material import ALPN, Usable, build_context
from .progress import Progress
from .transcript import Transcript
from .wording import Peer

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
"""The first bytes of an HTTP/2 client: preface and empty settings (RFC 9113, section 3.4)."""

_GRACE: Final = 0.25
"""Seconds after which the server may be waiting for the client's first bytes."""

MOST_SHOWN: Final = 10
"""Maximum certificates of a refused chain that are read; OpenSSL accepts 100 KB of them."""

_FRAME_HEADER: Final = 9
_SETTINGS: Final = 4
# A frame's header is its length (3 bytes), type, flags and stream (4); a server's first frame are
# its settings (RFC 9113, sections 3.4 and 4.1).


@dataclass(frozen=True, slots=True)
class Verified:
    """A server that CloudNativePG would accept."""

    where: str
    """Its name in messages."""
    target: str
    """The exact address, in gRPC's format."""
    key_type: str
    """Key type of the server's certificate."""
    served: str
    """Fingerprint of the server's certificate."""
    leaf: bytes
    """PEM of the server's certificate, which the next connection may trust as this one did."""


async def verify(endpoint: Endpoint, material: Usable, progress: Progress) -> Verified:
    """Open one connection, check it, and close it. Raises `HandshakeError`."""
    context = build_context(material)
    transcript = Transcript()
    transcript.listen(context)
    connection = await _connect(endpoint, progress)
    address = _remote(connection, endpoint)
    peer = _peer(endpoint, address)
    progress.waiting(Reason.NO_ANSWER, f"{peer.where} accepts connections but did not finish TLS")
    reader, writer = await _start_tls(connection, context, peer, transcript)
    try:
        session: ssl.SSLObject = writer.get_extra_info("ssl_object")
        _judge(session, peer, transcript, material)
        encoded = session.getpeercert(binary_form=True) or b""
        leaf = read_certificate(encoded)
        if leaf is not None and not _go_knows(leaf.key_type):
            raise peer.unknown_key(leaf.key_type)
        progress.waiting(
            Reason.NO_ANSWER, f"{peer.where} finished TLS but did not send HTTP/2's first frame"
        )
        await _greet(reader, writer, peer, material)
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    family = "ipv6:[{}]:{}" if connection.family == socket.AF_INET6 else "ipv4:{}:{}"
    return Verified(
        peer.where,
        family.format(address, endpoint.port),
        leaf.key_type if leaf else "",
        leaf.fingerprint if leaf else "",
        pem.encode([encoded]),
    )


async def _connect(endpoint: Endpoint, progress: Progress) -> socket.socket:
    """Connect to the first address that accepts."""
    peer = Peer(f"{endpoint.host}:{endpoint.port}", endpoint.server_name)
    loop = asyncio.get_running_loop()
    progress.waiting(Reason.UNREACHABLE, f"{peer.where}: the cluster's DNS did not answer")
    try:
        addresses = await loop.getaddrinfo(
            endpoint.host, endpoint.port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
        )
    except (OSError, UnicodeError) as error:
        raise peer.unresolved(error) from error
    progress.waiting(
        Reason.UNREACHABLE,
        f"{peer.where} did not accept a connection (a NetworkPolicy, a firewall, or no ready pod?)",
    )
    failure = peer.unconnected(OSError("the name has no address"))
    for family, kind, protocol, _, address in addresses:
        try:
            return await _dial(socket.socket(family, kind, protocol), address)
        except OSError as error:
            failure = _peer(endpoint, str(address[0])).unconnected(error)
            failure.__cause__ = error
    raise failure


def _remote(connection: socket.socket, endpoint: Endpoint) -> str:
    """Return the address that accepted, or close the socket: the peer may be gone already."""
    try:
        return str(connection.getpeername()[0])
    except OSError as error:
        connection.close()
        peer = Peer(f"{endpoint.host}:{endpoint.port}", endpoint.server_name)
        raise peer.unconnected(error) from error


def _peer(endpoint: Endpoint, address: str) -> Peer:
    """Describe the peer, with the address where it differs from the host."""
    where = f"{endpoint.host}:{endpoint.port}"
    if address != endpoint.host:
        where = f"{where} ({address})"
    return Peer(where, endpoint.server_name)


async def _dial(connection: socket.socket, address: tuple[object, ...]) -> socket.socket:
    """Connect one socket, or close it."""
    try:
        connection.setblocking(False)  # noqa: FBT003 - the standard library's signature
        await asyncio.get_running_loop().sock_connect(connection, address)
    except BaseException:
        connection.close()
        raise
    return connection


async def _start_tls(
    connection: socket.socket, context: ssl.SSLContext, peer: Peer, transcript: Transcript
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Perform the TLS handshake on a connected socket."""
    try:
        return await asyncio.open_connection(
            sock=connection, ssl=context, server_hostname=peer.server_name
        )
    except ssl.SSLCertVerificationError as error:
        raise peer.unverified(error, _facts(transcript.chain), datetime.now(UTC)) from error
    except ssl.SSLError as error:
        raise peer.unfit(error) from error
    except OSError as error:
        raise peer.hung_up() from error
    except ValueError as error:
        connection.close()
        raise peer.unusable_name(error) from error


def _judge(session: ssl.SSLObject, peer: Peer, transcript: Transcript, material: Usable) -> None:
    """Apply the rules of Go that OpenSSL does not have, before a byte is sent."""
    _judge_name(session, peer)
    if session.selected_alpn_protocol() != ALPN:
        raise peer.without_http2()
    acceptable = transcript.acceptable_issuers
    issuers = [certificate.issuer_der for certificate in material.client_chain]
    if acceptable and issuers and not set(acceptable).intersection(issuers):
        raise peer.not_acceptable(material.client_chain[0].issuer)


def _judge_name(session: ssl.SSLObject, peer: Peer) -> None:
    """Compare the certificate's names with the one that CloudNativePG expects.

    A name in the form of an IP address counts as an address only: Go compares it with the
    certificate's addresses and ignores its names (`crypto/x509/verify.go`, `VerifyHostname`).
    """
    shown: Any = (session.getpeercert() or {}).get("subjectAltName", ())
    names = tuple(str(value) for kind, value in shown if kind == "DNS")
    addresses = tuple(str(value) for kind, value in shown if kind == "IP Address")
    expected = _address(peer.server_name)
    if expected is not None:
        if expected not in map(_address, addresses):
            raise peer.misaddressed(addresses)
    elif not covers(names, peer.server_name):
        raise peer.misnamed(names)


def _go_knows(key_type: str) -> bool:
    """Whether Go accepts a signature of such a key, including types that gRPC cannot use.

    OpenSSL supports more types, and the standard library cannot restrict them. The source is
    `crypto/tls`: `defaultSupportedSignatureAlgorithms`, and `checkKeySize` for RSA.
    """
    algorithm, _, size = key_type.partition(" ")
    if algorithm == "RSA":
        return int(size) <= RSA_BITS[-1]
    return key_type in USABLE_CURVES | {"ECDSA P-521", "Ed25519"}


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """Parse an IP address; None where it is invalid."""
    try:
        return ip_address(text)
    except ValueError:
        return None


async def _greet(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: Peer, material: Usable
) -> None:
    """Wait for the server's settings: they show that the client's certificate was accepted.

    gRPC servers send them at once. A client that sends first may lose the alert of a server that
    refuses it, because the kernel drops a connection that is closed with unread bytes.
    """
    try:
        try:
            async with asyncio.timeout(_GRACE):
                header = await reader.readexactly(_FRAME_HEADER)
        except TimeoutError:
            writer.write(_PREFACE)
            header = await reader.readexactly(_FRAME_HEADER)
    except (OSError, EOFError) as error:
        raise peer.refused(error, material.client_key_type) from error
    if header[3] != _SETTINGS or any(header[5:]):
        raise peer.other_protocol()


def _facts(chain: tuple[bytes, ...]) -> tuple[CertificateFacts, ...]:
    """Parse the presented certificates that are readable."""
    found = (read_certificate(encoded) for encoded in chain[:MOST_SHOWN])
    return tuple(facts for facts in found if facts is not None)
