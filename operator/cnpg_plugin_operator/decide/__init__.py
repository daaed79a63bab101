"""Facts in, verdicts out: pure functions with named reasons. No I/O, no clock, no randomness.

Every decision is an ordered tuple of checks, of which the first that speaks decides. A check is a
function named after what it detects. What is certain where none speaks is no check: the caller
says it (`first(CHECKS, given) or …`).
"""

from collections.abc import Callable, Iterable
from typing import ParamSpec, TypeVar

Given = ParamSpec("Given")
Found = TypeVar("Found")


def first(
    checks: Iterable[Callable[Given, Found | None]], *args: Given.args, **kwargs: Given.kwargs
) -> Found | None:
    """Return the verdict of the first check that has one; None if none has."""
    return next((found for c in checks if (found := c(*args, **kwargs)) is not None), None)
