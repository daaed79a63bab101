"""Writes a manifest as YAML, for people to read and apply; it never reads any.

A text that YAML could take for something else is quoted as in JSON, which YAML includes.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

_PLAIN: Final = re.compile(r"[A-Za-z/](?:[\w./-]*[\w/])?")
"""Texts that mean themselves in every version of YAML, if they are no word of `_WORDS`."""

_WORDS: Final = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
"""What YAML 1.1 takes for a boolean or nothing, in any case."""


def write_manifest(body: Mapping[str, Any], remarks: Sequence[str] = ()) -> str:
    """Write one object, with remarks as comments above it."""
    lines = [f"# {' '.join(remark.split())}" for remark in remarks]
    return "\n".join([*lines, *_write_mapping(body), ""])


def _write(value: object) -> tuple[str, Iterator[str]]:
    """Give what follows a key on its line, and the lines below it."""
    if isinstance(value, Mapping) and value:
        return "", _write_mapping(value)
    if isinstance(value, list | tuple) and value:
        if all(isinstance(each, str) for each in value):
            return f" [{', '.join(map(_write_scalar, value))}]", iter(())
        return "", _write_list(value)
    return f" {_write_scalar(value)}", iter(())


def _write_mapping(value: Mapping[str, Any]) -> Iterator[str]:
    for key, each in value.items():
        beside, below = _write(each)
        yield f"{_write_scalar(key)}:{beside}"
        yield from (f"  {line}" for line in below)


def _write_list(value: Sequence[object]) -> Iterator[str]:
    for each in value:
        beside, below = _write(each)
        if beside:
            yield f"-{beside}"
            continue
        for number, line in enumerate(below):
            yield f"  {line}" if number else f"- {line}"


def _write_scalar(value: object) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    written = json.dumps(value, ensure_ascii=False)
    return "".join(c if c.isascii() and c.isprintable() else f"\\U{ord(c):08x}" for c in written)
