"""Records the outcome of each test; a unit test checks that each was run and passed."""

from collections.abc import Generator
from typing import Final

import pytest

from tests.alerts import results

RUN: Final = pytest.StashKey[dict[str, str]]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep the worst outcome of each test's phases."""
    report = yield
    run = item.config.stash.setdefault(RUN, {})
    if run.get(item.name, "passed") == "passed":
        run[item.name] = report.outcome
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Record the outcomes of the tests that have run."""
    if run := session.config.stash.get(RUN, {}):
        results.record(run)
