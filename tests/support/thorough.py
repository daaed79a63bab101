"""What usual runs take a sample of: long tables, and the examples of property tests.

`make thorough` and `make histories` try all rows and all examples.
"""

import os
from collections.abc import Sequence
from typing import Final, TypeVar

THOROUGH: Final = bool(os.environ.get("CNPGP_THOROUGH"))
"""Whether this run is thorough (`make thorough`)."""

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
    """Return how many examples to try: a quarter in usual runs."""
    return times(thorough=number, usual=number // 4)
