"""What the processes of one test run have to know about each other.

Tests run concurrently in several processes, each with its own cluster; a test that evaluates the
whole run waits for the others, and reads the audit logs of all clusters.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Final

from tests.support import wait

_VARIABLE: Final = "CNPGP_TEST_RUN"
"""The variable that names the directory to the processes that pytest starts."""

QUIET: Final = 600.0
"""Seconds within which some test ends, even on the slowest machine."""


def begin() -> None:
    """Create the directory of this run's records; called once, before further processes are
    started.
    """
    os.environ[_VARIABLE] = tempfile.mkdtemp(prefix="cnpgp-test-run-")


def end() -> None:
    """Delete the records."""
    shutil.rmtree(os.environ.pop(_VARIABLE))


def record_finished(test: str) -> None:
    """Record that a test has ended, whatever its result."""
    _append("finished", test)


def until_finished(tests: AbstractSet[str]) -> None:
    """Wait until all these tests have ended, in any process."""
    while missing := tests - set(_lines("finished")):
        wait.until(
            "another test is over",
            lambda missing=missing: missing & set(_lines("finished")),  # type: ignore[misc]
            within=QUIET,
            explain=lambda missing=missing: "\n".join(sorted(missing)),  # type: ignore[misc]
            pause=1,
        )


def record_prepared(worker: str) -> None:
    """Record that the cluster of a process is up."""
    _append("prepared", worker)


def prepared() -> list[str]:
    """Return the processes whose clusters are up."""
    return _lines("prepared")


def record_audit_log(log: Path, began: int) -> None:
    """Record an audit log of this run, and the position where the run begins in it."""
    _append("audit-logs", f"{began} {log}")


def audit_logs() -> Iterator[tuple[Path, int]]:
    """Return the audit logs of this run's clusters, and the positions where the run begins."""
    for line in _lines("audit-logs"):
        began, _, log = line.partition(" ")
        yield Path(log), int(began)


def _append(what: str, line: str) -> None:
    with (Path(os.environ[_VARIABLE]) / what).open("a") as file:
        file.write(line + "\n")


def _lines(what: str) -> list[str]:
    path = Path(os.environ[_VARIABLE]) / what
    return path.read_text().splitlines() if path.exists() else []
