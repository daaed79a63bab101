from typing import Any

import pytest

from cnpg_plugin_operator.decide.facts.cnpg_versions import parse_version, version_of


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
