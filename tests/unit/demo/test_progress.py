"""What a newcomer reads while programs are built."""

import pytest

from tests.cluster import builds
from tests.cluster.progress import compare


@pytest.mark.parametrize(
    ("seconds", "estimate", "says"),
    [
        (40.4, 240, "40 s of about 240 s"),
        (300.0, 240, "300 s, longer than the usual 240 s"),
        (40.0, 0, "40 s so far"),
    ],
)
def test_progress_is_told_beside_the_estimate(seconds: float, estimate: float, says: str) -> None:
    assert compare(seconds, estimate) == says


def test_the_first_start_takes_as_long_as_the_readme_says() -> None:
    programs = [builds.kubernetes("1.34.3"), *builds.NODE_PROGRAMS, builds.CERT_MANAGER]
    programs += [builds.cnpg("1.30.0"), *map(builds.sample_plugin, builds.SAMPLE_VERSIONS)]
    assert 8 * 60 <= sum(map(builds.estimate, programs)) <= 12 * 60
