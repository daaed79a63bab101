"""A plugin that was deployed by hand is taken over, and no call and no Cluster notices.

Two installations, called four times a second with CloudNativePG's rules while a Cluster names each,
are taken over concurrently: one keeps its Service, the other gets a new one.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.support import wait
from tests.support.e2e.operator import Operator
from tests.support.e2e.phases import Phases
from tests.support.e2e.plugins import LABEL, Plugins, collection
from tests.support.e2e.previous import installation, remaining
from tests.support.e2e.probe import Calls, Probe
from tests.support.e2e.probe_calls import PLUGIN
from tests.support.e2e.rolls import observe
from tests.support.resources import (
    IMAGE_VERSION,
    NAMESPACE,
    Manifest,
    plugin,
    plugin_name,
    postgres,
)

pytestmark = [pytest.mark.cnpg("untouched"), pytest.mark.long]

RECONCILES = 20
"""Reconciles of the Clusters during the take-overs, at least; the test requests two per second."""


@dataclass(frozen=True)
class Lane:
    """One take-over."""

    name: str
    """Name of the resource."""
    previous: str
    """Name of the previous Service."""
    service: str
    """Name of the plugin's own Service."""

    @property
    def other(self) -> bool:
        """Whether it is another one."""
        return self.previous != self.service

    @property
    def cluster(self) -> str:
        """Name of the Cluster that uses the plugin."""
        return f"e2e-{self.name}"

    @property
    def resource(self) -> Manifest:
        """The resource that takes over."""
        taking = {"serviceName": self.previous}
        return plugin(self.name, service={"name": self.service}, takeOver=taking)

    def __str__(self) -> str:
        return self.name


MOVED = Lane("taken-moved", "moved-by-hand", "taken-moved")
KEPT = Lane("taken-kept", "kept-by-hand", "kept-by-hand")
LANES = (MOVED, KEPT)


@dataclass
class Taken:
    """What was seen of all take-overs."""

    plugins: Plugins
    calls: dict[Lane, Calls]
    phases: Phases
    reconciles: int
    rolled: bool


def until_in_use(plugins: Plugins, lane: Lane) -> None:
    """Wait until the Cluster shows the plugin that was deployed by hand."""
    plugins.kubectl(
        "rollout", "status", f"deployment/{lane.previous}", "-n", NAMESPACE, "--timeout=120s"
    )
    plugins.until_reported(lane.name, lane.cluster, IMAGE_VERSION, within=60)


@pytest.fixture(scope="module")
def taken(
    operator: Operator, module_plugins: Plugins, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Taken]:
    """Both take-overs, and some time after them."""
    plugins = module_plugins
    for lane in LANES:
        plugins.apply(
            *installation(lane.previous, lane.name),
            postgres(lane.cluster, plugin_name(lane.name), imageName="localhost/none:17"),
        )
    for lane in LANES:
        until_in_use(plugins, lane)
    before = observe(operator.api)
    called = {lane: f"{PLUGIN}{plugin_name(lane.name)}" for lane in LANES}
    directory = tmp_path_factory.mktemp("probe")
    clusters = [lane.cluster for lane in LANES]
    with (
        Probe(operator.cluster, directory, list(called.values())) as probe,
        Phases(operator.cluster, operator.api, clusters) as phases,
    ):
        began, reconciles = probe.until_answered(*called.values()), phases.reconciles()
        plugins.apply(*(lane.resource for lane in LANES))
        plugins.until_ready(*(lane.name for lane in LANES), within=120)
        ended = probe.until_answered(*called.values(), calls=20)
        reconciles = phases.reconciles() - reconciles
        calls = {lane: probe.calls(name, began, ended) for lane, name in called.items()}
        for each in calls.values():
            print(each)
        rolled = observe(operator.api) != before
        yield Taken(plugins, calls, phases, reconciles, rolled)


@pytest.mark.parametrize("lane", LANES, ids=str)
def test_no_call_fails(taken: Taken, lane: Lane) -> None:
    calls = taken.calls[lane]
    assert calls.calls
    assert not calls.failed, str(calls)
    assert calls.clients == 2, "CloudNativePG presents the operator's pair in the end"


@pytest.mark.parametrize("lane", LANES, ids=str)
def test_the_cluster_is_reconciled_throughout_and_never_loses_the_plugin(
    taken: Taken, lane: Lane
) -> None:
    assert taken.reconciles >= RECONCILES
    assert taken.phases.errors(lane.cluster) == []
    reports = taken.phases.reports(lane.cluster)
    assert reports
    assert all(plugin_name(lane.name) in report for report in reports)


def test_cloudnativepg_is_not_rolled(taken: Taken) -> None:
    assert not taken.rolled


@pytest.mark.parametrize("lane", LANES, ids=str)
def test_the_plugins_own_pods_serve(taken: Taken, lane: Lane) -> None:
    service = taken.plugins.get("Service", lane.service)
    assert service["metadata"]["labels"][LABEL] == plugin_name(lane.name)
    assert service["spec"]["selector"] == {"cnpgplugin.dev/name": lane.name}
    assert taken.plugins.find("Service", f"{lane.name}-candidate") is None


@pytest.mark.parametrize("lane", LANES, ids=str)
def test_what_is_left_is_deleted_as_the_message_says_without_a_failed_call(
    operator: Operator,
    taken: Taken,
    lane: Lane,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    plugins = taken.plugins

    def left() -> set[tuple[str, str, str]]:
        objects = plugins.plugin(lane.name)["status"].get("takeOver", {}).get("objects", [])
        return {(each["kind"], each["namespace"], each["name"]) for each in objects}

    assert left() == remaining(lane.previous, other=lane.other)
    words = str(plugins.condition(lane.name, "Registered")["message"])
    command = words.partition("kubectl ")[2].split()
    called = f"{PLUGIN}{plugin_name(lane.name)}"
    with Probe(operator.cluster, tmp_path_factory.mktemp("probe"), [called]) as probe:
        began = probe.until_answered(called)
        plugins.kubectl(*command, "--timeout=30s")
        wait.until("nothing is left", lambda: not left(), within=90, explain=lambda: f"{left()}")
        calls = probe.calls(called, began, probe.until_answered(called))
    assert not calls.failed, str(calls)
    assert plugins.condition(lane.name, "Ready")["status"] == "True"
    assert taken.phases.errors(lane.cluster) == []


def test_without_the_field_the_message_names_it(plugins: Plugins) -> None:
    plugins.apply(*installation("refused-by-hand", "refused"), plugin("refused"))
    found = plugins.until_condition("refused", "Accepted", "NameConflict", within=30)
    assert "set spec.takeOver.serviceName to refused-by-hand" in found["message"]
    assert plugins.find("Deployment", "refused") is None
    assert plugins.api.find(f"{collection('Service')}/refused") is None
