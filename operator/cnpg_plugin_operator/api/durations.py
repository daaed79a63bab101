"""Go's duration strings (`1h30m`, `500ms`), the format that Kubernetes users write."""

import re
from datetime import timedelta
from typing import Final

_UNITS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART: Final = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_WHOLE: Final = re.compile(rf"(?:{_PART.pattern})+")


def parse_duration(text: object) -> timedelta:
    """Read a duration such as `2160h` or `1m30s`.

    Raises `ValueError` where the text is not a positive Go duration.
    """
    if isinstance(text, timedelta):
        return text
    if not isinstance(text, str) or not _WHOLE.fullmatch(text):
        raise ValueError("must be a duration such as 5s, 10m or 2160h")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    try:
        return timedelta(seconds=seconds)
    except OverflowError as error:
        raise ValueError("is too long; use a shorter duration") from error


def format_duration(duration: timedelta) -> str:
    """Write a duration as cert-manager and Go do."""
    seconds = int(duration.total_seconds())
    hours, rest = divmod(seconds, 3600)
    minutes, seconds = divmod(rest, 60)
    return f"{hours}h{minutes}m{seconds}s"
