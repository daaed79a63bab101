"""Another Service has a plugin's name: CloudNativePG keeps one entry for it; ours is touched."""

import json
from typing import Any

import pytest

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.conditions import Reason
from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.decide.facts.plugin import HandshakeOutcome, Identity
from tests.support.unit.stage.stage import Stage
from tests.support.unit.stage.world import NAMESPACE

PLUGIN = "hello.example.org"
LABELS = {names.cnpg.PLUGIN_NAME: PLUGIN}


@pytest.fixture
async def stage() -> Stage:
    """A plugin that has been Ready for a minute."""
    made = Stage()
    made.create()
    await made.settle()
    assert made.condition() == ("True", "Ready")
    made.clock.pass_by(60)
    return made


def add_other(stage: Stage, **metadata: Any) -> None:
    stage.client.put(
        kinds.SERVICE,
        {"metadata": {"name": "other", "namespace": NAMESPACE, "labels": LABELS, **metadata}},
    )


def remove_other(stage: Stage) -> None:
    del stage.client.objects["Service", NAMESPACE, "other"]


def touches(stage: Stage) -> dict[str, Any]:
    recorded: dict[str, Any] = json.loads(
        stage.service()["annotations"].get(names.annotations.TOUCHED, "{}")
    )
    return recorded


async def test_a_second_service_is_a_conflict_that_names_the_label_and_the_fix(
    stage: Stage,
) -> None:
    add_other(stage)
    await stage.visit()

    assert stage.condition("Accepted") == ("False", "NameConflict")
    message = stage.message("Accepted")
    assert f"Label {names.cnpg.PLUGIN_NAME}={PLUGIN} of Service {NAMESPACE}/other" in message
    assert "set spec.takeOver.serviceName to other" in message
    assert names.cnpg.PLUGIN_NAME in stage.service()["labels"], "the plugin stays published"

    stage.edit(takeOver={"serviceName": "other"})
    await stage.settle()
    assert stage.condition() == ("True", "Ready")
    assert stage.service("other")["labels"][names.cnpg.PLUGIN_NAME] == names.cnpg.retired("hello")


async def test_a_second_service_of_another_resource_cannot_be_taken_over(stage: Stage) -> None:
    owner = {"kind": names.resource.KIND, "name": "other", "uid": "uid-of-another"}
    add_other(stage, ownerReferences=[owner])
    await stage.visit()

    message = stage.message("Accepted")
    assert "belongs to CNPGPlugin other: this resource continues when it is deleted" in message
    assert "takeOver" not in message


@pytest.mark.parametrize("killed", [False, True], ids=["the same process", "another process"])
async def test_the_end_of_a_second_service_causes_one_touch(stage: Stage, *, killed: bool) -> None:
    add_other(stage)
    await stage.visit()
    await stage.visit()
    recorded = stage.service()["annotations"][names.annotations.DISTURBED]
    assert stage.client.writes.count("Service hello") == 3, "created, published, recorded once"
    remove_other(stage)
    if killed:
        stage.reconciler = stage.operator()
    await stage.visit()

    assert touches(stage)["for"] == recorded
    await stage.settle()
    assert stage.condition() == ("True", "Ready")
    assert stage.client.writes.count("Service hello") == 4


@pytest.mark.parametrize(
    ("version", "touched"),
    [("1.28.2", False), ("1.29.3", True), ("1.30.0", False), ("1.30.1", True)],
)
async def test_the_end_of_an_own_service_causes_a_touch_where_no_event_reports_it(
    version: str, *, touched: bool
) -> None:
    """1.29.0 to 1.30.0 write an Event, older versions do not forget the plugin."""
    stage = Stage(version)
    stage.create()
    await stage.settle()
    stage.edit(service={"name": "other"})
    await stage.client.delete(kinds.SECRET, "hello-server-tls", NAMESPACE)
    await stage.settle(seconds=10)

    annotations = stage.service("other")["annotations"]
    record = annotations.get(names.annotations.DISTURBED, "")
    assert ("Service", NAMESPACE, "hello") not in stage.client.objects
    assert record.startswith("Service hello (") is touched
    assert (names.annotations.TOUCHED in annotations) is touched
    assert stage.condition() == ("True", "Ready")


async def test_each_second_service_causes_its_own_touch(stage: Stage) -> None:
    seen = set()
    for _ in range(3):
        add_other(stage)
        await stage.visit()
        remove_other(stage)
        await stage.settle()
        assert stage.condition() == ("True", "Ready")
        seen.add(touches(stage)["for"])

    assert len(seen) == 3


async def test_a_label_that_is_removed_again_causes_a_touch(stage: Stage) -> None:
    add_other(stage)
    await stage.visit()
    del stage.client.the(kinds.SERVICE, "other")["metadata"]["labels"][names.cnpg.PLUGIN_NAME]
    await stage.visit()

    assert touches(stage)


async def test_a_second_service_that_no_pass_saw_is_known_from_cloudnativepgs_events(
    stage: Stage,
) -> None:
    stage.client.put(
        kinds.EVENT,
        {
            "metadata": {"name": "e", "namespace": NAMESPACE, "resourceVersion": "899"},
            "involvedObject": {"kind": "Service", "name": "other"},
            "type": "Normal",
            "reason": "PluginCleanup",
            "message": f"Removing plugin {PLUGIN} from pool due to service deletion",
            "lastTimestamp": stage.clock().isoformat(),
        },
    )
    await stage.visit()
    await stage.visit()

    assert touches(stage) == {
        "at": stage.clock().strftime("%Y-%m-%dT%H:%M:%SZ"),
        "for": "Event 900 about Service other",
        "times": 1,
    }


async def test_a_suspended_plugin_is_left_alone(stage: Stage) -> None:
    stage.edit(suspend=True)
    add_other(stage)
    await stage.visit()

    assert names.annotations.DISTURBED not in stage.service()["annotations"]


async def test_blocked_clusters_end_readiness_until_they_are_reconciled(stage: Stage) -> None:
    status: dict[str, Any] = {"phase": "Unknown plugin", "instances": 1, "readyInstances": 1}
    stage.client.put(
        kinds.CLUSTER,
        {
            "metadata": {"name": "db", "namespace": "app"},
            "spec": {"plugins": [{"name": PLUGIN}]},
            "status": status,
        },
    )
    await stage.settle(passes=7)
    assert stage.condition("Registered") == ("Unknown", "Reregistering")
    assert "app/db" in stage.message("Registered")
    for _ in range(8):
        stage.turn(5)
        await stage.visit()
    assert stage.condition() == ("False", "ClustersBlocked")
    assert "Touching Service hello does not change that" in stage.message()

    live = stage.client.the(kinds.CLUSTER, "db", "app")
    live["status"]["phase"] = "Cluster in healthy state"
    await stage.settle()
    assert stage.condition() == ("True", "Ready")


async def test_a_plugin_that_changes_its_version_with_each_call_is_announced_once(
    stage: Stage,
) -> None:
    stage.edit(cnpg={"restartPolicy": "Always"}, handshake={"interval": "30s"})
    announced = stage.service()["annotations"][names.annotations.REVISION]
    stage.client.writes.clear()
    for number in range(30):
        identity = Identity(PLUGIN, f"1.0.{number}")
        stage.handshaker.outcome = HandshakeOutcome(Reason.IDENTIFIED, "answered", identity)
        await stage.pass_by(60)

    assert stage.service()["annotations"][names.annotations.REVISION] == announced
    assert "Deployment cnpg" not in stage.client.writes
    assert "Service hello" not in stage.client.writes
