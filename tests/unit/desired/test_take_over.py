"""The patches on objects of a previous installation, as the API server merges them."""

import json
from typing import Any

from cnpg_plugin_operator import names
from cnpg_plugin_operator.decide.facts.take_over import Scaling
from cnpg_plugin_operator.desired.service import build_service
from cnpg_plugin_operator.desired.take_over import build_adoption, build_retirement, build_scaling
from tests.support.unit.builders import NOW, plugin
from tests.support.unit.fake_cluster import _merge_json

LIVE: dict[str, Any] = {
    "metadata": {
        "name": "hello",
        "namespace": "cnpg-system",
        "resourceVersion": "7",
        "labels": {"app": "hello", names.cnpg.PLUGIN_NAME: "hello.example.org"},
        "annotations": {"team": "a", names.cnpg.SERVER_NAME: "hello", names.cnpg.PLUGIN_PORT: "1"},
        "finalizers": [names.cnpg.SERVICE_FINALIZER],
        "ownerReferences": [{"uid": "another"}],
    },
    "spec": {
        "type": "LoadBalancer",
        "externalTrafficPolicy": "Local",
        "selector": {"app": "hello", "tier": "plugin"},
        "ports": [
            {"name": "plugin", "port": 9090, "targetPort": "grpc", "nodePort": 30001},
            {"name": "metrics", "port": 8080},
        ],
    },
}


def test_an_adopted_service_is_the_plugins_in_one_write() -> None:
    announced = {names.cnpg.PLUGIN_PORT: "9090"}
    desired = build_service(plugin(), announced, port_name="plugin")
    after = json.loads(json.dumps(LIVE))
    _merge_json(after, build_adoption(desired, LIVE))

    assert after["spec"]["selector"] == {names.labels.PLUGIN: "hello"}
    assert after["spec"]["ports"] == desired["spec"]["ports"]
    assert "externalTrafficPolicy" not in after["spec"]
    metadata = after["metadata"]
    assert metadata["labels"] == {"app": "hello", **desired["metadata"]["labels"]}
    assert metadata["annotations"] == {
        "team": "a",
        names.annotations.UID: "uid-of-hello",
        **announced,
    }
    assert metadata["ownerReferences"] == desired["metadata"]["ownerReferences"]
    assert metadata["finalizers"] == [names.cnpg.SERVICE_FINALIZER]


def test_an_adoption_needs_the_service_as_it_was_read() -> None:
    patch = build_adoption(build_service(plugin(), {}), LIVE)
    assert patch["metadata"]["resourceVersion"] == "7"


def test_a_retired_service_has_a_name_that_is_a_valid_label() -> None:
    longest = "a" * 50
    label = build_retirement(plugin(longest, pluginName="a.example.org"))["metadata"]["labels"]
    assert label == {
        names.cnpg.PLUGIN_NAME: f"{longest}.taken-over",
        names.cnpg.PLUGIN_DOCUMENTED: None,
    }
    assert len(label[names.cnpg.PLUGIN_NAME]) <= 63


def test_a_scaling_is_recorded_in_the_same_write() -> None:
    patch = build_scaling(0, Scaling(NOW, "uid/1", 2))
    assert patch["spec"] == {"replicas": 0}
    assert json.loads(patch["metadata"]["annotations"][names.annotations.SCALED_DOWN]) == {
        "at": "2026-03-01T12:00:00Z",
        "for": "uid/1",
        "replicas": 2,
        "restored": False,
    }
