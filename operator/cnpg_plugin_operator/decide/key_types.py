"""Which types of keys both ends of CloudNativePG's connection and the handshake can use.

Exists because three TLS libraries have to agree: Go's (CloudNativePG, most plugins), the BoringSSL
in gRPC's C-core (this operator's handshake, plugins in Python or C++), and OpenSSL.
"""

from typing import Final

USABLE_CURVES: Final = frozenset({"ECDSA P-256", "ECDSA P-384"})
"""Curves that Go and gRPC's C-core agree on in TLS 1.3. Not P-521, which BoringSSL does not offer
for a server's signature; not P-224 and others, for which TLS 1.3 has no signature scheme."""

RSA_BITS: Final = range(2048, 8192 + 1)
"""RSA sizes that everybody takes: below 2048 OpenSSL's default level and Go's FIPS mode refuse,
above 8192 Go does (`crypto/tls`, `maxRSAKeySize`)."""


def is_usable(key_type: str) -> bool:
    """Whether all sides can use a key of this type (see the constants)."""
    algorithm, _, size = key_type.partition(" ")
    if algorithm == "RSA":
        return size.isdecimal() and int(size) in RSA_BITS
    return key_type in USABLE_CURVES
