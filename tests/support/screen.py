"""The screen that an answer of a command has to fit."""

import math
from typing import Final

COLUMNS: Final = 100
LINES: Final = 40


def lines_of(answer: str) -> int:
    """Count the lines of a screen that an answer takes; fail if it does not fit."""
    lines = answer.splitlines()
    # A command stays in one piece, so that it can be copied.
    wide = [line for line in lines if len(line) > COLUMNS and "kubectl " not in line]
    assert not wide, wide
    count = sum(max(1, math.ceil(len(line) / COLUMNS)) for line in lines)
    assert count <= LINES, f"{count} lines:\n{answer}"
    return count
