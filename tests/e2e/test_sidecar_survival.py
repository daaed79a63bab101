"""Sidecars survive changes of CloudNativePG's Deployment, or report who removed them.

Applying CloudNativePG's manifest again keeps what it does not name; replacing the Deployment
removes the sidecars, and they are restored, but not forever.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.cluster.errors import fails
from tests.support import wait
from tests.support.e2e.api import Object
from tests.support.e2e.cnpg_install import installed_by_helm, manifest_objects
from tests.support.e2e.operator import Operator
from tests.support.e2e.plugins import Plugins
from tests.support.e2e.rolls import CNPG
from tests.support.e2e.sidecars import (
    MINUTE,
    PATH,
    WHERE,
    Host,
    pods,
    sidecar,
    template,
    until_ready,
    until_rolled,
    until_template,
)
from tests.support.resources import IMAGE_VERSION, Manifest, plugin_name, postgres

pytestmark = pytest.mark.cnpg("sidecars")

ONE, OTHER = "outlive-a", "outlive-b"
USER = "e2e-outlive"
LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"


@pytest.fixture(scope="module")
def original(leaving_cnpg_as_found: None, operator: Operator) -> Object:
    """The pod template without any sidecar."""
    return template(operator.api)


@pytest.fixture(scope="module")
def pair(original: Object, module_plugins: Plugins) -> Iterator[Plugins]:
    """Two sidecars, Ready, that a Cluster uses."""
    users = (plugin_name(ONE), plugin_name(OTHER))
    module_plugins.apply(
        sidecar(ONE), sidecar(OTHER), postgres(USER, *users, imageName="localhost/none:17")
    )
    until_serving(module_plugins)
    yield module_plugins
    module_plugins.clean_up()
    until_template(module_plugins, original)
    until_rolled(module_plugins)


def until_serving(plugins: Plugins) -> None:
    """Wait until both are Ready and a Cluster that is created now can use them."""
    until_ready(plugins, ONE, OTHER, within=2 * MINUTE)
    for name in (ONE, OTHER):
        plugins.until_reported(name, USER, IMAGE_VERSION, within=MINUTE)


def test_sidecars_survive_helm_upgrades_and_rollbacks(
    operator: Operator, plugins: Plugins, original: Object
) -> None:
    name, cluster, release = "under-helm", operator.cluster, "cnpg"
    where = (*WHERE, "--wait", "--timeout", "300s")
    with installed_by_helm(cluster, release, {}) as chart:
        path = f"{PATH.removesuffix(CNPG)}cnpg-cloudnative-pg"
        bare = plugins.api.get(path)["spec"]["template"]
        plugins.apply(sidecar(name))
        until_ready(plugins, name)
        generation = plugins.api.get(path)["metadata"]["generation"]

        cluster.helm("upgrade", release, str(chart), *where)
        assert plugins.api.get(path)["metadata"]["generation"] == generation, "nothing changed"
        _change(chart)
        cluster.helm("upgrade", release, str(chart), *where)
        until_ready(plugins, name)
        assert plugins.api.get(path)["metadata"]["generation"] == generation + 1, "the upgrade's"
        plugins.patch(name, resources={"requests": {"cpu": "5m"}})
        until_ready(plugins, name)
        cluster.helm("rollback", release, "1", *where)
        until_ready(plugins, name)
        assert plugins.api.get(path)["metadata"]["generation"] == generation + 3
        plugins.remove(name)
        assert plugins.api.get(path)["spec"]["template"] == bare
    until_template(plugins, original)


def _change(chart: Path) -> None:
    """Make the chart another version, by a change of the pod template."""
    file = chart / "manifest.json"
    objects = json.loads(file.read_text())
    (deployment,) = (each for each in objects if each["kind"] == "Deployment")
    deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 11
    file.write_text(json.dumps(objects))


def test_applying_the_manifest_again_changes_nothing(
    operator: Operator, pair: Plugins, host: Host
) -> None:
    manifest = json.dumps(manifested())
    for _ in range(2):  # the second one knows what the first one applied
        pair.kubectl("apply", "-f", "-", input=manifest)
    pair.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", input=manifest)
    operator.writes_until_calm(operator.audit.mark())
    pair.kubectl("annotate", "deployment", CNPG, *WHERE, f"{LAST_APPLIED}-")
    until_serving(pair)
    assert host.rolls == 0


def manifested() -> Object:
    """The Deployment of CloudNativePG's manifest."""
    (found,) = (each for each in manifest_objects() if each["kind"] == "Deployment")
    return found


def replace(plugins: Plugins) -> None:
    """Replace the Deployment with the manifest's."""
    plugins.kubectl("replace", "-f", "-", input=json.dumps(manifested()))


def is_admitted(plugins: Plugins, cluster: Manifest) -> bool:
    """Whether CloudNativePG's webhook answers: its endpoints follow a new pod with a delay."""
    applying, body = ("apply", "--dry-run=server", "-f", "-"), json.dumps(cluster)
    return not fails("failed calling webhook", lambda: plugins.kubectl(*applying, input=body))


def test_cloudnativepg_restarts_by_itself_while_the_operator_is_down(
    operator: Operator, pair: Plugins, host: Host
) -> None:
    scale = ("scale", f"deployment/{operator.deployment}", "--namespace", operator.namespace)
    pair.kubectl(*scale, "--replicas=0")
    previous = {pod["metadata"]["name"] for pod in pods(pair.api)}
    pair.kubectl("delete", "pods", *previous, *WHERE, "--force", "--grace-period=0")
    try:
        until_rolled(pair)
        # It calls them: a Cluster that is created now shows both.
        cluster = "e2e-outlive-later"
        users = (plugin_name(ONE), plugin_name(OTHER))
        later = postgres(cluster, *users, imageName="localhost/none:17")
        wait.until("the webhook answers", lambda: is_admitted(pair, later), within=MINUTE)
        pair.apply(later)
        for name in (ONE, OTHER):
            pair.until_reported(name, cluster, IMAGE_VERSION, within=MINUTE)
    finally:
        pair.kubectl(*scale, "--replicas=1")
    operator.pod()
    until_serving(pair)
    operator.writes_until_calm(operator.audit.mark())
    until_ready(pair, ONE, OTHER, within=1)
    assert host.rolls == 0


def test_sidecars_are_restored_until_the_deployment_was_replaced_three_times(
    operator: Operator, pair: Plugins, host: Host
) -> None:
    for times in (1, 2):
        replace(pair)
        wait.until("they are back", lambda n=2 * times: host.rolls == n, within=MINUTE)  # type: ignore[misc]
        until_serving(pair)
        until_rolled(pair)
        assert host.rolls == 2 * times, "one by the replacement, one by the operator"
    replace(pair)
    for name in (ONE, OTHER):
        found = pair.until_condition(name, "Available", "SidecarReverted", within=MINUTE)
        assert "3 times (kubectl" in found["message"], "and by whom"
    until_rolled(pair)
    operator.writes_until_calm(operator.audit.mark())
    assert host.rolls == 5

    # The advice of the message works.
    for name in (ONE, OTHER):
        pair.patch(name, resources={"requests": {"cpu": "5m"}})
    until_serving(pair)
    assert host.rolls == 6
