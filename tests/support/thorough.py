"""Long tables of the end-to-end tests: a sample in every run, all rows with `make thorough`."""

import os
from collections.abc import Sequence
from typing import Final, TypeVar

THOROUGH: Final = bool(os.environ.get("CNPGP_THOROUGH"))
"""Whether this run takes its time (`make thorough`)."""

Row = TypeVar("Row")


def rows(table: Sequence[Row], sample: Sequence[Row]) -> Sequence[Row]:
    """Give all rows of a table in a thorough run, else its sample."""
    if any(row not in table for row in sample):
        raise ValueError("the sample holds a row that the table lacks")
    return table if THOROUGH else sample


def times(thorough: int, usual: int) -> int:
    """Give how often to repeat something: more often in a thorough run."""
    return thorough if THOROUGH else usual
