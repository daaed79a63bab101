"""A plugin's pod whose volume cannot be mounted: only the kubelet's Event says which one."""

import pytest

from cnpg_plugin_operator.cluster import kinds
from tests.support.unit.stage.stage import Stage
from tests.support.unit.stage.world import NAMESPACE

WORDS = 'MountVolume.SetUp failed for volume "data" : configmap "settings" not found'


def report(stage: Stage, pod: str, message: str, reason: str = "FailedMount") -> None:
    """Write an Event of the kubelet on a pod."""
    uid = stage.client.the(kinds.POD, pod)["metadata"]["uid"]
    event = {
        "metadata": {"name": f"{pod}.{len(message)}", "namespace": NAMESPACE},
        "involvedObject": {"kind": "Pod", "name": pod, "uid": uid},
        "reason": reason,
        "message": message,
    }
    stage.client.put(kinds.EVENT, event)


@pytest.fixture
async def unstarted() -> tuple[Stage, str]:
    """A plugin that was Ready, whose pod waits to start; and the pod's name."""
    stage = Stage()
    stage.create()
    await stage.settle()
    (pod,) = stage.kubelet.pods
    stage.client.the(kinds.POD, pod)["status"] = {}
    stage.client.the(kinds.DEPLOYMENT, "hello")["status"]["availableReplicas"] = 0
    stage.clock.pass_by(60)
    return stage, pod


async def test_the_missing_volume_is_named(unstarted: tuple[Stage, str]) -> None:
    stage, pod = unstarted
    report(stage, pod, "Unable to attach or mount volumes: timed out waiting for the condition")
    report(stage, pod, WORDS)
    await stage.visit()

    assert stage.condition("Available") == ("False", "MountFailed")
    assert WORDS in stage.message("Available")


async def test_without_an_event_the_rollout_is_in_progress(unstarted: tuple[Stage, str]) -> None:
    stage, pod = unstarted
    report(stage, pod, "Back-off restarting failed container", reason="BackOff")
    await stage.visit()

    assert stage.condition("Available") == ("Unknown", "RolloutInProgress")
