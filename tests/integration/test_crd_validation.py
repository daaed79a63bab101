"""What the API server accepts as a CNPGPlugin, and how it refuses the rest."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.errors import ClusterError
from tests.integration.data.resource import (
    PUBLISHED,
    SAMPLES,
    installed,
    manifest,
    to_text,
)
from tests.support.crds import Kubectl

DATA = Path(__file__).parent / "data"
EVERY_SAMPLE = pytest.mark.parametrize(
    "sample", [*SAMPLES, *PUBLISHED], ids=lambda path: f"{path.parent.name}/{path.name}"
)


@pytest.fixture(scope="module")
def server(cluster: Kubectl) -> Iterator[Kubectl]:
    with installed(cluster) as ready:
        yield ready


def table(name: str) -> list[Any]:
    """The cases of a file, by their sentences."""
    cases = yaml.safe_load((DATA / name).read_text())
    return [pytest.param(case, id=case["it"]) for case in cases]


@pytest.mark.parametrize("case", table("crd_refused.yaml"))
def test_the_crd_refuses(server: Kubectl, case: dict[str, Any]) -> None:
    with pytest.raises(ClusterError) as refusal:
        server.kubectl("create", "--dry-run=server", "-f", "-", input=to_text(case))
    says = case["says"]
    for part in says if isinstance(says, list) else [says]:
        assert part in str(refusal.value)


@pytest.mark.parametrize("case", table("crd_accepted.yaml"))
def test_the_crd_accepts(server: Kubectl, case: dict[str, Any]) -> None:
    out = server.kubectl("create", "--dry-run=server", "-f", "-", input=to_text(case))
    assert f"cnpgplugin.cnpgplugin.dev/{manifest(case)['metadata']['name']} created" in out


@EVERY_SAMPLE
def test_samples_apply_unchanged(server: Kubectl, sample: Path) -> None:
    out = server.kubectl("apply", "--dry-run=server", "-f", str(sample))
    assert "cnpgplugin.cnpgplugin.dev/" in out


@EVERY_SAMPLE
def test_samples_apply_server_side(server: Kubectl, sample: Path) -> None:
    out = server.kubectl("apply", "--server-side", "--dry-run=server", "-f", str(sample))
    assert "serverside-applied" in out


def test_a_refusal_names_every_mistake_at_once(server: Kubectl) -> None:
    wrong = {
        "spec": {
            "pluginName": "Hello",
            "replicas": 1,
            "tls": {"duration": "1m"},
            "env": [{"name": "CNPG_PLUGIN_X", "value": "y"}],
        }
    }
    with pytest.raises(ClusterError) as refusal:
        server.kubectl("create", "--dry-run=server", "-f", "-", input=to_text(wrong))
    for part in ("must be a lower-case DNS name", "at least 1h", "CNPG_PLUGIN_ are reserved"):
        assert part in str(refusal.value)
