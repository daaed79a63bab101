"""The recorded results of the known problems, by the names of their rows."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from tests.problems.rows import ROWS, Row

RESULTS: Final = Path(__file__).with_name("results.json")


@dataclass
class Result:
    """One problem, on the real cluster."""

    outcome: str = "failed"
    """Only `passed` is good."""
    seconds: int = 0
    """From the beginning to the remedied plugin."""
    message: str = ""
    """By which it was named."""
    lines: dict[str, int] = field(default_factory=dict)
    """How many lines of a screen each answer of the commands took."""


def read() -> dict[str, Result]:
    """Read the recorded results."""
    recorded = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    return {name: Result(**found) for name, found in recorded.items()}


@contextmanager
def recorded(row: Row, *, kept: bool) -> Iterator[Result]:
    """Record the result of a row that runs, if it is to be kept."""
    result, began = Result(), time.monotonic()
    try:
        yield result
        result.outcome = "passed"
    finally:
        result.seconds = round(time.monotonic() - began)
        known = {**read(), row.name: result} if kept else {}
        ordered = {each.name: asdict(known[each.name]) for each in ROWS if each.name in known}
        if ordered:
            RESULTS.write_text(json.dumps(ordered, indent=1, ensure_ascii=False) + "\n")
