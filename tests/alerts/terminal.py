"""A terminal as a small picture: SVG of the text that a command printed."""

from html import escape
from pathlib import Path
from typing import Final

from tests.support.screen import COLUMNS

PICTURE: Final = Path(__file__).resolve().parents[2] / "docs" / "images" / "diagnose.svg"
WIDE, HIGH, EDGE = 7.3, 17, 14
"""The size of a character, and the edge around the text."""


def draw(command: str, printed: str) -> str:
    """Draw a command and what it printed; lines are wrapped as in a terminal."""
    lines = [part for line in [f"$ {command}", *printed.splitlines()] for part in _wrap(line)]
    width, height = COLUMNS * WIDE + 2 * EDGE, len(lines) * HIGH + 2 * EDGE
    text = "".join(
        f'<text x="{EDGE}" y="{EDGE + (number + 0.75) * HIGH:g}" xml:space="preserve">'
        f"{escape(line, quote=False)}</text>\n"
        for number, line in enumerate(lines)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" '
        f'width="{width:g}" font-family="monospace" font-size="12" fill="#ccccdc">\n'
        f'<rect width="100%" height="100%" rx="6" fill="#111217"/>\n{text}</svg>\n'
    )


def _wrap(line: str) -> list[str]:
    return [line[at : at + COLUMNS] for at in range(0, max(len(line), 1), COLUMNS)]
