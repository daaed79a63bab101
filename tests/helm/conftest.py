"""Records the outcome of each test; a unit test checks that each value set was run and passed."""

from tests.support.outcomes import pytest_runtest_makereport, pytest_sessionfinish

__all__ = ["pytest_runtest_makereport", "pytest_sessionfinish"]
