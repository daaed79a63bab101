"""Helm 4 upgrades an operator that Helm 3 installed, tests it, removes it, and installs it."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import Cluster
from tests.helm import helm_4
from tests.support.e2e.api import Api
from tests.support.e2e.installation import (
    CHART,
    OPERATOR_NAMESPACE,
    RELEASE,
    VALUES,
    install_operator,
)
from tests.support.e2e.operator import Operator
from tests.support.e2e.plugins import Plugins
from tests.support.resources import NAMESPACE, plugin

WHERE = f"--namespace={OPERATOR_NAMESPACE}"


@pytest.fixture
def plugins(cluster: Cluster, api: Api) -> Iterator[Plugins]:
    """An operator that Helm 3 has installed; at the end it has again."""
    install_operator(cluster)
    found = Plugins(Operator(cluster, api))
    yield found
    install_operator(cluster)
    found.clean_up()


def helm(cluster: Cluster, *arguments: str) -> str:
    done = helm_4.run(cluster, *arguments)
    assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_helm_4_upgrades_tests_removes_and_installs_the_operator(
    cluster: Cluster, plugins: Plugins, tmp_path: Path
) -> None:
    own = plugin("of-the-chart")
    values = tmp_path / "values.json"
    listed = {"name": "of-the-chart", "namespace": NAMESPACE, "spec": own["spec"]}
    values.write_text(json.dumps({**VALUES, "plugins": [listed]}))
    plugins.made["CNPGPlugin", NAMESPACE, "of-the-chart"] = None
    install = (
        *("upgrade", "--install", RELEASE, str(CHART), WHERE, f"--values={values}"),
        *("--wait", "--timeout=300s"),
    )
    # Helm 4 waits for the plugin, too: a custom resource has a state.
    helm(cluster, *install)
    plugins.until_ready("of-the-chart", within=5)
    helm(cluster, "test", RELEASE, WHERE, "--timeout=300s")

    helm(cluster, "uninstall", RELEASE, WHERE, "--wait", "--timeout=300s")
    plugins.until_ready("of-the-chart", within=5)
    helm(cluster, *install)
    plugins.until_ready("of-the-chart", within=5)
    helm(cluster, "test", RELEASE, WHERE, "--timeout=300s")
    helm(cluster, "uninstall", RELEASE, WHERE, "--wait", "--timeout=300s")
