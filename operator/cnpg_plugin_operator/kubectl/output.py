"""How the plugin prints: tables, colour only where a terminal shows it, JSON and YAML."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TextIO

from cnpg_plugin_operator.api.untrusted import printable
from cnpg_plugin_operator.desired.manifest import write_manifest

FORMATS: Final = ("text", "json", "yaml")

_CODES: Final[Mapping[str, str]] = {"good": "32", "bad": "31", "open": "33", "title": "1"}


class Style:
    """Colours words, or leaves them as they are."""

    def __init__(self, *, coloured: bool) -> None:
        self._coloured = coloured

    @classmethod
    def of(cls, stream: TextIO) -> "Style":
        """Colour for a terminal, unless `NO_COLOR` is set or the terminal has none."""
        plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
        return cls(coloured=stream.isatty() and not plain)

    def mark(self, word: str, meaning: str) -> str:
        """Colour a word by its meaning: good, bad, open or title."""
        return f"\x1b[{_CODES[meaning]}m{word}\x1b[0m" if self._coloured else word


def write_document(document: Mapping[str, Any], output: str) -> str:
    """Write a document for programs."""
    if output == "yaml":
        return write_manifest(document)
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def write_table(
    header: Sequence[str], rows: Iterable[Sequence[str]], paint: Mapping[str, str], style: Style
) -> str:
    """Align the cells; `paint` gives the meaning of words that are coloured."""
    lines = [list(header), *([printable(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    written = []
    for line in lines:
        cells = [
            style.mark(cell, paint[cell]) + " " * (width - len(cell))
            if cell in paint
            else cell.ljust(width)
            for cell, width in zip(line, widths, strict=True)
        ]
        written.append("   ".join(cells).rstrip())
    return "\n".join(written) + "\n"
