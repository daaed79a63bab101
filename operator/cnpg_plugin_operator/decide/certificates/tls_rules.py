"""What the TLS libraries at both ends accept: names by Go's rules, and types of keys.

Three libraries have to agree: Go's (CloudNativePG, most plugins), the BoringSSL in gRPC's C-core
(this operator's handshake, plugins in Python or C++), and OpenSSL, whose rules for names differ (it
refuses wildcards of short names such as `*.svc`). The check of the Secrets and the handshake have
to reach the same verdict.
"""

import re
from collections.abc import Iterable
from typing import Final

_LABEL: Final = re.compile("[A-Za-z0-9_][A-Za-z0-9_-]*")
"""Letters, digits, underscores, and hyphens that are not first."""

USABLE_CURVES: Final = frozenset({"ECDSA P-256", "ECDSA P-384"})
"""Curves that Go and gRPC's C-core agree on in TLS 1.3. Not P-521, which BoringSSL does not offer
for a server's signature; not P-224 and others, for which TLS 1.3 has no signature scheme."""

RSA_BITS: Final = range(2048, 8192 + 1)
"""RSA sizes that all sides accept: OpenSSL's default level and Go's FIPS mode refuse less than
2048, Go refuses more than 8192 (`crypto/tls`, `maxRSAKeySize`)."""


def covers(dns_names: Iterable[str], name: str) -> bool:
    """Whether one of a certificate's DNS names covers a name, by Go's rules.

    The source is `Certificate.VerifyHostname` in `crypto/x509/verify.go`: the common name does not
    count, case does not matter, and `*` matches exactly one whole first label.
    """
    wanted = name.lower()
    plain = _is_hostname(wanted.removesuffix("."))
    return any(
        _matches(pattern.lower(), wanted.removesuffix("."))
        if plain and _is_hostname(pattern, wildcard=True)
        else pattern.lower() == wanted not in {"", "."}
        for pattern in dns_names
    )


def _matches(pattern: str, name: str) -> bool:
    """Compare label by label; `*` matches any first label."""
    patterns, labels = pattern.split("."), name.split(".")
    return len(patterns) == len(labels) and all(
        wanted == label or (place == 0 and wanted == "*")
        for place, (wanted, label) in enumerate(zip(patterns, labels, strict=True))
    )


def _is_hostname(name: str, *, wildcard: bool = False) -> bool:
    """Whether Go accepts this as a host name, or as a pattern of one."""
    if name == "*":
        return False
    return all(
        (wildcard and place == 0 and label == "*") or _is_label(label)
        for place, label in enumerate(name.split("."))
    )


def _is_label(label: str) -> bool:
    """Whether a label has letters, digits, underscores, and hyphens that are not first."""
    return _LABEL.fullmatch(label) is not None


def is_usable(key_type: str) -> bool:
    """Whether all sides can use a key of this type (see the constants)."""
    algorithm, _, size = key_type.partition(" ")
    if algorithm == "RSA":
        return size.isdecimal() and int(size) in RSA_BITS
    return key_type in USABLE_CURVES
