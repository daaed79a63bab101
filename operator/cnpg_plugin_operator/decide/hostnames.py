"""Which names a certificate covers, by Go's rules.

Exists because OpenSSL's rules differ (it refuses wildcards of short names such as `*.svc`), and
because the check of the Secrets and the handshake have to reach the same verdict.
"""

import re
from collections.abc import Iterable
from typing import Final

_LABEL: Final = re.compile("[A-Za-z0-9_][A-Za-z0-9_-]*")
"""Letters, digits, underscores, and hyphens that are not first."""


def covers(dns_names: Iterable[str], name: str) -> bool:
    """Whether one of a certificate's DNS names covers a name, by Go's rules.

    The source is `Certificate.VerifyHostname` of `crypto/x509/verify.go`: the common name does not
    count, case does not matter, `*` stands for exactly one whole first label.
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
    """Compare label by label; `*` stands for any one first label."""
    patterns, labels = pattern.split("."), name.split(".")
    return len(patterns) == len(labels) and all(
        wanted == label or (place == 0 and wanted == "*")
        for place, (wanted, label) in enumerate(zip(patterns, labels, strict=True))
    )


def _is_hostname(name: str, *, wildcard: bool = False) -> bool:
    """Whether Go takes this for a host name, or for a pattern of one."""
    if name == "*":
        return False
    return all(
        (wildcard and place == 0 and label == "*") or _is_label(label)
        for place, label in enumerate(name.split("."))
    )


def _is_label(label: str) -> bool:
    """Whether a label has letters, digits, underscores, and hyphens that are not first."""
    return _LABEL.fullmatch(label) is not None
