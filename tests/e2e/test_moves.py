"""A plugin that a Cluster uses changes its mode repeatedly, on a slow and busy machine.

Each of the operator's requests takes seconds longer, and two processes keep the machine busy,
unless other clusters do: no step of a mode change may depend on timing.
"""

import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support import wait
from tests.support.e2e.api import Recorder
from tests.support.e2e.operator import Operator
from tests.support.e2e.plugins import Plugins, collection
from tests.support.e2e.sidecars import Heartbeat, pods, template, until_rolled
from tests.support.e2e.slow_api import slowed_down
from tests.support.resources import IMAGE_VERSION, plugin, plugin_name, postgres
from tests.support.thorough import times

pytestmark = pytest.mark.cnpg("sidecars")

NAME, CLUSTER = "wanderer", "e2e-wanderer"
MOVES = times(20, 2)
SLOWNESS = times(30, 3) / 10
"""Seconds; with three, a pass takes half a minute."""

MOVED_WITHIN = 60 + 220 * SLOWNESS

NOT_RECONCILED = 15.0
"""Seconds for which a mode change may stop a Cluster. A new leader of CloudNativePG knows no
Service at its start and asks again after ten."""


@pytest.fixture
def slow(operator: Operator) -> Iterator[None]:
    """The operator with short intervals and a slow API server."""
    restart = {"cooldown": "1s", "settle": "1s", "settleMax": "2m"}
    with slowed_down(operator.cluster, SLOWNESS, restart=restart, sidecars={"deadline": "15s"}):
        yield


@contextmanager
def busy_machine() -> Iterator[None]:
    """Two processes that only use CPU time, each half of the time."""
    stop = multiprocessing.get_context("spawn").Event()
    workers = [
        multiprocessing.get_context("spawn").Process(target=_work, args=(stop,))
        for _ in range(0 if wait.BESIDE_OTHERS else 2)
    ]
    for worker in workers:
        worker.start()
    try:
        yield
    finally:
        stop.set()
        for worker in workers:
            worker.join(10)


def _work(stop: "multiprocessing.synchronize.Event") -> None:
    while not stop.wait(0.05):
        until = time.monotonic() + 0.05
        while time.monotonic() < until:
            pass


def is_moved(plugins: Plugins, mode: str) -> bool:
    """Whether the plugin is reachable in exactly one of the two ways."""
    has_sidecar = "initContainers" in template(plugins.api)["spec"]
    service, deployment = plugins.find("Service", NAME), plugins.find("Deployment", NAME)
    if mode == "Sidecar":
        return has_sidecar and service is None and deployment is None
    return not has_sidecar and plugins.labelled(NAME) and len(pods(plugins.api)) == 1


def test_the_cluster_is_reconciled_during_all_mode_changes(plugins: Plugins, slow: None) -> None:
    plugins.apply(plugin(NAME), postgres(CLUSTER, plugin_name(NAME), imageName="localhost/none:17"))
    plugins.until_ready(NAME, within=MOVED_WITHIN)
    plugins.until_reported(NAME, CLUSTER, IMAGE_VERSION, within=60)
    reported = []
    with busy_machine():
        for number in range(MOVES):
            mode = "Standalone" if number % 2 else "Sidecar"
            # One watch for each move: the API server ends a watch after half an hour or more.
            clusters = Recorder(plugins.api, collection("Cluster", "default"))
            with clusters, Heartbeat(plugins.api, CLUSTER) as heart:
                wait.until("the Cluster is reconciled", heart.beating, within=60)
                began = time.monotonic()
                plugins.patch(NAME, mode=mode)
                wait.until(
                    f"the plugin is {mode}",
                    lambda mode=mode: is_moved(plugins, mode),  # type: ignore[misc]
                    within=MOVED_WITHIN,
                    explain=lambda: plugins.explain(NAME),
                    pause=1,
                )
                until_rolled(plugins)
                plugins.until_ready(NAME, within=MOVED_WITHIN)
                wait.until("the Cluster is reconciled", heart.beating, within=60)
                pause, took = heart.longest_pause(), time.monotonic() - began
                statuses = [c.object.get("status") or {} for c in clusters.of(CLUSTER)]
            reported.append(f"{mode} after {took:.0f} s, not reconciled for {pause:.1f} s")
            print(reported[-1], flush=True)
            assert pause < NOT_RECONCILED * wait.PATIENCE, reported
            lost = [s for s in statuses if plugin_name(NAME) not in str(s.get("pluginStatus"))]
            assert lost == [], "the Cluster reports the plugin all the time"
