"""Records a TLS handshake: the certificates the server presents and the issuers it accepts.

The standard library reports neither. Without the first, a message could not describe a refused
certificate. Without the second, one of Go's rules could not be checked: Go sends a client
certificate only if the server names its issuer, OpenSSL always does. The recorded messages contain
no secret.
"""

import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, cast

_HANDSHAKE: Final = 22
_CERTIFICATE: Final = 11
_CERTIFICATE_REQUEST: Final = 13
_CERTIFICATE_AUTHORITIES: Final = 47


@dataclass(slots=True)
class Transcript:
    """What a server sent during one handshake."""

    chain: tuple[bytes, ...] = ()
    """The certificates it presented, leaf first, in DER."""
    acceptable_issuers: tuple[bytes, ...] = ()
    """Encoded names of the issuers it accepts; none means any."""

    def listen(self, context: ssl.SSLContext) -> None:
        """Record the handshake of the one connection that the context is made for.

        The standard library has this hook for its own tests. If it is removed, both values stay
        empty: messages get shorter, and only the check of the Secrets applies Go's rule about
        issuers.
        """
        context._msg_callback = self._record  # type: ignore[attr-defined] # noqa: SLF001 - see above

    def _record(self, *message: object) -> None:
        """Receive (connection, direction, version, content type, message type, data)."""
        _, direction, _, content, kind, data = message
        if direction != "read" or content != _HANDSHAKE:
            return
        reader = _Reader(cast("bytes", data)[_HEADER:])
        if kind == _CERTIFICATE:
            self.chain = tuple(_certificates(reader))
        elif kind == _CERTIFICATE_REQUEST:
            self.acceptable_issuers = tuple(_authorities(reader))


_HEADER: Final = 4
"""Message type and length, before the body (RFC 8446, section 4)."""


class _Reader:
    """Reads TLS vectors: a length of fixed size, then so many bytes. Short input reads as empty."""

    __slots__ = ("_data", "_position")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def __bool__(self) -> bool:
        return self._position < len(self._data)

    def number(self, size: int) -> int:
        """Read an unsigned number."""
        return int.from_bytes(self._take(size), "big")

    def vector(self, size: int) -> bytes:
        """Read a vector whose length has `size` bytes."""
        return self._take(self.number(size))

    def _take(self, size: int) -> bytes:
        taken = self._data[self._position : self._position + size]
        self._position += size
        return taken


def _certificates(message: _Reader) -> Iterator[bytes]:
    """Read the Certificate message of TLS 1.3 (RFC 8446, section 4.4.2)."""
    message.vector(1)
    entries = _Reader(message.vector(3))
    while entries:
        yield entries.vector(3)
        entries.vector(2)


def _authorities(message: _Reader) -> Iterator[bytes]:
    """Read the names in a CertificateRequest of TLS 1.3 (RFC 8446, sections 4.2.4 and 4.3.2)."""
    message.vector(1)
    extensions = _Reader(message.vector(2))
    while extensions:
        kind, body = extensions.number(2), _Reader(extensions.vector(2))
        if kind == _CERTIFICATE_AUTHORITIES:
            names = _Reader(body.vector(2))
            while names:
                yield names.vector(2)
