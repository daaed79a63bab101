import tracemalloc
from typing import Any

import pytest

from cnpg_plugin_operator import names
from cnpg_plugin_operator.cluster.clusters import (
    ClusterRecord,
    find_concerned,
    name_busy,
    project_cluster,
    read_clusters,
)
from cnpg_plugin_operator.decide.facts.cnpg import ClusterFacts

PLUGIN = "hello.example.org"


def cluster(
    phase: str = "Cluster in healthy state", reason: str = "", *plugins: str, **status: Any
) -> dict[str, Any]:
    return {
        "metadata": {
            "name": "db",
            "namespace": "app",
            "creationTimestamp": "2026-03-01T11:00:00Z",
            "annotations": {names.annotations.nudge("hello"): "r1"},
        },
        "spec": {"plugins": [{"name": name} for name in (PLUGIN, *plugins)]},
        "status": {"phase": phase, "phaseReason": reason, **status},
    }


def read(body: dict[str, Any]) -> ClusterFacts:
    (facts,) = read_clusters([project_cluster(body)], PLUGIN, "hello")
    return facts


BUSY = [
    pytest.param(cluster("Failing over"), "Failing over", id="a failover"),
    pytest.param(cluster("Switchover in progress"), "Switchover in progress", id="a switchover"),
    pytest.param(cluster("Upgrading cluster"), "Upgrading cluster", id="a rolling update"),
    pytest.param(
        cluster("Upgrading Postgres major version"), "Upgrading Postgres major version",
        id="a major upgrade",
    ),
    pytest.param(
        cluster(currentPrimary="db-1", targetPrimary="pending"),
        "its primary changes from db-1 to pending", id="a failover without a target yet",
    ),
    pytest.param(
        cluster(currentPrimary="db-1", targetPrimary="db-2"),
        "its primary changes from db-1 to db-2", id="a change that the phase does not tell of",
    ),
]  # fmt: skip
IDLE = [
    pytest.param(cluster(), id="a healthy one"),
    pytest.param(cluster(currentPrimary="db-1", targetPrimary="db-1"), id="one with its primary"),
    pytest.param(cluster("Setting up primary", targetPrimary="db-1"), id="the first primary"),
    pytest.param(cluster("Creating a new replica"), id="a further replica"),
    pytest.param({"metadata": {"name": "db", "namespace": "app"}}, id="one without a status"),
    pytest.param(
        cluster("Unknown plugin", currentPrimary="db-1", targetPrimary="db-2"),
        id="one that a plugin blocks",
    ),
]


@pytest.mark.parametrize(("body", "doing"), BUSY)
def test_a_cluster_is_busy_during(body: dict[str, Any], doing: str) -> None:
    assert name_busy([project_cluster(body)]) == [f"app/db ({doing})"]


@pytest.mark.parametrize("body", IDLE)
def test_a_cluster_is_not_busy_as(body: dict[str, Any]) -> None:
    assert name_busy([project_cluster(body)]) == []


def test_clusters_that_cloudnativepg_does_not_watch_do_not_count() -> None:
    assert name_busy([project_cluster(cluster("Failing over"))], ("elsewhere",)) == []
    assert name_busy([project_cluster(cluster("Failing over"))], ("app",)) != []


@pytest.mark.parametrize(
    ("phase", "reason", "blocked"),
    [
        ("Unknown plugin", "", True),
        ("Cluster cannot proceed to reconciliation due to an unknown plugin being required",
         f"Unknown plugin: '{PLUGIN}'", True),
        ("Cluster cannot proceed to reconciliation due to an error while interacting with plugins",
         "closed pool", True),
        ("Cluster cannot proceed to reconciliation due to an error while interacting with plugins",
         "while calling other.example.org: refused", False),
        ("Cluster in healthy state", "", False),
    ],
)  # fmt: skip
def test_a_cluster_is_blocked_by_the_plugin_unless_another_one_is_named(
    phase: str, reason: str, *, blocked: bool
) -> None:
    facts = read(cluster(phase, reason, "other.example.org"))

    assert facts.blocked is blocked


def test_what_a_cluster_reports_of_the_plugin_is_read() -> None:
    shown = {"name": PLUGIN, "version": "1.2.3", "capabilities": ["TYPE_WAL_SERVICE"]}
    facts = read(cluster(pluginStatus=[{"name": "x"}, shown]))

    assert facts.plugin_status is not None
    assert facts.plugin_status.version == "1.2.3"
    assert facts.plugin_status.capabilities == ("TYPE_WAL_SERVICE",)
    assert facts.nudged == "r1"
    assert facts.created is not None
    assert read_clusters([project_cluster(cluster())], "another.example.org") == ()


OTHER = "other.example.org"
SHOWN = [{"name": PLUGIN, "version": "1"}, {"name": OTHER, "version": "1"}]
CHANGES: list[tuple[str, dict[str, Any], set[str]]] = [
    ("what no decision uses", cluster("", "", OTHER, pluginStatus=SHOWN, timelineID=7), set()),
    ("a plugin that it does not use", cluster("", "", OTHER, pluginStatus=[*SHOWN, {"name": "x"}]),
     set()),
    ("a plugin's version", cluster("", "", OTHER, pluginStatus=[SHOWN[0]]), {OTHER}),
    ("the phase", cluster("Failing over", "", OTHER, pluginStatus=SHOWN), {PLUGIN, OTHER}),
    ("a plugin that is used no more", cluster("", "", pluginStatus=SHOWN), {PLUGIN, OTHER}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "concerned"), [each[1:] for each in CHANGES], ids=[each[0] for each in CHANGES]
)
def test_a_change_concerns(body: dict[str, Any], concerned: set[str]) -> None:
    before = project_cluster(cluster("", "", OTHER, pluginStatus=SHOWN))
    assert find_concerned(before, project_cluster(body)) == concerned


def test_a_cluster_that_comes_or_goes_concerns_its_plugins() -> None:
    record = project_cluster(cluster("", "", OTHER))
    assert find_concerned(None, record) == find_concerned(record, None) == {PLUGIN, OTHER}


def test_of_a_cluster_without_plugins_only_its_activity_is_kept() -> None:
    body = {**cluster("Failing over", "for a reason"), "spec": {}}
    assert project_cluster(body) == ClusterRecord("app", "db", activity="Failing over")


def test_a_cluster_takes_a_kilobyte_at_most() -> None:
    shown = [{"name": PLUGIN, "version": "1.2.3", "capabilities": ["TYPE_WAL_SERVICE"]}]
    bodies = [cluster(instanceNames=["x" * 7000], pluginStatus=shown) for _ in range(500)]
    for number, body in enumerate(bodies):
        body["metadata"]["name"] = f"db-{number}"
    tracemalloc.start()
    records = [project_cluster(body) for body in bodies]
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert taken / len(records) < 1024
