"""From names to parts of URLs and selectors: what anybody wrote stays one name in one request.

Names come from resources, annotations and other objects, and any of them may hold anything. aiohttp
resolves `..` and cuts at `?` before it sends a request, so such a name would read another object
with this operator's rights. Everything here refuses a value before a request is made.
"""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from cnpg_plugin_operator import errors

NAME_LENGTH: Final = 253
"""No object's name is longer (Kubernetes' documentation, "Object Names and IDs")."""

_LABEL_VALUE: Final = re.compile(r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_LABEL_KEY: Final = re.compile(
    r"(?:[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
)
_FIELD_VALUE: Final = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,251}[A-Za-z0-9])?")


def is_name(text: str) -> bool:
    """Whether an object could have this name.

    The rule is Kubernetes' own for a segment of a path (`IsValidPathSegmentName` in
    `k8s.io/apimachinery/pkg/api/validation/path`), and no name is empty, too long or unprintable.
    """
    return (
        0 < len(text) <= NAME_LENGTH
        and text not in (".", "..")
        and not any(part in text for part in "/%")
        and text.isprintable()
    )


def path_segment(text: str, target: str) -> str:
    """Quote a name for a URL. Raises `InvalidNameError`; `target` says what it is the name of."""
    if not is_name(text):
        raise errors.InvalidNameError(f"{target} {_shorten(text)}: no object can have this name")
    return quote(text, safe="")


def label_selector(wanted: Mapping[str, str], *present: str) -> str:
    """Select by labels with a value, and by the presence of others.

    Raises `InvalidNameError` where a key or value is none that a label can have: a comma in it
    would be another condition.
    """
    for key in (*wanted, *present):
        _demand(_LABEL_KEY, key, "label")
    for key, value in wanted.items():
        _demand(_LABEL_VALUE, value, f"label {key}:")
    return ",".join([*(f"{key}={value}" for key, value in wanted.items()), *present])


def field_selector(wanted: Mapping[str, str]) -> str:
    """Select by fields. Raises `InvalidNameError` where a value is no name."""
    for key, value in wanted.items():
        _demand(_FIELD_VALUE, value, f"field {key}:")
    return ",".join(f"{key}={value}" for key, value in wanted.items())


def _demand(pattern: re.Pattern[str], text: str, target: str) -> None:
    if not pattern.fullmatch(text):
        raise errors.InvalidNameError(f"{target} {_shorten(text)}: nothing can be selected by it")


def _shorten(text: str) -> str:
    """Show a text that may hold anything."""
    shown = ascii(text[:NAME_LENGTH])
    return shown if len(text) <= NAME_LENGTH else f"{shown[:40]}…"
