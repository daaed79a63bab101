"""Rules with all their times divided by one factor: an alert of 15 minutes fires in 15 seconds.

Nothing else of a rule changes, so what the tests see of an alert is what users get, but sooner.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

FACTOR: Final = 60

_WINDOW: Final = re.compile(r"(?<=\[)(\d+)([smh])(?=\])")
_TIME: Final = re.compile(r"(\d+)([smh])")
_MILLISECONDS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000}


def speed_up(rules: Sequence[Mapping[str, Any]], factor: int = FACTOR) -> list[dict[str, Any]]:
    """Divide `for` and the windows of expressions by a factor."""
    return [_speed_up(rule, factor) for rule in rules]


def seconds(rule: Mapping[str, Any]) -> float:
    """How long an alert waits for its cause to last."""
    found = re.fullmatch(r"(\d+)ms", rule["for"])
    assert found is not None, rule["for"]
    return int(found[1]) / 1_000


def _speed_up(rule: Mapping[str, Any], factor: int) -> dict[str, Any]:
    def divide(found: re.Match[str]) -> str:
        return f"{int(found[1]) * _MILLISECONDS[found[2]] // factor}ms"

    changed = {**rule, "expr": _WINDOW.sub(divide, rule["expr"])}
    if "for" in rule:
        assert _TIME.fullmatch(rule["for"]), rule["for"]
        changed["for"] = _TIME.sub(divide, rule["for"])
    return changed
