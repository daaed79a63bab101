"""Checks that every Python package in the image may be passed on under the terms of its license.

`make lint` runs this as a program. It reads the description of each locked package where it is
installed, so it needs no network.
"""

import re
import sys
from email.message import Message
from importlib import metadata

from config.release.checkout import ROOT

ALLOWED = frozenset(
    {
        "Apache-2.0",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "ISC",
        "MIT",
        "MIT-0",
        "MPL-2.0",  # certifi, unchanged: only changes of its own files would have to be published
        "PSF-2.0",
    }
)
SPELLED = {"Apache 2.0": "Apache-2.0", "3-Clause BSD License": "BSD-3-Clause"}
"""What older descriptions say instead of SPDX's name."""


def license_of(description: Message | metadata.PackageMetadata) -> str:
    """The license of a package as an expression of SPDX; empty if it says none."""
    found = description["License-Expression"] or description["License"] or ""
    return SPELLED.get(found, found)


def unknown_parts(expression: str) -> list[str]:
    """The licenses of an expression that are not allowed; all of them have to be."""
    parts = re.split(r" AND | OR |[()]", expression)
    return [part for part in parts if part not in ALLOWED]


def main() -> int:
    """Name each locked package with another license."""
    names = re.findall(r"^([\w.-]+)==", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    refused = 0
    for name in names:
        expression = license_of(metadata.metadata(name))
        if unknown_parts(expression):
            print(f"{name}: license {expression!r} is not in {__file__}", file=sys.stderr)
            refused += 1
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
