"""CloudNativePG 1.25.0, in its own cluster: it keeps what it read about a plugin until it exits.

It finds new plugins by itself, as every version does; a changed endpoint needs one restart, and
only this proves it: a Cluster that is reconciled with the plugin.
"""

import os
from collections.abc import Iterator

import pytest

from tests.cluster import Cluster, builds
from tests.cluster.errors import ClusterError
from tests.problems import results
from tests.problems.rows import ROWS
from tests.problems.world import World
from tests.support import wait
from tests.support.e2e.api import Api
from tests.support.e2e.installation import VALUES, image_key, install_chart, install_operator
from tests.support.e2e.operator import Operator, Request
from tests.support.e2e.plugins import LABEL, Plugins, collection
from tests.support.e2e.sidecars import Heartbeat
from tests.support.resources import (
    IMAGE_VERSION,
    NEWER_IMAGE,
    NEWER_IMAGE_VERSION,
    Manifest,
    plugin,
    plugin_name,
    postgres,
    service,
)
from tests.support.thorough import THOROUGH

pytestmark = pytest.mark.cnpg("old")

CLUSTER = (os.environ.get("CNPGP_TEST_CLUSTER") or "test") + "-old"
VERSION = builds.OLDER_CNPG
CNPG = "cnpg-controller-manager"
MINUTE = 60.0
SETTLE = {**VALUES["restart"], "settle": "10s"}
"""The chart's own settle time: a change that is reverted within it costs no restart."""


@pytest.fixture(scope="module")
def old_operator() -> Iterator[Operator]:
    """The operator and a CloudNativePG 1.25.0; the cluster is deleted with the module."""
    cluster = Cluster(CLUSTER)
    try:
        cluster.down()  # Leftovers of a killed run.
        cluster.up(VERSION)
        install_operator(cluster)
    except ClusterError as error:
        pytest.fail(f"no cluster with CloudNativePG {VERSION}: {error}")
    api = Api(cluster)
    yield Operator(cluster, api)
    api.close()
    cluster.down()


@pytest.fixture
def old_plugins(old_operator: Operator) -> Iterator[Plugins]:
    own = Plugins(old_operator)
    yield own
    own.clean_up()


def rolls(plugins: Plugins) -> int:
    """The number of changes of CloudNativePG's Deployment."""
    generation: int = plugins.get("Deployment", CNPG)["metadata"]["generation"]
    return generation


def user(cluster: str, name: str) -> Manifest:
    """A Cluster that names the plugin; its pods cannot start, which does not matter."""
    return postgres(cluster, plugin_name(name), imageName="localhost/none:17")


def test_a_new_plugin_needs_no_restart(old_plugins: Plugins) -> None:
    name = "elder"
    before = rolls(old_plugins)
    old_plugins.apply(plugin(name))
    old_plugins.until_ready(name)
    assert old_plugins.condition(name, "Registered")["reason"] == "Announced"
    assert old_plugins.plugin(name)["status"]["cnpg"]["version"] == VERSION

    old_plugins.apply(user("e2e-elder", name))
    old_plugins.until_reported(name, "e2e-elder", IMAGE_VERSION, within=MINUTE)
    assert rolls(old_plugins) == before


def test_a_cluster_uses_a_changed_port_after_exactly_one_restart(
    old_operator: Operator, old_plugins: Plugins
) -> None:
    name = "moving"
    old_plugins.apply(plugin(name))
    old_plugins.until_ready(name)
    before = rolls(old_plugins)
    old_plugins.patch(name, port=9443)
    pending = old_plugins.until_condition(name, "Registered", "RestartPending", within=30)
    assert f"version {VERSION} keeps the previous connection" in pending["message"]

    old_plugins.until_ready(name, within=2 * MINUTE)
    assert rolls(old_plugins) == before + 1
    restart = old_plugins.plugin(name)["status"]["cnpg"]["lastRestart"]
    assert (restart["reason"], restart["attempts"]) == (name, 1)
    old_plugins.apply(user("e2e-moved", name))
    old_plugins.until_reported(name, "e2e-moved", IMAGE_VERSION, within=MINUTE)
    old_operator.writes_until_calm(old_operator.audit.mark())
    assert rolls(old_plugins) == before + 1


def test_restart_policy_never_reports_the_need_and_restarts_nothing(
    old_operator: Operator, old_plugins: Plugins
) -> None:
    name = "left-alone"
    row = next(each for each in ROWS if each.name == name)
    world = World(old_operator, old_plugins, row)
    old_plugins.apply(plugin(name, cnpg={"restartPolicy": "Never"}))
    old_plugins.until_ready(name)
    before = rolls(old_plugins)
    old_plugins.patch(name, port=9443)
    with results.recorded(row, kept=THOROUGH) as result:
        result.message = world.until_named()
        world.look(result)
        changed = "CloudNativePG was changed"
        old_plugins.never(changed, lambda: rolls(old_plugins) != before, of=name)
        # The advice of the message works.
        assert row.remedy in result.message
        world.run(row.remedy)
        result.lines["status once it is remedied"] = world.until_over()
    assert rolls(old_plugins) == before + 1


def test_a_recreated_plugin_needs_one_restart(old_plugins: Plugins) -> None:
    """CloudNativePG 1.25.0 keeps the previous one, whose certificates are no longer trusted."""
    name = "reborn"
    old_plugins.apply(plugin(name))
    old_plugins.until_ready(name)
    old_plugins.apply(user("e2e-reborn", name))
    old_plugins.until_reported(name, "e2e-reborn", IMAGE_VERSION, within=MINUTE)
    old_plugins.delete("Cluster", "e2e-reborn", "default")
    old_plugins.until_gone("Cluster", "e2e-reborn", within=30, namespace="default")
    old_plugins.remove(name)
    before = rolls(old_plugins)
    old_plugins.apply(plugin(name))
    old_plugins.until_condition(name, "Registered", "RestartPending", within=MINUTE)
    old_plugins.until_ready(name, within=2 * MINUTE)
    assert rolls(old_plugins) == before + 1
    old_plugins.apply(user("e2e-reborn", name))
    old_plugins.until_reported(name, "e2e-reborn", IMAGE_VERSION, within=MINUTE)


def test_a_newer_image_costs_at_most_one_restart_and_clusters_show_it(
    old_plugins: Plugins,
) -> None:
    name, cluster = "upgraded", "e2e-upgraded"
    old_plugins.apply(plugin(name), user(cluster, name))
    old_plugins.until_ready(name)
    old_plugins.until_reported(name, cluster, IMAGE_VERSION, within=MINUTE)
    before = rolls(old_plugins)
    old_plugins.patch(name, image=NEWER_IMAGE)
    old_plugins.until_reported(name, cluster, NEWER_IMAGE_VERSION, within=3 * MINUTE)
    old_plugins.until_ready(name, within=MINUTE)
    assert rolls(old_plugins) <= before + 1
    wait.until(
        "no Cluster is behind any more",
        lambda: "outdated" not in old_plugins.plugin(name)["status"]["clusters"],
        within=MINUTE,
        explain=lambda: old_plugins.explain(name),
    )


@pytest.fixture(scope="module")
def patient(old_operator: Operator) -> None:
    """For the last tests of the module, the operator settles, and may annotate Clusters."""
    install_chart(
        old_operator.cluster, image_key(), restart=SETTLE, clusterRefresh={"allowed": True}
    )


@pytest.mark.usefixtures("patient")
def test_a_cluster_is_nudged_once_for_a_newer_image_and_shows_it(
    old_operator: Operator, old_plugins: Plugins
) -> None:
    name, cluster = "nudging", "e2e-nudged"
    old_plugins.apply(plugin(name, cnpg={"clusterRefresh": "Annotate"}), user(cluster, name))
    old_plugins.until_ready(name)
    old_plugins.until_reported(name, cluster, IMAGE_VERSION, within=MINUTE)
    mark = old_operator.audit.mark()
    old_plugins.patch(name, image=NEWER_IMAGE)
    old_plugins.until_reported(name, cluster, NEWER_IMAGE_VERSION, within=2 * MINUTE)
    # CloudNativePG reconciles a blocked Cluster by itself, so that one is not nudged; and it keeps
    # this phase while no pod of the Cluster runs.
    phase = {"status": {"phase": "Cluster in healthy state", "phaseReason": ""}}
    old_plugins.api.patch(f"{collection('Cluster', 'default')}/{cluster}/status", phase)

    def nudged() -> bool:
        found = old_plugins.get("Cluster", cluster, "default")["metadata"]
        announced = old_plugins.get("Service", name)["metadata"]["annotations"]
        revision = (found.get("annotations") or {}).get(f"cnpgplugin.dev/nudged-{name}")
        return bool(revision == announced["cnpgplugin.dev/revision"])

    wait.until(
        "the Cluster is nudged",
        nudged,
        within=MINUTE,
        explain=lambda: old_plugins.explain(name),
    )
    old_plugins.until_reported(name, cluster, NEWER_IMAGE_VERSION, within=MINUTE)
    writes = old_operator.writes_until_calm(mark)
    assert writes.count(Request("patch", "clusters", cluster)) == 1


@pytest.mark.usefixtures("patient")
def test_a_temporary_second_service_costs_nothing(
    old_operator: Operator, old_plugins: Plugins
) -> None:
    """CloudNativePG 1.25.0 ignores both another Service with the plugin's name and its deletion."""
    name, cluster = "rivalled", "e2e-rivalled"
    old_plugins.apply(plugin(name), user(cluster, name))
    old_plugins.until_ready(name)
    old_plugins.until_reported(name, cluster, IMAGE_VERSION, within=MINUTE)
    own, before = old_plugins.get("Service", name)["metadata"], rolls(old_plugins)
    second = service(f"{name}-second", labels={LABEL: plugin_name(name)})
    second["metadata"]["annotations"] = {
        key: value for key, value in own["annotations"].items() if key.startswith("cnpg.io/")
    }
    with Heartbeat(old_plugins.api, cluster) as heart:
        for _ in range(3):
            old_plugins.apply(second)
            old_plugins.until_condition(name, "Accepted", "NameConflict", within=15)
            old_plugins.delete("Service", f"{name}-second")
            old_plugins.until_gone("Service", f"{name}-second", within=15)
        old_plugins.until_ready(name, within=30)
        wait.until("the Cluster is reconciled", heart.beating, within=30)
    old_operator.writes_until_calm(old_operator.audit.mark())
    assert rolls(old_plugins) == before
