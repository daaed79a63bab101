"""Times as the Kubernetes API writes them (RFC 3339, UTC, whole seconds), and as users read them.

Times that the operator recorded in a status or an annotation are checked against the current time:
other clients may have changed them, and a clock may have been ahead. A time in the future would
block whatever waits for it, so it counts as none.
"""

from datetime import UTC, datetime, timedelta
from typing import Final

CLOCK_SKEW: Final = timedelta(minutes=5)
"""Maximum difference between the clocks of a cluster."""

YEARS: Final = range(1970, 9000)
"""Times in other years count as none: arithmetic with them overflows."""

MOST_COUNTED: Final = 1_000_000
"""This operator never records larger counts."""


def format_time(moment: datetime) -> str:
    """Write a time as the API does."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def display_time(moment: datetime) -> str:
    """Write a time for users, with its date: `2026-11-26 14:05:09 UTC`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def read_time(text: object) -> datetime | None:
    """Read a time, or None where it is invalid; without an offset it counts as UTC."""
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.year not in YEARS:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def is_over(moment: datetime, now: datetime) -> bool:
    """Whether a time has passed, allowing for clock skew."""
    try:
        return moment - now <= CLOCK_SKEW
    except OverflowError:
        return False


def read_recorded_time(text: object, now: datetime) -> datetime | None:
    """Read a recorded time; one in the future counts as none."""
    moment = read_time(text)
    return moment if moment is not None and is_over(moment, now) else None


def read_recorded_count(value: object, default: int = 0) -> int:
    """Read a recorded count; an invalid one counts as the default."""
    known = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_COUNTED
    return int(str(value)) if known else default
