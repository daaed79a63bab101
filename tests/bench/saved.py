"""Runs are saved in `.bench` at the top of the repository, which git ignores, and say what ran."""

import json
import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from tests.bench.figures import BenchError
from tests.bench.report import Run, render_json
from tests.demo.installing import ROOT

DIRECTORY: Final = ROOT / ".bench"
LAST: Final = "last"
"""Says `--against` that the newest saved run is meant."""


def describe_moment(word: str) -> str:
    """Describe the time and the load: on a busy machine, durations mean little."""
    load = " ".join(f"{value:.2f}" for value in os.getloadavg())
    when = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    return f"{word} {when}, load {load} (1, 5, 15 minutes) on {os.cpu_count()} cores"


def describe_revision() -> str:
    """Describe what is measured."""
    describe = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    done = subprocess.run(describe, capture_output=True, text=True, check=False)
    return f"measured revision {done.stdout.strip() or 'unknown'}"


def path_of(begun: datetime, directory: Path = DIRECTORY) -> Path:
    """Name the file of a run that began then."""
    return directory / f"{begun:%Y-%m-%dT%H%M%S}.json"


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
