"""Turns names into parts of URLs and selectors; each stays one name in one request.

Names come from resources, annotations and other objects, and may contain anything. aiohttp resolves
`..` and cuts at `?` before it sends a request, so such a name would read another object with this
operator's rights. These functions refuse such values before a request is made.
"""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from cnpg_plugin_operator import errors

NAME_LENGTH: Final = 253
"""Maximum length of an object's name (Kubernetes' documentation, "Object Names and IDs")."""

_LABEL_VALUE: Final = re.compile(r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_LABEL_KEY: Final = re.compile(
    r"(?:[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
)
_FIELD_VALUE: Final = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,251}[A-Za-z0-9])?")


def is_name(text: str) -> bool:
    """Whether an object could have this name.

    The rule is Kubernetes' own for a segment of a path (`IsValidPathSegmentName` in
    `k8s.io/apimachinery/pkg/api/validation/path`); also, no name is empty, too long or unprintable.
    """
    return (
        0 < len(text) <= NAME_LENGTH
        and text not in (".", "..")
        and not any(part in text for part in "/%")
        and text.isprintable()
    )


def path_segment(text: str, target: str) -> str:
    """Quote a name for a URL. Raises `InvalidNameError`; `target` is the kind of the object."""
    if not is_name(text):
        raise errors.InvalidNameError(f"{target} {_shorten(text)}: no object can have this name")
    return quote(text, safe="")


def label_selector(wanted: Mapping[str, str], *present: str) -> str:
    """Build a selector of labels with a value, and of labels that must be present.

    Raises `InvalidNameError` where a key or value is invalid: a comma in it would be another
    condition.
    """
    for key in (*wanted, *present):
        _demand(_LABEL_KEY, key, "label")
    for key, value in wanted.items():
        _demand(_LABEL_VALUE, value, f"label {key}:")
    return ",".join([*(f"{key}={value}" for key, value in wanted.items()), *present])


def field_selector(wanted: Mapping[str, str]) -> str:
    """Build a selector of fields. Raises `InvalidNameError` where a value is not a name."""
    for key, value in wanted.items():
        _demand(_FIELD_VALUE, value, f"field {key}:")
    return ",".join(f"{key}={value}" for key, value in wanted.items())


def _demand(pattern: re.Pattern[str], text: str, target: str) -> None:
    if not pattern.fullmatch(text):
        raise errors.InvalidNameError(f"{target} {_shorten(text)}: not a valid value of a selector")


def _shorten(text: str) -> str:
    """Quote a text with any content, up to a maximum length."""
    shown = ascii(text[:NAME_LENGTH])
    return shown if len(text) <= NAME_LENGTH else f"{shown[:40]}…"
