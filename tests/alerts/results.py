"""The recorded outcome of each test of the alerts, by its name."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

RESULTS: Final = Path(__file__).with_name("results.json")


def read() -> dict[str, str]:
    """Read what was recorded: `passed`, or as pytest calls it."""
    found: dict[str, str] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    return found


def record(run: Mapping[str, str]) -> None:
    """Replace the outcomes of the tests that have run."""
    RESULTS.write_text(json.dumps({**read(), **run}, indent=1, sort_keys=True) + "\n")
