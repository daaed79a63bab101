"""The cluster's programs use the same versions of the libraries that they share."""

import pytest

from tests.cluster.builds import Program
from tests.cluster.libraries import FOLLOWERS, LEADER, find_deviations, read_versions

CLIENT = "k8s.io/client-go"


@pytest.mark.parametrize("program", FOLLOWERS, ids=lambda program: program.name)
def test_a_program_shares_the_libraries_of_cloudnative_pg(program: Program) -> None:
    assert CLIENT in read_versions(program.module)
    assert list(find_deviations(program)) == [], "run `python3 -m tests.cluster align`"


def test_cloudnative_pg_keeps_the_libraries_of_its_release() -> None:
    assert "replace" not in (LEADER.module / "go.mod").read_text()
