"""Times as the Kubernetes API writes them: RFC 3339, in UTC, whole seconds."""

from datetime import UTC, datetime
from typing import Final

YEARS: Final = range(1970, 9000)
"""Times in other years are taken for none: arithmetic with them overflows."""


def format_time(moment: datetime) -> str:
    """Write a time as the API does."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def read_time(text: object) -> datetime | None:
    """Read a time, or None where there is none; without an offset it counts as UTC."""
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.year not in YEARS:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
