from typing import Any

import pytest

from cnpg_plugin_operator.decide.facts.cnpg_versions import (
    RANGES,
    Fact,
    applies,
    parse_version,
    removes_finalizer,
    version_of,
)


def deployment(image: str | None, label: str | None = None, **env: str | None) -> dict[str, Any]:
    manager = {
        "name": "manager",
        "image": image,
        "env": [{"name": name, "value": value} for name, value in env.items()],
    }
    labels = {"app.kubernetes.io/version": label} if label else {}
    return {
        "metadata": {"labels": labels},
        "spec": {"template": {"spec": {"containers": [{"name": "proxy"}, manager]}}},
    }


@pytest.mark.parametrize(
    ("body", "version"),
    [
        pytest.param(deployment("ghcr.io/cnpg/cnpg:1.30.0"), "1.30.0", id="a tag"),
        pytest.param(deployment("cnpg:v1.25.2-debian"), "1.25.2", id="a tag with more around"),
        pytest.param(deployment("r:5000/cnpg@sha256:00"), "", id="a digest and a port"),
        pytest.param(
            deployment("r/cnpg@sha256:00", OPERATOR_IMAGE_NAME="r/cnpg:1.29.1"), "1.29.1",
            id="a digest, but the environment names the tag",
        ),
        pytest.param(deployment("r/cnpg:main", label="1.28.0"), "1.28.0", id="the chart's label"),
        pytest.param(
            deployment("r/cnpg:1.29.0", label="1.28.0"), "1.29.0",
            id="the image overrides the chart's label",
        ),
        pytest.param(deployment("r/cnpg:main"), "", id="nothing that says it"),
        pytest.param(deployment(None), "", id="no image"),
        pytest.param({"metadata": {}, "spec": {}}, "", id="no pod template"),
    ],
)  # fmt: skip
def test_the_version_is_found_in(body: dict[str, Any], version: str) -> None:
    assert version_of(body) == version


def test_an_unknown_version_counts_as_unknown() -> None:
    assert parse_version("") is None
    assert parse_version("1.30.0") == (1, 30, 0)


F = Fact
KEEPING = {F.DISCOVERS}
REREGISTERING = {F.DISCOVERS, F.REREGISTERS}
NAMING = {*REREGISTERING, F.READS_SERVER_NAME}
FOLLOWING = {*NAMING, F.FOLLOWS_ROLLOUTS, F.DIALS_NAMESPACE}
FINALIZING = {*NAMING, F.REPORTS_EVENTS, F.ADDS_FINALIZER}
REMEMBERING = {*FOLLOWING, F.REPORTS_EVENTS, F.REMEMBERS_SERVICES}


@pytest.mark.parametrize(
    ("version", "facts"),
    [
        ("1.23.6", set()),
        ("1.24.0", KEEPING),
        ("1.24.3", KEEPING),
        ("1.24.4", REREGISTERING),
        ("1.25.0", KEEPING),
        ("1.25.1", KEEPING),
        ("1.25.2", REREGISTERING),
        ("1.26.2", REREGISTERING),
        ("1.26.3", NAMING),
        ("1.27.1", REREGISTERING),
        ("1.27.2", NAMING),
        ("1.28.2", NAMING),
        ("1.28.4", FOLLOWING),
        ("1.29.1", FINALIZING),
        ("1.29.2", {*FINALIZING, *FOLLOWING}),
        ("1.29.3", REMEMBERING),
        ("1.30.0", {*FINALIZING, *FOLLOWING}),
        ("1.30.1", REMEMBERING),
        ("2.0.0", REMEMBERING),
    ],
)
def test_each_version_does_exactly_this(version: str, facts: set[Fact]) -> None:
    parsed = parse_version(version)
    assert parsed is not None
    assert {fact for fact in Fact if applies(fact, parsed)} == facts
    assert removes_finalizer(parsed) == (parsed >= (1, 29, 0))


def test_ranges_are_in_order_and_do_not_overlap() -> None:
    for ranges in RANGES.values():
        borders = [border for each in ranges for border in each]
        assert borders == sorted(set(borders))
