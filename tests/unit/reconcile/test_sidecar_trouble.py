"""Sidecars that crash, that another party removes, and that replace a Service or return to one."""

from itertools import pairwise
from typing import Any

import pytest

from cnpg_plugin_operator import names
from cnpg_plugin_operator.cluster import kinds
from tests.support.unit.cnpg_pods import deployment
from tests.support.unit.stage.hosting import HostingStage
from tests.support.unit.stage.world import NAMESPACE
from tests.unit.reconcile.anything import as_deep_as_the_operator

BAD = "example.org/hello:bad"


@pytest.fixture
def stage() -> HostingStage:
    stage = HostingStage()
    stage.world.crashing.add(BAD)
    return stage


async def until_out(stage: HostingStage, *plugins: str) -> None:
    """Let time pass until the sidecar was placed and removed again."""
    quarantine: dict[str, Any] = {}
    for _ in range(120):
        await stage.pass_by(2, *(plugins or ("hello",)))
        quarantine = (
            stage.client.the(kinds.PLUGIN, "hello")["status"]
            .get("sidecar", {})
            .get("quarantine", {})
        )
        if quarantine and "hello" not in stage.sidecars:
            return
    raise AssertionError((quarantine, stage.sidecars))


async def test_a_crashing_sidecar_is_removed_and_reports_why(stage: HostingStage) -> None:
    stage.create(image=BAD)
    await until_out(stage)
    await stage.pass_by(20)

    assert stage.template == deployment()["spec"]["template"]
    assert stage.state() == ("False", "CrashLoop")
    assert "exits with code 1: it failed" in stage.message()
    assert "It was removed from Deployment cnpg-controller-manager" in stage.message()
    assert [pod["metadata"]["name"] for pod in stage.world.pods] == ["cnpg-1"]


async def test_a_crashing_sidecar_is_tried_again_at_growing_intervals(
    stage: HostingStage,
) -> None:
    stage.create(image=BAD)
    await stage.pass_by(60 * 60)

    assert stage.record()["quarantine"]["attempts"] == 4, "after 5, 10 and 20 minutes"
    assert stage.world.live["metadata"]["generation"] == 1 + 2 * 4


async def test_a_crashed_sidecar_returns_at_once_with_another_spec(
    stage: HostingStage,
) -> None:
    stage.create(image=BAD)
    await until_out(stage)
    stage.edit(image="example.org/hello:good")
    await stage.until(seconds=60)

    assert "quarantine" not in stage.record()
    assert stage.sidecars.keys() == {"hello"}


async def test_a_crashed_sidecar_returns_by_itself_once_it_works(
    stage: HostingStage,
) -> None:
    stage.create(image=BAD)
    await until_out(stage)
    stage.world.crashing.clear()
    await stage.until(seconds=600)

    assert "quarantine" not in stage.record()


async def test_only_the_crashing_one_of_two_sidecars_is_removed(
    stage: HostingStage,
) -> None:
    stage.create(image=BAD)
    stage.create("other")
    await until_out(stage, "hello", "other")
    await stage.until("other", seconds=60)

    assert stage.sidecars.keys() == {"other"}
    assert stage.state("hello") == ("False", "CrashLoop")


async def test_an_upgrade_to_a_crashing_sidecar_leaves_the_others_alone(
    stage: HostingStage,
) -> None:
    stage.create("other")
    stage.create()
    await stage.until("hello", "other")
    stage.edit("hello", image=BAD)
    await until_out(stage, "hello", "other")
    await stage.until("other", seconds=60)

    assert stage.sidecars.keys() == {"other"}
    assert "reverts" not in stage.record(), "a removal by this operator is no revert"


async def test_an_operator_that_dies_after_every_write_removes_a_crashing_sidecar_once(
    stage: HostingStage,
) -> None:
    stage.create(image=BAD)
    for _ in range(60):
        stage.client.fail_at, stage.client.fail_after = len(stage.client.writes), True
        await stage.visit()
        if stage.client.fail_at is None:
            stage.reconciler = stage.operator()
        stage.client.fail_at = None
        stage.turn(3)

    assert stage.sidecars == {}
    assert stage.record()["quarantine"]["attempts"] == 1
    assert stage.world.live["metadata"]["generation"] == 3, "in and out"


async def test_a_sidecar_that_another_party_removes_is_restored_three_times(
    stage: HostingStage,
) -> None:
    stage.create()
    await stage.until()
    for count in range(1, 4):
        await stage.pass_by(60)
        stage.world.replace_deployment()
        await stage.pass_by(60)
        assert stage.record()["reverts"] == count
        assert ("hello" in stage.sidecars) is (count < 3)
    await stage.pass_by(3600)

    assert stage.applies == 3
    assert stage.state() == ("False", "SidecarReverted")
    assert "removed the sidecar 3 times" in stage.message()


async def test_a_given_up_sidecar_returns_with_another_spec(
    stage: HostingStage,
) -> None:
    stage.create()
    await stage.until()
    for _ in range(3):
        await stage.pass_by(30)
        stage.world.replace_deployment()
        await stage.pass_by(30)
    stage.edit(env=[{"name": "A", "value": "1"}])
    await stage.until()

    assert "reverts" not in stage.record()
    assert stage.record()["present"] is True


async def test_a_removed_mount_is_restored(stage: HostingStage) -> None:
    stage.create()
    await stage.until()
    manager = stage.template["spec"]["containers"][0]
    manager["volumeMounts"] = [m for m in manager["volumeMounts"] if m["mountPath"] != "/plugins"]
    stage.world.live["metadata"]["generation"] += 1
    await stage.pass_by(120)

    mounts = stage.template["spec"]["containers"][0]["volumeMounts"]
    assert "/plugins" in [mount["mountPath"] for mount in mounts]
    assert stage.applies == 2


async def test_a_service_is_withdrawn_once_the_gate_of_a_new_pod_saw_the_sidecar(
    stage: HostingStage,
) -> None:
    stage.create(mode="Standalone")
    await stage.settle()
    assert stage.state() == ("True", "Ready")
    pods: list[tuple[str, dict[str, Any]]] = []

    def look() -> None:
        if "delete Service hello" in stage.client.writes and not pods:
            pods.extend((p["metadata"]["name"], p["status"]) for p in stage.world.pods)

    stage.client.watch = look
    stage.edit(mode="Sidecar")
    await stage.until()
    await stage.pass_by(30)

    assert ("Service", NAMESPACE, "hello") not in stage.client.objects
    assert [name for name, _ in pods][-1] == "cnpg-2"
    assert "terminated" in pods[-1][1]["initContainerStatuses"][-1]["state"]
    left = {(kind, name) for kind, _, name in stage.client.objects if name.startswith("hello")}
    assert left == {("CNPGPlugin", "hello"), ("Event", "hello.event")}, "nothing else of it is left"


async def test_a_sidecar_that_does_not_answer_leaves_its_service_alone(
    stage: HostingStage,
) -> None:
    stage.create(mode="Standalone")
    await stage.settle()
    stage.edit(mode="Sidecar", image=BAD)
    await until_out(stage)
    await stage.pass_by(60)

    labels = stage.client.the(kinds.SERVICE, "hello")["metadata"]["labels"]
    assert names.cnpg.PLUGIN_NAME in labels
    assert ("Deployment", NAMESPACE, "hello") in stage.client.objects


async def test_a_sidecar_stays_until_the_plugin_is_reached_through_its_service(
    stage: HostingStage,
) -> None:
    stage.create()
    await stage.until()
    kept = []

    def look() -> None:
        service = stage.client.objects.get(("Service", NAMESPACE, "hello"))
        published = service and names.cnpg.PLUGIN_NAME in service["metadata"]["labels"]
        kept.append((bool(published), "hello" in stage.sidecars))

    stage.client.watch = look
    stage.edit(mode="Standalone")
    await stage.until(seconds=60)
    await stage.pass_by(120)

    assert (False, True) in kept
    assert (False, False) not in kept, "it was always there, one way or the other"
    assert stage.template == deployment()["spec"]["template"]
    assert stage.state() == ("True", "Ready")
    assert "sidecar" not in stage.client.the(kinds.PLUGIN, "hello")["status"]


async def test_a_sidecar_stays_while_its_plugins_service_is_not_reached(
    stage: HostingStage,
) -> None:
    stage.create()
    await stage.until()
    stage.world.issue = lambda: None  # type: ignore[method-assign]
    stage.edit(mode="Standalone")
    await stage.pass_by(600)

    assert stage.state()[0] != "True"
    assert stage.sidecars.keys() == {"hello"}
    assert stage.applies == 1


async def test_changing_the_mode_and_back_restores_the_initial_state(stage: HostingStage) -> None:
    stage.create(mode="Standalone")
    await stage.settle()
    for mode in ("Sidecar", "Standalone", "Sidecar"):
        stage.edit(mode=mode)
        await stage.until(seconds=600)
        await stage.pass_by(600)

    assert stage.sidecars.keys() == {"hello"}
    assert stage.state() == ("True", "Ready")


async def until_crashing(stage: HostingStage, **changes: Any) -> None:
    """Let a sidecar that was Ready and is changed crash in a new pod of CloudNativePG's."""
    stage.create()
    await stage.until()
    stage.edit(**changes)
    await stage.pass_by(30)
    stage.world.crashing.add("example.org/hello:1")
    stage.template["metadata"]["annotations"]["another"] = "restarts it"
    stage.world.live["metadata"]["generation"] += 1
    for _ in range(8):
        # Each change of the Deployment's status wakes the operator.
        await stage.pass_by(30)


async def test_a_sidecar_whose_new_spec_is_refused_is_removed_when_it_crashes(
    stage: HostingStage,
) -> None:
    await until_crashing(stage, args=["--leader-elect"])

    assert stage.sidecars == {}
    assert stage.state() == ("False", "InvalidSpec")


async def test_a_suspended_sidecar_is_removed_when_it_blocks_cloudnativepg(
    stage: HostingStage,
) -> None:
    await until_crashing(stage, suspend=True)

    assert stage.sidecars == {}
    assert stage.state() == ("False", "SidecarPending")
    assert stage.condition("Suspended") == ("True", "Suspended")
    assert stage.applies == 2


async def test_a_sidecar_with_an_unreadable_spec_is_removed_when_it_crashes(
    stage: HostingStage,
) -> None:
    await until_crashing(stage, cnpg={"restartPolicy": "Sometimes"})

    assert stage.sidecars == {}
    assert stage.state() == ("False", "InvalidSpec")


async def test_a_crashing_sidecar_is_removed_even_where_rolls_are_forbidden(
    stage: HostingStage,
) -> None:
    await until_crashing(stage, cnpg={"restartPolicy": "Never"})

    assert stage.sidecars == {}
    assert stage.state() == ("False", "CrashLoop")


async def test_a_crashing_protected_sidecar_is_removed_and_delays_no_other(
    stage: HostingStage,
) -> None:
    stage.create(deletionPolicy="WaitForClusters")
    stage.create("other", image="example.org/other:1")
    await stage.until("hello", "other")
    stage.client.put(
        kinds.CLUSTER,
        {
            "metadata": {"name": "db", "namespace": "app"},
            "spec": {"plugins": [{"name": "hello.example.org"}]},
        },
    )
    stage.delete()
    await stage.pass_by(30, "hello", "other")
    stage.world.crashing.add("example.org/hello:1")
    stage.template["metadata"]["annotations"]["another"] = "restarts it"
    stage.world.live["metadata"]["generation"] += 1
    await stage.pass_by(120, "hello", "other")

    assert stage.sidecars.keys() == {"other"}
    assert stage.state("other") == ("True", "Ready")
    assert ("CNPGPlugin", NAMESPACE, "hello") not in stage.client.objects, "nothing is left of it"


async def test_a_spec_that_the_api_server_rejects_blocks_no_other_sidecar(
    stage: HostingStage,
) -> None:
    stage.client.invalid = "no such quantity"
    stage.create("a", resources={"limits": {"cpu": "no such quantity"}})
    for name in ("b", "c"):
        stage.create(name)
    await stage.until("b", "c")
    await stage.pass_by(120, "a", "b", "c")
    stage.client.writes.clear()
    await stage.pass_by(600, "b", "c")

    assert stage.sidecars.keys() == {"b", "c"}
    assert stage.state("a") == ("False", "InvalidSpec")
    assert "no such quantity" in stage.message(name="a")
    assert [stage.state(name) for name in ("b", "c")] == [("True", "Ready")] * 2
    assert stage.client.writes == []


async def test_a_sidecar_that_admission_refuses_blocks_no_other_sidecar(
    stage: HostingStage,
) -> None:
    stage.client.forbidden = "unwelcome"
    stage.create("a", image="example.org/unwelcome:1")
    for name in ("b", "c"):
        stage.create(name)
    await stage.visit("a")
    await stage.until("b", "c")
    await stage.pass_by(30, "a", "b", "c")

    assert stage.sidecars.keys() == {"b", "c"}
    assert stage.state("a") == ("False", "PodsRefused")
    assert "unwelcome" in stage.message(name="a")
    assert stage.client.dry_runs == 3, "each was tried alone, once"
    assert stage.applies == 1
    assert stage.world.live["metadata"]["generation"] == 2, "one roll"

    # It is tried again after a while, and placed once the policy is gone.
    stage.client.forbidden = ""
    await stage.until("a", seconds=60)
    assert stage.sidecars.keys() == {"a", "b", "c"}


async def test_a_refused_sidecar_is_tried_again_at_growing_intervals(stage: HostingStage) -> None:
    stage.client.forbidden = "unwelcome"
    stage.create(image="example.org/unwelcome:1")
    tries = []
    stage.client.refused = lambda: tries.append(stage.clock())
    await stage.pass_by(3600)

    pauses = [(later - earlier).total_seconds() for earlier, later in pairwise(tries)]
    assert len(tries) <= 12, pauses
    assert pauses == sorted(pauses)
    stage.edit(image="example.org/welcome:1")
    await stage.until()


async def test_a_refused_sidecar_does_not_delay_a_removal(stage: HostingStage) -> None:
    stage.create("gone")
    await stage.until("gone")
    stage.client.forbidden = "unwelcome"
    stage.create("a", image="example.org/unwelcome:1")
    stage.delete("gone")
    await stage.pass_by(90, "a", "gone")

    assert stage.sidecars == {}
    assert ("CNPGPlugin", NAMESPACE, "gone") not in stage.client.objects
    assert stage.state("a") == ("False", "PodsRefused")


async def test_a_too_deeply_nested_spec_blocks_no_other_sidecar(
    stage: HostingStage,
) -> None:
    deep: dict[str, Any] = {}
    for _ in range(5000):
        deep = {"x": deep}
    stage.create("b")
    stage.create("a")
    stage.client.the(kinds.PLUGIN, "a")["spec"]["volumes"] = [{"name": "v", "csi": deep}]
    with as_deep_as_the_operator():
        await stage.until("b")
        await stage.pass_by(60, "a", "b")

    assert stage.sidecars.keys() == {"b"}
    assert stage.state("a") == ("False", "InvalidSpec")
    assert "at most 32 levels" in stage.message(name="a")


async def test_deleting_an_unproven_sidecar_takes_effect_while_cloudnativepg_starts(
    stage: HostingStage,
) -> None:
    stage.create(image=BAD, deletionPolicy="WaitForClusters")
    stage.client.put(
        kinds.CLUSTER,
        {
            "metadata": {"name": "db", "namespace": "app"},
            "spec": {"plugins": [{"name": "hello.example.org"}]},
        },
    )
    while "hello" not in stage.sidecars:
        await stage.pass_by(1)
    stage.delete()
    await stage.pass_by(8)

    assert stage.sidecars == {}
    assert ("CNPGPlugin", NAMESPACE, "hello") not in stage.client.objects


async def test_a_sidecar_whose_change_is_rejected_stays_as_it_is(
    stage: HostingStage,
) -> None:
    stage.client.invalid = "no such quantity"
    stage.create()
    await stage.until()
    before = stage.sidecars
    stage.edit(resources={"limits": {"cpu": "no such quantity"}})
    stage.create("other")
    await stage.until("other")
    await stage.pass_by(60, "hello", "other")

    assert stage.state() == ("False", "InvalidSpec")
    assert stage.sidecars["hello"] == before["hello"]
