"""Runs are saved in `.bench` at the top of the repository, which git ignores."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from tests.bench.figures import BenchError
from tests.bench.report import Run, render_json
from tests.demo.installing import ROOT

DIRECTORY: Final = ROOT / ".bench"
LAST: Final = "last"
"""Says `--against` that the newest saved run is meant."""


def path_of(begun: datetime) -> Path:
    """Name the file of a run that began then."""
    return DIRECTORY / f"{begun:%Y-%m-%dT%H%M%S}.json"


def save(path: Path, run: Run) -> None:
    """Save a run, or what there is of it so far."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render_json(run) + "\n")


def load(which: str) -> dict[str, Any]:
    """Read a saved run: a file, or `last` for the newest one."""
    path = Path(which)
    if which == LAST:
        known = sorted(DIRECTORY.glob("*.json"))
        if not known:
            raise BenchError(f"no run is saved in {DIRECTORY}")
        path = known[-1]
    try:
        run: object = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise BenchError(f"{path} is no saved run: {error}") from error
    if not isinstance(run, dict) or not {"about", "scenarios"} <= run.keys():
        raise BenchError(f"{path} is no saved run: it has no scenarios")
    return run
