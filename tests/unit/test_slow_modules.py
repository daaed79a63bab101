"""The list of slow unit tests names only what exists, and `make unit` leaves all of it out."""

import pytest

from tests.unit.conftest import HERE, SLOW, is_slow


def test_all_slow_tests_exist() -> None:
    assert [name for name in SLOW if not (HERE / name).exists()] == []


@pytest.mark.parametrize(
    ("path", "slow"),
    [
        ("chart", True),
        ("chart/test_rights.py", True),
        ("reconcile", False),
        ("reconcile/test_passes.py", True),
        ("reconcile/test_plans.py", False),
        ("test_slow_modules.py", False),
    ],
)
def test_a_module_is_slow_by_its_name_or_its_folder(path: str, *, slow: bool) -> None:
    assert is_slow(HERE / path) is slow
