"""Records the outcome of each test; a unit test checks that each was run and passed."""

from collections.abc import Generator
from pathlib import Path

import pytest

from tests.support import outcomes


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep the outcome."""
    report = yield
    outcomes.keep(item, report)
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Record the outcomes of the tests that have run."""
    outcomes.record(session, Path(__file__).parent)
