"""Finds the blocks of a PEM file as Go does, so that both sides see the same certificates.

Libraries read PEM differently: Go skips malformed blocks, the standard library's `ssl` refuses
comments that are not ASCII, `cryptography` stops at the first error. This module must not interpret
the content of blocks.
"""

import binascii
import re
import ssl
from base64 import b64decode
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

_BOUNDARY: Final = re.compile(rb"^-----(BEGIN|END) ([^\r\n]*?)-----[ \t]*\r?$", re.MULTILINE)

CERTIFICATE: Final = "CERTIFICATE"
"""The only label under which Go looks for certificates
(`crypto/x509.CertPool.AppendCertsFromPEM`)."""

_PRIVATE_KEY: Final = "PRIVATE KEY"


@dataclass(frozen=True, slots=True)
class Block:
    """One block of a PEM file."""

    label: str
    text: bytes = field(repr=False)
    """From the first to the last dash."""
    body: bytes = field(repr=False)
    """Between the two boundaries: base64, perhaps after headers."""


def blocks(data: bytes) -> Iterator[Block]:
    """Yield the blocks in their order, in one linear pass; text around them is skipped."""
    begin: re.Match[bytes] | None = None
    for boundary in _BOUNDARY.finditer(data):
        if boundary[1] == b"BEGIN":
            begin = boundary
        elif begin is not None and begin[2] == boundary[2]:
            yield Block(
                label=begin[2].decode("ascii", "replace"),
                text=data[begin.start() : boundary.end()].rstrip(),
                body=data[begin.end() : boundary.start()],
            )
            begin = None


def certificates(data: bytes) -> tuple[bytes, ...]:
    """Return the DER of every certificate block whose base64 can be decoded, as Go's pool does."""
    found = (_decode(block.body) for block in blocks(data) if block.label == CERTIFICATE)
    return tuple(der for der in found if der)


def encode(certificates: Iterable[bytes]) -> bytes:
    """Write certificates, given as DER, one after the other."""
    return "".join(map(ssl.DER_cert_to_PEM_cert, certificates)).encode("ascii")


def private_key(data: bytes) -> bytes | None:
    """Return the text of the first private key block (the rule of Go's `tls.X509KeyPair`)."""
    for block in blocks(data):
        if block.label == _PRIVATE_KEY or block.label.endswith(f" {_PRIVATE_KEY}"):
            return block.text + b"\n"
    return None


def _decode(body: bytes) -> bytes:
    """Decode base64; empty where it is invalid (Go skips such a block)."""
    try:
        return b64decode(b"".join(body.split()), validate=True)
    except binascii.Error:
        return b""
