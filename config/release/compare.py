"""Compares two builds of a release byte for byte.

Only the signature of the chart may differ: it contains the time at which it was made.
"""

import filecmp
from pathlib import Path

SIGNED = (".prov", "SHA256SUMS")
"""The signature, and the list with its digest."""


def differences(first: Path, second: Path, *, signed: bool) -> list[str]:
    """Name the files that only one build has, and those that differ."""
    names = {path.name for path in first.iterdir()}, {path.name for path in second.iterdir()}
    common = sorted(names[0] & names[1])
    _, different, unreadable = filecmp.cmpfiles(first, second, common, shallow=False)
    found = [*different, *unreadable, *(names[0] ^ names[1])]
    return sorted(name for name in found if not (signed and name.endswith(SIGNED)))
