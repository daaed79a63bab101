"""Long tables of the end-to-end tests: a sample in every run, all rows with `make thorough`.

The same for costly property tests: some of their examples in CI, all of them elsewhere.
"""

import os
from collections.abc import Sequence
from typing import Final, TypeVar

THOROUGH: Final = bool(os.environ.get("CNPGP_THOROUGH"))
"""Whether this run is thorough (`make thorough`)."""

CI: Final = bool(os.environ.get("CI")) and not THOROUGH
"""Whether this run checks a change in CI: examples are then few and always the same."""

Row = TypeVar("Row")


def rows(table: Sequence[Row], sample: Sequence[Row]) -> Sequence[Row]:
    """Return all rows of a table in a thorough run, else its sample."""
    if any(row not in table for row in sample):
        raise ValueError("the sample holds a row that the table lacks")
    return table if THOROUGH else sample


def times(thorough: int, usual: int) -> int:
    """Return how often to repeat something: more often in a thorough run."""
    return thorough if THOROUGH else usual


def examples(number: int) -> int:
    """Return how many examples to try: a quarter in CI."""
    return number // 4 if CI else number
