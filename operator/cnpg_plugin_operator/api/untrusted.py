"""Makes data of others safe to pass on: printable text, JSON of a known shape.

Plugins, certificates, the API server, authors of resources and every client that may write a status
produce what this program reads. Every text that leaves in a condition, an Event, a log line or a
section of the status goes through `printable`; every status that comes in goes through `fit`.
Nothing here raises or recurses, whatever the input.
"""

import json
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

TEXT_LIMIT: Final = 1024
"""Maximum bytes of a text in UTF-8: what Kubernetes allows for the note of an Event."""

ELLIPSIS: Final = "…"

REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"

_UNPRINTABLE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Categories of Unicode without a glyph: control and format characters (bidirectional overrides
among them), lone surrogates, private and unassigned code points, line and paragraph separators."""


def printable(text: object, limit: int = TEXT_LIMIT) -> str:
    """Make a text printable and short: one line, at most `limit` bytes in UTF-8.

    White space of any kind becomes a space; every other character without a glyph is replaced.
    """
    # A character has at least one byte: whatever this cuts would not fit.
    shown = str(text)[: limit + 1]
    if not (shown.isascii() and shown.isprintable()):
        shown = "".join(map(_show, shown))
    encoded = shown.encode()
    if len(encoded) <= limit:
        return shown
    room = max(limit - len(ELLIPSIS.encode()), 0)
    return encoded[:room].decode(errors="ignore") + ELLIPSIS


def _show(character: str) -> str:
    if character.isspace():
        return " "
    return REPLACEMENT if unicodedata.category(character) in _UNPRINTABLE else character


def mapping(value: object) -> Mapping[str, Any]:
    """Return a JSON object; empty where the value is something else."""
    return value if isinstance(value, Mapping) else {}


def objects(value: object) -> list[Mapping[str, Any]]:
    """Return the JSON objects in a list; empty where the value is something else."""
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []


def labels_of(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the labels of an object, or of a pod template."""
    return mapping(mapping(body.get("metadata")).get("labels"))


def read_json(text: object) -> Mapping[str, Any]:
    """Parse a JSON object from a text such as an annotation; empty where it contains none."""
    if not isinstance(text, str) or not text:
        return {}
    try:
        return mapping(json.loads(text))
    except (ValueError, RecursionError):
        return {}


def is_within(value: object, *, depth: int, size: int) -> bool:
    """Whether a JSON value has at most `depth` levels, and about `size` bytes at most."""
    left = size
    level = [value]
    for _ in range(depth + 1):
        deeper: list[object] = []
        for each in level:
            # Most values are texts, and asking for a Mapping takes ten times as long as for these.
            if isinstance(each, str):
                left -= len(each) + 2
            elif isinstance(each, (dict, Mapping)):
                deeper += each.values()
                left -= sum(map(len, map(str, each))) + 4 * len(each) + 4
            else:
                left -= 4
                deeper += each if isinstance(each, list) else ()
            if left < 0:
                return False
        if not deeper:
            return True
        level = deeper
    return False


@dataclass(frozen=True, slots=True)
class Text:
    """A string."""

    limit: int = TEXT_LIMIT

    def fit(self, value: object) -> str | None:
        """Return the printable text, or None."""
        return printable(value, self.limit) if isinstance(value, str) else None


@dataclass(frozen=True, slots=True)
class Number:
    """A non-negative integer."""

    most: int = 2**31 - 1

    def fit(self, value: object) -> int | None:
        """Return the number, or None where it is not an integer or out of bounds."""
        if not isinstance(value, int) or isinstance(value, bool):
            return None
        return value if 0 <= value <= self.most else None


@dataclass(frozen=True, slots=True)
class Flag:
    """True or false."""

    def fit(self, value: object) -> bool | None:
        """Return the flag, or None."""
        return value if isinstance(value, bool) else None


@dataclass(frozen=True, slots=True)
class Many:
    """A list with a maximum number of elements of one shape."""

    each: "Shape"
    most: int

    def fit(self, value: object) -> list[Any] | None:
        """Return the elements that fit; None where the value is not a list."""
        if not isinstance(value, list | tuple):
            return None
        fitted = (self.each.fit(element) for element in value)
        return [element for element in fitted if element is not None][: self.most]


@dataclass(frozen=True, slots=True)
class Named:
    """An object with arbitrary keys and text values."""

    most: int
    limit: int = 253

    def fit(self, value: object) -> dict[str, str] | None:
        """Return the first entries that fit; None where the value is not an object."""
        if not isinstance(value, Mapping):
            return None
        entries = ((key, each) for key, each in value.items() if isinstance(each, str))
        fitted = {printable(key, self.limit): printable(each, self.limit) for key, each in entries}
        return dict(list(fitted.items())[: self.most])


@dataclass(frozen=True, slots=True)
class Section:
    """An object with known fields; other fields, and values that do not fit, are dropped."""

    fields: Mapping[str, "Shape"]

    def fit(self, value: object) -> dict[str, Any] | None:
        """Return the fields that fit; None where the value is not an object."""
        if not isinstance(value, Mapping):
            return None
        fitted = {key: shape.fit(value.get(key)) for key, shape in self.fields.items()}
        return {key: each for key, each in fitted.items() if each is not None}


Shape = Text | Number | Flag | Many | Named | Section
"""The expected shape of a value."""
