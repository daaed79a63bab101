"""What others wrote, made fit to be handed on: text to print, JSON of a known shape.

Plugins, certificates, the API server, authors of resources and anybody with a right to a status
write what this program reads. Every text that leaves in a condition, an Event, a log line or a
section of the status goes through `printable`; every status that comes in goes through `fit`.
Nothing here raises, whatever it is given, and nothing recurses into what it was given.
"""

import json
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

TEXT_LIMIT: Final = 1024
"""Bytes of a text in UTF-8 at most: what Kubernetes allows the note of an Event."""

ELLIPSIS: Final = "…"

REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"

_UNPRINTABLE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Categories of Unicode without a glyph: control and format characters (bidirectional overrides
among them), lone surrogates, private and unassigned code points, line and paragraph separators."""


def printable(text: object, limit: int = TEXT_LIMIT) -> str:
    """Make a text printable and short: one line, at most `limit` bytes in UTF-8.

    White space of any kind becomes a space; every other character without a glyph is replaced.
    """
    # A character has at least one byte: what is cut here would not fit anyway.
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
    """Give a JSON object, empty where the value is something else."""
    return value if isinstance(value, Mapping) else {}


def objects(value: object) -> list[Mapping[str, Any]]:
    """Give the JSON objects in a list, none where the value is something else."""
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []


def read_json(text: object) -> Mapping[str, Any]:
    """Read a JSON object from a text such as an annotation; empty where it holds none."""
    if not isinstance(text, str) or not text:
        return {}
    try:
        return mapping(json.loads(text))
    except (ValueError, RecursionError):
        return {}


def is_within(value: object, *, depth: int, size: int) -> bool:
    """Whether a JSON value has at most this many levels, and about this many bytes."""
    left = size
    level = [value]
    for _ in range(depth + 1):
        deeper: list[object] = []
        for each in level:
            left -= len(each) + 2 if isinstance(each, str) else 4
            if isinstance(each, Mapping):
                deeper += each.values()
                left -= sum(len(str(key)) + 4 for key in each)
            elif isinstance(each, list):
                deeper += each
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
        """Give the printable text, or None."""
        return printable(value, self.limit) if isinstance(value, str) else None


@dataclass(frozen=True, slots=True)
class Number:
    """A whole number that is not negative."""

    most: int = 2**31 - 1

    def fit(self, value: object) -> int | None:
        """Give the number, or None where it is none or out of bounds."""
        if not isinstance(value, int) or isinstance(value, bool):
            return None
        return value if 0 <= value <= self.most else None


@dataclass(frozen=True, slots=True)
class Flag:
    """True or false."""

    def fit(self, value: object) -> bool | None:
        """Give the flag, or None."""
        return value if isinstance(value, bool) else None


@dataclass(frozen=True, slots=True)
class Many:
    """A list of at most so many elements of one shape."""

    each: "Shape"
    most: int

    def fit(self, value: object) -> list[Any] | None:
        """Give the elements that fit; None where it is no list."""
        if not isinstance(value, list | tuple):
            return None
        fitted = (self.each.fit(element) for element in value)
        return [element for element in fitted if element is not None][: self.most]


@dataclass(frozen=True, slots=True)
class Named:
    """An object with arbitrary keys and texts."""

    most: int
    limit: int = 253

    def fit(self, value: object) -> dict[str, str] | None:
        """Give the first entries that fit; None where it is no object."""
        if not isinstance(value, Mapping):
            return None
        entries = ((key, each) for key, each in value.items() if isinstance(each, str))
        fitted = {printable(key, self.limit): printable(each, self.limit) for key, each in entries}
        return dict(list(fitted.items())[: self.most])


@dataclass(frozen=True, slots=True)
class Section:
    """An object with known fields; other fields, and what does not fit, are left out."""

    fields: Mapping[str, "Shape"]

    def fit(self, value: object) -> dict[str, Any] | None:
        """Give the fields that fit; None where it is no object."""
        if not isinstance(value, Mapping):
            return None
        fitted = {key: shape.fit(value.get(key)) for key, shape in self.fields.items()}
        return {key: each for key, each in fitted.items() if each is not None}


Shape = Text | Number | Flag | Many | Named | Section
"""What a value is expected to look like."""
