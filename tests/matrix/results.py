"""The recorded results of the matrix, by column and test."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from tests.matrix.rows import COLUMNS, ROWS

RESULTS: Final = Path(__file__).with_name("results.json")


@dataclass(frozen=True)
class Result:
    """One test with one version of CloudNativePG."""

    outcome: str
    """As pytest calls it: only `passed` is good."""
    rolls: int | None
    """How often CloudNativePG was rolled; None if that was not counted."""
    kubernetes: str


Results = dict[str, dict[str, Result]]
"""By the names of columns and tests."""


def read() -> Results:
    """Read the recorded results."""
    recorded = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    return {
        column: {test: Result(**found) for test, found in tests.items()}
        for column, tests in recorded.items()
    }


def record(run: Mapping[tuple[str, str], Result]) -> None:
    """Replace the results of the tests that have run, by column and test."""
    known = read()
    for (column, test), result in run.items():
        known.setdefault(column, {})[test] = result
    kept = {
        column: {test: asdict(known[column][test]) for test in ROWS if test in known[column]}
        for column in map(str, COLUMNS)
        if column in known
    }
    RESULTS.write_text(json.dumps(kept, indent=1) + "\n")
