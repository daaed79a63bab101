"""The Clusters of the bench's fleet are realistic, and its updates matter as they should."""

import copy
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cnpg_plugin_operator.cluster.clusters import project_cluster
from tests.bench.cluster_bodies import (
    build_cluster,
    build_irrelevant,
    build_relevant,
    build_status,
)

PLUGIN = "plugin-001.cnpgplugin.dev"
REPORTED = {"name": PLUGIN, "version": "0.1.0", "capabilities": ["TYPE_OPERATOR_SERVICE"]}


def cluster(index: int) -> dict[str, Any]:
    return {**build_cluster(index, PLUGIN), "status": build_status(index, REPORTED)}


def merged(live: Any, change: Any) -> Any:
    """Merge as the API server does (RFC 7386)."""
    if not isinstance(change, dict) or not isinstance(live, dict):
        return copy.deepcopy(change)
    return {**live, **{key: merged(live.get(key), value) for key, value in change.items()}}


def facts(body: dict[str, Any]) -> object:
    return project_cluster(body)


def test_a_status_is_as_large_as_that_of_three_instances() -> None:
    size = len(json.dumps(cluster(1999), separators=(",", ":")))

    assert 4_000 < size < 8_000


@given(st.integers(0, 5000), st.integers(0, 10_000))
def test_irrelevant_updates_change_the_body_and_no_fact(index: int, tick: int) -> None:
    before = cluster(index)
    after = {**before, "status": merged(before["status"], build_irrelevant(index, tick))}

    assert after != before
    assert facts(after) == facts(before)


@given(st.integers(0, 5000))
def test_relevant_updates_change_the_facts_and_back(index: int) -> None:
    before = cluster(index)
    changed = {**before, "status": merged(before["status"], build_relevant(healthy=False))}
    back = {**changed, "status": merged(changed["status"], build_relevant(healthy=True))}

    assert facts(changed) != facts(before) == facts(back)
