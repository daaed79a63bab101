"""Sidecars as passes place them: one roll for all simultaneous changes, and no needless one."""

from typing import Any

import pytest

from cnpg_plugin_operator import names
from cnpg_plugin_operator.cluster import kinds
from tests.support.unit.builders import resource
from tests.support.unit.cnpg_pods import deployment
from tests.support.unit.stage.hosting import CNPG, MISSING, HostingStage
from tests.support.unit.stage.world import NAMESPACE

TRIO = ("a", "b", "c")
SIDES = pytest.mark.parametrize("side", ["before", "after"])


@pytest.fixture
def stage() -> HostingStage:
    return HostingStage()


def put_cluster(stage: HostingStage, plugin: str = "hello") -> None:
    body: dict[str, Any] = {
        "metadata": {"name": "db", "namespace": "app"},
        "spec": {"plugins": [{"name": f"{plugin}.example.org"}]},
        "status": {"phase": "Cluster in healthy state"},
    }
    stage.client.put(kinds.CLUSTER, body)


async def test_a_sidecar_becomes_ready_with_one_apply_of_cloudnativepg(
    stage: HostingStage,
) -> None:
    stage.create()
    await stage.until()

    assert stage.applies == 1
    assert stage.world.made == 2
    assert stage.record() == {
        "observedGeneration": 1,
        "present": True,
        "revision": stage.sidecars["hello"],
    }
    status = stage.client.the(kinds.PLUGIN, "hello")["status"]
    assert status["plugin"]["version"] == "1.0.0"
    assert status["cnpg"]["registeredRevision"] == stage.sidecars["hello"]


async def test_sidecars_that_come_together_cost_one_roll(stage: HostingStage) -> None:
    for name in TRIO:
        stage.create(name)
    await stage.until(*TRIO)

    assert stage.applies == 1
    assert stage.world.made == 2
    assert stage.sidecars.keys() == set(TRIO)


async def test_passes_at_the_same_time_apply_the_set_once(stage: HostingStage) -> None:
    for name in TRIO:
        stage.create(name)
    for _ in range(30):
        await stage.visit_all(*TRIO)
        stage.turn(2)

    assert stage.applies == 1
    assert [stage.state(name) for name in TRIO] == [("True", "Ready")] * 3


async def test_a_quiet_pass_over_a_sidecar_writes_nothing(stage: HostingStage) -> None:
    for name in TRIO:
        stage.create(name)
    await stage.until(*TRIO)
    await stage.pass_by(60, *TRIO)
    stage.client.writes.clear()
    stage.reconciler = stage.operator()
    await stage.pass_by(900, *TRIO)

    assert stage.client.writes == []


async def test_a_new_image_of_the_operator_rolls_nothing(stage: HostingStage) -> None:
    stage.create()
    await stage.until()
    stage.gate = type(stage.gate)(image="example.org/cnpg-plugin-operator:2.0.0")
    stage.reconciler = stage.operator()
    await stage.pass_by(120)

    assert stage.applies == 1


async def test_a_sidecar_that_changes_costs_one_roll(stage: HostingStage) -> None:
    for name in TRIO:
        stage.create(name)
    await stage.until(*TRIO)
    before = stage.sidecars
    stage.edit("b", image="example.org/hello:2")
    await stage.pass_by(60, *TRIO)

    assert stage.applies == 2
    assert stage.state("b") == ("True", "Ready")
    assert {name for name in TRIO if stage.sidecars[name] != before[name]} == {"b"}


@SIDES
@pytest.mark.parametrize("write", range(7))
async def test_an_operator_that_dies_around_any_write_of_a_sidecar_rolls_cloudnativepg_once(
    stage: HostingStage, write: int, side: str
) -> None:
    stage.client.fail_at, stage.client.fail_after = write, side == "after"
    stage.create()
    while stage.client.fail_at is not None:
        await stage.settle(passes=1)
    stage.reconciler = stage.operator()
    await stage.until()
    await stage.pass_by(60)

    assert stage.world.made == 2
    assert stage.world.live["metadata"]["generation"] == 2


async def test_an_operator_that_dies_after_every_write_rolls_cloudnativepg_once(
    stage: HostingStage,
) -> None:
    for name in TRIO:
        stage.create(name)
    for _ in range(60):
        for name in TRIO:
            stage.client.fail_at, stage.client.fail_after = len(stage.client.writes), True
            await stage.visit(name)
            if stage.client.fail_at is None:
                stage.reconciler = stage.operator()
            stage.client.fail_at = None
        stage.turn(2)

    assert stage.world.made == 2
    assert [stage.state(name) for name in TRIO] == [("True", "Ready")] * 3


async def test_deletion_removes_the_sidecar_and_restores_the_template(
    stage: HostingStage,
) -> None:
    stage.create()
    await stage.until()
    stage.delete()
    await stage.pass_by(60)

    assert ("CNPGPlugin", NAMESPACE, "hello") not in stage.client.objects
    assert stage.template == deployment()["spec"]["template"]
    assert (stage.applies, stage.world.made) == (2, 3)


@SIDES
@pytest.mark.parametrize("write", range(5))
async def test_an_operator_that_dies_around_any_write_of_a_deletion_rolls_cloudnativepg_once(
    stage: HostingStage, write: int, side: str
) -> None:
    stage.create()
    await stage.until()
    await stage.pass_by(30)
    stage.delete()
    stage.client.writes.clear()
    stage.client.fail_at, stage.client.fail_after = write, side == "after"
    await stage.crash(30)
    await stage.pass_by(60)

    assert ("CNPGPlugin", NAMESPACE, "hello") not in stage.client.objects
    assert stage.template == deployment()["spec"]["template"]
    assert stage.world.made == 3


async def test_only_the_deleted_one_of_three_sidecars_is_removed(stage: HostingStage) -> None:
    for name in TRIO:
        stage.create(name)
    await stage.until(*TRIO)
    before = stage.sidecars
    stage.delete("b")
    await stage.pass_by(60, *TRIO)

    assert stage.sidecars == {name: before[name] for name in ("a", "c")}
    assert stage.world.made == 3
    assert [stage.state(name) for name in ("a", "c")] == [("True", "Ready")] * 2


async def test_a_sidecar_that_a_cluster_uses_is_not_removed(stage: HostingStage) -> None:
    stage.create(deletionPolicy="WaitForClusters")
    await stage.until()
    put_cluster(stage)
    stage.delete()
    await stage.pass_by(60)
    kept = stage.sidecars, stage.condition("Accepted")
    del stage.client.objects["Cluster", "app", "db"]
    await stage.pass_by(60)

    assert kept[0].keys() == {"hello"}
    assert kept[1] == ("False", "InUse")
    assert stage.sidecars == {}
    assert ("CNPGPlugin", NAMESPACE, "hello") not in stage.client.objects


async def test_another_pass_keeps_a_deleted_but_protected_sidecar(
    stage: HostingStage,
) -> None:
    stage.create(deletionPolicy="WaitForClusters")
    await stage.until()
    put_cluster(stage)
    stage.delete()
    stage.create("other")
    await stage.pass_by(60, "hello", "other")

    assert stage.sidecars.keys() == {"hello", "other"}


async def test_a_suspended_sidecar_stays_as_it_is(stage: HostingStage) -> None:
    stage.create()
    await stage.until()
    before = stage.template
    stage.edit(suspend=True, image="example.org/hello:2")
    await stage.pass_by(60)
    stage.create("other")
    await stage.until("other")

    assert stage.condition("Suspended") == ("True", "Suspended")
    assert stage.state("hello") == ("True", "Ready")
    images = [container["image"] for container in stage.template["spec"]["initContainers"]]
    assert images[0] == before["spec"]["initContainers"][0]["image"] == "example.org/hello:1"
    assert stage.applies == 2, "only for the other"


async def test_restart_policy_never_prevents_a_roll(stage: HostingStage) -> None:
    stage.create(cnpg={"restartPolicy": "Never"})
    await stage.pass_by(60)
    alone = stage.applies, stage.condition("Available")
    stage.create("other")
    await stage.until("hello", "other")

    assert alone == (0, ("False", "RestartForbidden"))
    assert stage.applies == 1, "what is rolled for the other takes this one with it"


async def test_a_cluster_that_fails_over_is_not_disturbed_by_sidecars(
    stage: HostingStage,
) -> None:
    put_cluster(stage)
    live = stage.client.the(kinds.CLUSTER, "db", "app")
    live["status"]["phase"] = "Failing over"
    stage.create()
    await stage.pass_by(60)
    waiting = stage.applies, stage.message("Available")
    live["status"]["phase"] = "Cluster in healthy state"
    await stage.until()

    assert waiting[0] == 0
    assert "Cluster app/db (Failing over) must not be disturbed" in waiting[1]
    assert stage.applies == 1


async def until_missed(stage: HostingStage) -> None:
    """Let CloudNativePG start with a sidecar whose socket the gate did not see."""
    stage.world.outcomes["hello.example.org"] = MISSING
    stage.create()
    await stage.pass_by(60)
    assert stage.state() == ("False", "SocketMissing")


async def test_a_missing_socket_is_no_reason_for_a_restart(stage: HostingStage) -> None:
    await until_missed(stage)
    await stage.pass_by(3600)

    assert stage.world.made == 2
    assert "sockets only then" in stage.message()


async def test_a_restarted_sidecar_is_found_by_one_restart_of_cloudnativepg(
    stage: HostingStage,
) -> None:
    await until_missed(stage)
    stage.world.outcomes.clear()
    stage.world.restart_sidecar("hello")
    await stage.until(seconds=600)
    await stage.pass_by(700)

    assert stage.world.made == 3
    assert stage.applies == 2


async def test_a_sidecar_that_restarts_without_success_costs_one_restart(
    stage: HostingStage,
) -> None:
    await until_missed(stage)
    for _ in range(10):
        stage.world.restart_sidecar("hello")
        await stage.pass_by(600)

    assert stage.world.made == 3
    assert stage.state() == ("False", "SocketMissing")
    assert "restart of CloudNativePG did not change that" in stage.message()


async def test_a_forbidden_restart_for_a_late_sidecar_is_reported(
    stage: HostingStage,
) -> None:
    await until_missed(stage)
    stage.edit(cnpg={"restartPolicy": "Never"})
    stage.world.restart_sidecar("hello")
    await stage.pass_by(600)

    assert stage.state() == ("False", "RestartForbidden")
    assert stage.applies == 1


async def test_an_operator_that_dies_around_any_write_of_that_restart_restarts_once(
    stage: HostingStage,
) -> None:
    await until_missed(stage)
    stage.world.outcomes.clear()
    stage.world.restart_sidecar("hello")
    for _ in range(400):
        stage.client.fail_at, stage.client.fail_after = len(stage.client.writes), True
        await stage.visit()
        if stage.client.fail_at is None:
            stage.reconciler = stage.operator()
        stage.client.fail_at = None
        stage.turn(2)

    assert stage.state() == ("True", "Ready")
    assert stage.world.made == 3


async def test_a_refused_resource_does_not_block_others(stage: HostingStage) -> None:
    stage.create("bad", args=["--leader-elect"])
    stage.client.put(kinds.PLUGIN, resource("worse", mode="Sidecar", args="none"))
    stage.create("good")
    await stage.pass_by(60, "bad", "worse", "good")

    assert stage.state("good") == ("True", "Ready")
    assert stage.state("bad") == ("False", "InvalidSpec")
    assert stage.state("worse") == ("False", "InvalidSpec")
    assert stage.sidecars.keys() == {"good"}


async def test_a_deployment_scaled_to_zero_gets_the_sidecar_at_once(
    stage: HostingStage,
) -> None:
    stage.world.live["spec"]["replicas"] = 0
    stage.create()
    await stage.pass_by(20)
    waiting = stage.state()
    stage.world.live["spec"]["replicas"] = 1
    await stage.until()

    assert waiting == ("False", "CNPGUnavailable")
    assert stage.world.made == 2


def test_the_simulated_deployment_rolls_like_a_real_one(stage: HostingStage) -> None:
    stage.template["metadata"]["annotations"] = {"a": "b"}
    stage.turn()
    surge = [pod["metadata"]["name"] for pod in stage.world.pods]
    stage.turn()
    stage.turn()

    assert surge == ["cnpg-1", "cnpg-2"]
    assert [pod["metadata"]["name"] for pod in stage.world.pods] == ["cnpg-2"]
    assert stage.client.the(kinds.DEPLOYMENT, CNPG)["status"]["availableReplicas"] == 1


async def test_a_manual_change_waits_for_its_approval_and_costs_one_roll(
    stage: HostingStage,
) -> None:
    stage.create(upgradePolicy="Manual")
    await stage.until()
    put_cluster(stage)
    before = stage.sidecars
    stage.edit(image="example.org/hello:2")
    await stage.pass_by(60)
    waiting = stage.sidecars, stage.state(), stage.message()
    token = waiting[2].rpartition("=")[2]
    metadata = stage.client.the(kinds.PLUGIN, "hello")["metadata"]
    metadata["annotations"] = {names.annotations.APPROVE: token}
    await stage.until()

    assert waiting[:2] == (before, ("Unknown", "AwaitingApproval"))
    assert stage.sidecars != before
    assert stage.applies == 2


def name_the_same_plugin(stage: HostingStage) -> None:
    """Create a Service that CloudNativePG takes for the plugin."""
    labels = {names.cnpg.PLUGIN_NAME: "hello.example.org"}
    metadata = {"name": "by-hand", "namespace": NAMESPACE, "labels": labels}
    stage.client.put(kinds.SERVICE, {"metadata": metadata, "spec": {}})


async def test_a_foreign_service_with_the_same_plugin_name_blocks_a_sidecar(
    stage: HostingStage,
) -> None:
    name_the_same_plugin(stage)
    stage.create()
    await stage.pass_by(60)

    assert stage.state() == ("False", "NameConflict")
    assert "by-hand" in stage.message()
    assert stage.sidecars == {}


async def test_a_later_foreign_service_removes_no_sidecar(
    stage: HostingStage,
) -> None:
    stage.create()
    await stage.until()
    name_the_same_plugin(stage)
    await stage.pass_by(60)

    assert stage.state() == ("False", "NameConflict")
    assert stage.sidecars.keys() == {"hello"}
    del stage.client.objects["Service", NAMESPACE, "by-hand"]
    await stage.until()
    assert stage.applies == 1
