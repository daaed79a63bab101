"""The recorded outcome of each test that is not part of the usual run, in `results.json` beside it.

Unit tests compare the record with what there is to run, so a test that was never run is noticed. A
folder is recorded if its conftest.py has the two hooks of this module.
"""

import json
from collections.abc import Generator
from pathlib import Path
from typing import Final

import pytest

RUN: Final = pytest.StashKey[dict[Path, dict[str, str]]]()


def read(directory: Path) -> dict[str, str]:
    """Read what was recorded by test: `passed`, or as pytest calls it."""
    file = _file(directory)
    found: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}
    return found


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep the worst outcome of the phases of a test."""
    report = yield
    run = item.config.stash.setdefault(RUN, {}).setdefault(item.path.parent, {})
    if run.get(item.name, "passed") == "passed":
        run[item.name] = report.outcome
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Replace the recorded outcomes of the tests that have run."""
    for directory, run in session.config.stash.get(RUN, {}).items():
        merged = {**read(directory), **run}
        _file(directory).write_text(json.dumps(merged, indent=1, sort_keys=True) + "\n")


def _file(directory: Path) -> Path:
    return directory / "results.json"
