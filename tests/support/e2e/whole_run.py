"""What the processes of one run of the tests have to know of each other.

Tests run side by side in several processes, each with a cluster of its own; a test that judges the
whole run waits for the others, and reads what they left in all clusters.
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
"""Tells the processes that pytest starts where to look."""

QUIET: Final = 600.0
"""Seconds within which some test comes to its end, on the slowest of machines."""


def begin() -> None:
    """Make a place for this run's notes; called once, before further processes are started."""
    os.environ[_VARIABLE] = tempfile.mkdtemp(prefix="cnpgp-test-run-")


def end() -> None:
    """Leave nothing of the notes."""
    shutil.rmtree(os.environ.pop(_VARIABLE))


def note_finished(test: str) -> None:
    """Note that a test is over, however it ended."""
    _append("finished", test)


def until_finished(tests: AbstractSet[str]) -> None:
    """Wait until all these tests are over, in whichever process."""
    while missing := tests - set(_lines("finished")):
        wait.until(
            "another test is over",
            lambda missing=missing: missing & set(_lines("finished")),  # type: ignore[misc]
            within=QUIET,
            explain=lambda missing=missing: "\n".join(sorted(missing)),  # type: ignore[misc]
            pause=1,
        )


def note_audit_log(log: Path, began: int) -> None:
    """Note an audit log of this run, and the place where the run begins in it."""
    _append("audit-logs", f"{began} {log}")


def audit_logs() -> Iterator[tuple[Path, int]]:
    """Give the audit logs of this run's clusters, and where in them the run begins."""
    for line in _lines("audit-logs"):
        began, _, log = line.partition(" ")
        yield Path(log), int(began)


def _append(what: str, line: str) -> None:
    with (Path(os.environ[_VARIABLE]) / what).open("a") as file:
        file.write(line + "\n")


def _lines(what: str) -> list[str]:
    path = Path(os.environ[_VARIABLE]) / what
    return path.read_text().splitlines() if path.exists() else []
