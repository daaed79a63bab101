"""Another Service has a plugin's name for a while; CloudNativePG keeps one entry per name.

A deletion of the other one makes CloudNativePG 1.30.0 drop the plugin; if only its label changes,
CloudNativePG keeps dialing it. The plugin's own Service is touched, and Clusters are reconciled.
"""

from collections.abc import Iterator

import pytest

from tests.support import wait
from tests.support.e2e.api import Object
from tests.support.e2e.damage import second_service
from tests.support.e2e.operator import Operator
from tests.support.e2e.plugins import LABEL, Plugins, collection
from tests.support.e2e.sidecars import Heartbeat
from tests.support.resources import (
    IMAGE_VERSION,
    NAMESPACE,
    plugin,
    plugin_name,
    postgres,
)

pytestmark = pytest.mark.cnpg("untouched")

NAME, CLUSTER, OTHER = "rivalled", "e2e-rivalled", "rivalled-previous"
NO_GAP = 5.0
"""Seconds between two undisturbed reconciles; the test requests two per second."""

RECONCILED_WITHIN = 25.0
"""Seconds until a blocked Cluster is reconciled: CloudNativePG retries every ten."""


@pytest.fixture(scope="module")
def used(module_plugins: Plugins) -> Plugins:
    """A Ready plugin that a Cluster uses."""
    module_plugins.apply(
        plugin(NAME), postgres(CLUSTER, plugin_name(NAME), imageName="localhost/none:17")
    )
    module_plugins.until_ready(NAME)
    module_plugins.until_reported(NAME, CLUSTER, IMAGE_VERSION, within=60)
    return module_plugins


@pytest.fixture
def heart(used: Plugins) -> Iterator[Heartbeat]:
    """Shows when the Cluster is reconciled."""
    with Heartbeat(used.api, CLUSTER) as beating:
        wait.until("the Cluster is reconciled", beating.beating, within=60)
        yield beating


def until_conflict(plugins: Plugins) -> str:
    found = plugins.until_condition(NAME, "Accepted", "NameConflict", within=15)
    return str(found["message"])


def until_registered(plugins: Plugins) -> Object:
    """Wait until CloudNativePG has taken the other Service."""

    def taken() -> Object | None:
        found = plugins.api.list(collection("Event"), fieldSelector=f"involvedObject.name={OTHER}")
        live = plugins.get("Service", OTHER)["metadata"]["uid"]
        mine = [e for e in found if e["involvedObject"]["uid"] == live]
        return next((e for e in mine if e["reason"] == "PluginRegistered"), None)

    return wait.until("the other Service is registered", taken, within=15)


def until_reconciled(plugins: Plugins, heart: Heartbeat) -> None:
    plugins.until_ready(NAME, within=RECONCILED_WITHIN)
    wait.until(
        "the Cluster is reconciled",
        heart.beating,
        within=RECONCILED_WITHIN,
        explain=lambda: (
            f"{plugins.get('Cluster', CLUSTER, 'default').get('status')}\n{plugins.explain(NAME)}"
        ),
    )


def test_the_cluster_is_reconciled_although_a_second_service_comes_and_goes(
    used: Plugins, heart: Heartbeat
) -> None:
    for _ in range(3):
        used.apply(second_service(used, NAME, OTHER))
        message = until_conflict(used)
        assert f"Label {LABEL}={plugin_name(NAME)} of Service {NAMESPACE}/{OTHER}" in message
        until_registered(used)
        used.delete("Service", OTHER)
        used.until_gone("Service", OTHER, within=15)
    until_reconciled(used, heart)


def test_a_second_service_is_deleted_while_the_operator_is_down(
    operator: Operator, used: Plugins, heart: Heartbeat
) -> None:
    used.apply(second_service(used, NAME, OTHER))
    until_conflict(used)
    until_registered(used)
    with operator.paused():
        used.delete("Service", OTHER)
        used.until_gone("Service", OTHER, within=15)
    operator.kill()
    operator.pod()
    until_reconciled(used, heart)


def test_a_second_service_comes_and_goes_while_the_operator_is_paused(
    operator: Operator, used: Plugins, heart: Heartbeat
) -> None:
    with operator.paused():
        used.apply(second_service(used, NAME, OTHER))
        until_registered(used)
        used.delete("Service", OTHER)
        used.until_gone("Service", OTHER, within=15)
    operator.kill()
    operator.pod()
    until_reconciled(used, heart)


def test_a_plugin_moves_to_another_service_as_the_message_says_without_a_gap(used: Plugins) -> None:
    with Heartbeat(used.api, CLUSTER) as heart:
        wait.until("the Cluster is reconciled", heart.beating, within=60)
        used.apply(second_service(used, NAME, OTHER, working=True))
        until_registered(used)
        hand_over(used)
        until_reconciled(used, heart)
        assert heart.longest_pause() < NO_GAP


def test_cloudnativepg_dials_the_plugins_own_service_again_once_it_has_taken_over(
    used: Plugins, heart: Heartbeat
) -> None:
    used.apply(second_service(used, NAME, OTHER))
    until_registered(used)
    hand_over(used)
    until_reconciled(used, heart)


def hand_over(plugins: Plugins) -> None:
    """Do what the message says, and delete what is left then."""
    assert f"set spec.takeOver.serviceName to {OTHER};" in until_conflict(plugins)
    plugins.patch(NAME, takeOver={"serviceName": OTHER})
    plugins.until_ready(NAME, within=RECONCILED_WITHIN)
    plugins.delete("Service", OTHER)
    plugins.until_gone("Service", OTHER, within=15)
    plugins.patch(NAME, takeOver=None)
