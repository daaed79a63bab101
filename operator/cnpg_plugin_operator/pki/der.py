"""Extracts the encoded issuer and subject from a certificate.

Go compares names by their encoding (`bytes.Equal` of `RawIssuer` and `RawSubject`), and
`cryptography` only offers decoded names. This module must not be used for anything else: `reading`
reads certificates.
"""

from typing import Final

_EXPLICIT_VERSION: Final = 0xA0
_LONG_FORM: Final = 0x80

_ELEMENTS: Final = 5
"""serialNumber, signature, issuer, validity, subject: the first five after the optional version."""


def names(tbs_certificate: bytes) -> tuple[bytes, bytes]:
    """Return the encoded issuer and subject of a `TBSCertificate` (RFC 5280, section 4.1).

    The input must come from a parser that accepted it; anything else raises `ValueError`.
    """
    _, start, end = _element(tbs_certificate, 0)
    elements: list[bytes] = []
    position = start
    while position < end and len(elements) < _ELEMENTS:
        tag, _, after = _element(tbs_certificate, position)
        if tag != _EXPLICIT_VERSION:
            elements.append(tbs_certificate[position:after])
        position = after
    if len(elements) < _ELEMENTS:
        raise ValueError("a certificate ends before its subject")
    _serial, _algorithm, issuer, _validity, subject = elements
    return issuer, subject


def _element(data: bytes, position: int) -> tuple[int, int, int]:
    """Return the tag of the element at a position, and the start and end of its content."""
    if position + 2 > len(data):
        raise ValueError("a certificate is cut short")
    tag, length, start = data[position], data[position + 1], position + 2
    if length >= _LONG_FORM:
        octets = length - _LONG_FORM
        length = int.from_bytes(data[start : start + octets], "big")
        start += octets
    if start + length > len(data):
        raise ValueError("a certificate is cut short")
    return tag, start, start + length
