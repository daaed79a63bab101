from typing import Any

import pytest

from cnpg_plugin_operator import names
from cnpg_plugin_operator.cluster.clusters import name_busy, read_cluster

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
AT_REST = [
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
def test_a_cluster_that_must_not_lose_its_leader_is_named(body: dict[str, Any], doing: str) -> None:
    assert name_busy([body]) == [f"app/db ({doing})"]


@pytest.mark.parametrize("body", AT_REST)
def test_others_are_not_in_the_way(body: dict[str, Any]) -> None:
    assert name_busy([body]) == []


def test_clusters_that_cloudnativepg_does_not_watch_do_not_count() -> None:
    assert name_busy([cluster("Failing over")], ("elsewhere",)) == []
    assert name_busy([cluster("Failing over")], ("app",)) != []


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
    facts = read_cluster(cluster(phase, reason, "other.example.org"), PLUGIN, "hello")

    assert facts is not None
    assert facts.blocked is blocked


def test_what_a_cluster_shows_of_the_plugin_is_read() -> None:
    shown = {"name": PLUGIN, "version": "1.2.3", "capabilities": ["TYPE_WAL_SERVICE"]}
    facts = read_cluster(cluster(pluginStatus=[{"name": "x"}, shown]), PLUGIN, "hello")

    assert facts is not None
    assert facts.plugin_status is not None
    assert facts.plugin_status.version == "1.2.3"
    assert facts.plugin_status.capabilities == ("TYPE_WAL_SERVICE",)
    assert facts.nudged == "r1"
    assert facts.created is not None
    assert read_cluster(cluster(), "another.example.org") is None
