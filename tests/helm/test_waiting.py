"""Helm 4 waits until a plugin is Ready, and stops where only a person can help.

A chart contains a plugin in each state, on a real API server. No operator runs, for the states must
stay as they are.
"""

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.cluster import Cluster
from tests.helm import helm_4
from tests.support.e2e import live_states
from tests.support.e2e.api import Api
from tests.support.e2e.installation import apply_crd, stop_operator
from tests.support.unit.stage.readings import READINGS, Reading

NAMESPACE: Final = "e2e-helm"
TIMEOUT: Final = 10
CHART: Final = {"apiVersion": "v2", "name": "plugin", "version": "1.0.0"}


@pytest.fixture(scope="module")
def stopped(cluster: Cluster, api: Api) -> Iterator[Api]:
    """A cluster whose operator does not run."""
    stop_operator(cluster)
    apply_crd(cluster)
    with live_states.namespace(cluster, api, NAMESPACE):
        yield api


@pytest.mark.parametrize("reading", READINGS, ids=str)
def test_helm_4_waits_as_the_state_says(
    cluster: Cluster, stopped: Api, tmp_path: Path, reading: Reading
) -> None:
    body = asyncio.run(live_states.build(reading))
    templates = tmp_path / "templates"
    templates.mkdir()
    manifest = live_states.manifest(reading, body, NAMESPACE)
    (tmp_path / "Chart.yaml").write_text(json.dumps(CHART))
    (templates / "plugin.yaml").write_text(json.dumps(manifest))
    release = ("upgrade", "--install", reading.name, str(tmp_path), f"--namespace={NAMESPACE}")

    installed = helm_4.run(cluster, *release)
    assert installed.returncode == 0, installed.stderr
    live_states.report(stopped, reading, body, NAMESPACE)
    begun = time.monotonic()
    done = helm_4.run(cluster, *release, "--wait", f"--timeout={TIMEOUT}s")
    took = time.monotonic() - begun

    expired = "context deadline exceeded" in done.stderr
    ends = "succeeds" if done.returncode == 0 else "waits" if expired else "fails"
    assert ends == reading.helm, done.stderr
    assert expired == (took >= TIMEOUT), "what ends at once is not waited for"
