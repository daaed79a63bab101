from typing import Any

import pytest

from cnpg_plugin_operator.api.conditions import Reason, Status
from cnpg_plugin_operator.decide.facts.plugin import LeaseFacts, PodFacts, WorkloadFacts
from cnpg_plugin_operator.decide.workload.workload import (
    WorkloadInput,
    decide_workload,
    may_wait_for_lease,
)
from tests.support.unit.builders import NOW, ago, container, pod, workload

BACK_OFF = "Back-off pulling image"

ROWS = [
    pytest.param(
        workload(available=1), Status.TRUE, Reason.AVAILABLE, "1 of 1",
        id="all replicas are updated and available",
    ),
    pytest.param(
        WorkloadFacts(exists=False), Status.UNKNOWN, Reason.ROLLOUT_IN_PROGRESS, "0 of 1",
        id="the Deployment was made just now",
    ),
    pytest.param(
        workload(available=1, up_to_date=False), Status.UNKNOWN, Reason.ROLLOUT_IN_PROGRESS, "",
        id="the Deployment's controller has not seen the newest generation",
    ),
    pytest.param(
        workload(available=1, replicas=2), Status.UNKNOWN, Reason.ROLLOUT_IN_PROGRESS, "",
        id="a pod of the previous revision is left",
    ),
    pytest.param(
        workload(refused="violates PodSecurity"), Status.FALSE, Reason.PODS_REFUSED,
        "violates PodSecurity", id="the API server refuses to create pods",
    ),
    pytest.param(
        workload(pod(container(running_since=None, waiting_reason="ErrImagePull",
                               waiting_message="no such host"))),
        Status.FALSE, Reason.IMAGE_PULL_ERROR, "no such host", id="the image cannot be pulled",
    ),
    pytest.param(
        workload(pod(container(running_since=None, waiting_reason="ImagePullBackOff",
                               waiting_message=BACK_OFF))),
        Status.FALSE, Reason.IMAGE_PULL_ERROR, "spec.image", id="the kubelet backs off pulling",
    ),
    pytest.param(
        workload(pod(container(running_since=None, waiting_reason="CrashLoopBackOff",
                               exit_code=3, restarts=4, exit_message="panic"))),
        Status.FALSE, Reason.CRASH_LOOP, "exits with code 3", id="the container keeps exiting",
    ),
    pytest.param(
        workload(pod(container(running_since=None, exit_code=1, restarts=1))),
        Status.FALSE, Reason.CRASH_LOOP,
        "kubectl logs hello-5b9f7d6c4-abcde -n cnpg-system -c plugin --previous",
        id="the container is between two crashes",
    ),
    pytest.param(
        workload(pod(container(running_since=None, exit_code=1, restarts=0))),
        Status.UNKNOWN, Reason.ROLLOUT_IN_PROGRESS, "", id="the container ended for the first time",
    ),
    pytest.param(
        workload(pod(container(running_since=None, waiting_reason="CreateContainerConfigError",
                               waiting_message="image will run as root"))),
        Status.FALSE, Reason.CRASH_LOOP, "Set spec.securityContext.runAsUser",
        id="the container cannot be created",
    ),
    pytest.param(
        workload(pod(unschedulable="0/1 nodes are available")), Status.FALSE,
        Reason.UNSCHEDULABLE, "0/1 nodes", id="the pod cannot be scheduled",
    ),
    pytest.param(
        workload(pod(created=ago(60))), Status.UNKNOWN, Reason.ROLLOUT_IN_PROGRESS, "",
        id="the pod does not start, and the kubelet reports nothing",
    ),
    pytest.param(
        workload(pod(container(running_since=ago(9)))), Status.FALSE, Reason.NOT_LISTENING,
        "port 9090", id="the container runs for a while, but nothing listens",
    ),
    pytest.param(
        workload(pod(container(running_since=ago(2)))), Status.UNKNOWN,
        Reason.ROLLOUT_IN_PROGRESS, "", id="the container has just started",
    ),
    pytest.param(
        workload(
            pod(container(running_since=None, waiting_reason="ImagePullBackOff"), deleting=True),
            pod(container(), created=ago(1)),
        ),
        Status.UNKNOWN, Reason.ROLLOUT_IN_PROGRESS, "",
        id="only a pod that is going away is in trouble",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("facts", "status", "reason", "words"), ROWS)
def test_a_workload_is_evaluated_by_its_status(
    facts: WorkloadFacts, status: Status, reason: Reason, words: str
) -> None:
    verdict = decide_workload(WorkloadInput("cnpg-system", "hello", 9090, facts, NOW))

    assert (verdict.status, verdict.reason) == (status, reason)
    assert words in verdict.message


UNMOUNTED = 'MountVolume.SetUp failed for volume "data" : configmap "settings" not found'


def test_a_volume_that_cannot_be_mounted_is_named() -> None:
    given = WorkloadInput(
        "cnpg-system", "hello", 9090, workload(pod(created=ago(60))), NOW, unmounted=UNMOUNTED
    )
    verdict = decide_workload(given)

    assert (verdict.status, verdict.reason) == (Status.FALSE, Reason.MOUNT_FAILED)
    assert verdict.message == (
        f"A volume of pod hello-5b9f7d6c4-abcde cannot be mounted: {UNMOUNTED}. Create what is "
        "missing, or correct spec.volumes."
    )


@pytest.mark.parametrize(
    "facts",
    [
        {"created": ago(5)},
        {"created": ago(60), "address": "10.0.0.1"},
        {"created": ago(60), "unschedulable": "0/1 nodes are available"},
        {"created": ago(60), "deleting": True},
    ],
    ids=" ".join,
)
def test_a_pod_that_just_starts_has_started_or_cannot_be_scheduled_waits_for_no_volume(
    facts: dict[str, Any],
) -> None:
    given = WorkloadInput("cnpg-system", "hello", 9090, workload(pod(**facts)), NOW)

    assert given.unstarted is None


def test_pulling_and_backing_off_have_the_same_message() -> None:
    waiting = {
        "ErrImagePull": "rpc error: not found",
        "ImagePullBackOff": 'Back-off pulling image "x": ErrImagePull: rpc error: not found',
    }
    reported = {
        decide_workload(
            WorkloadInput(
                namespace="cnpg-system",
                name="hello",
                port=9090,
                facts=workload(
                    pod(container(running_since=None, waiting_reason=r, waiting_message=m))
                ),
                now=NOW,
            )
        )
        for r, m in waiting.items()
    }

    assert len(reported) == 1


LEADER = pod(container(ready=True), name="hello-a", ready=True, created=ago(100))
STANDBY = pod(container(running_since=ago(90)), name="hello-b", created=ago(99))
RESTARTED = pod(
    container(running_since=ago(30), exit_code=1, restarts=1), name="hello-b", created=ago(99)
)
CRASHING = pod(
    container(running_since=ago(2), exit_code=1, restarts=4), name="hello-b", created=ago(99)
)
WITH_INIT = pod(
    container(name="init", running_since=None, exit_code=0, ready=True),
    container(running_since=ago(90)),
    name="hello-b",
    created=ago(99),
)
OWN = LeaseFacts("lease-1", "hello-a", "hello")
RIVAL = LeaseFacts("lease-2", "other-0", "other")


def judge_two(*pods: PodFacts, leases: tuple[LeaseFacts, ...] = (OWN, RIVAL), **facts: int) -> str:
    """Judge a Deployment of two replicas: reason and message."""
    two = {"wanted": 2, "updated": 2, "replicas": 2, "available": sum(p.ready for p in pods)}
    seen = workload(*pods, **(two | facts))
    given = WorkloadInput("cnpg-system", "hello", 9090, seen, NOW, leases)
    verdict = decide_workload(given)
    if verdict.is_true or verdict.reason is Reason.NOT_LISTENING:
        assert may_wait_for_lease(given), "the Leases are read"
    return f"{verdict.reason}: {verdict.message}"


@pytest.mark.parametrize("standby", [STANDBY, RESTARTED, WITH_INIT])
def test_a_standby_that_waits_for_the_leaders_lease_is_available(standby: PodFacts) -> None:
    assert judge_two(LEADER, standby) == (
        "Available: Deployment hello runs 2 replicas: pod hello-a serves, as the holder of Lease "
        "lease-1; standby, which waits for that Lease: hello-b."
    )


@pytest.mark.parametrize(
    ("pods", "leases", "facts", "words"),
    [
        ((LEADER, STANDBY), (), {}, "NotListening: Container plugin of pod hello-b"),
        ((LEADER, STANDBY), (RIVAL,), {}, "Lease lease-2 (held by CNPGPlugin other)"),
        ((LEADER, CRASHING), (OWN,), {}, "CrashLoop: "),
        ((LEADER,), (OWN,), {"updated": 1}, "RolloutInProgress: "),
        ((LEADER, STANDBY), (OWN,), {"available": 0}, "RolloutInProgress: "),
        ((LEADER, STANDBY), (OWN,), {"updated": 1}, "set spec.strategy.type to Recreate"),
    ],
    ids=[
        "nobody holds a Lease",
        "only another plugin does",
        "the other pod keeps exiting",
        "the other pod does not exist yet",
        "the leader is not ready for minReadySeconds",
        "the leader is of the previous revision",
    ],
)
def test_it_is_not_where(
    pods: tuple[PodFacts, ...],
    leases: tuple[LeaseFacts, ...],
    facts: dict[str, int],
    words: str,
) -> None:
    assert words in judge_two(*pods, leases=leases, **facts)


def test_leases_of_others_are_not_named_where_the_plugin_has_its_own() -> None:
    silent = pod(container(running_since=ago(90)), name="hello-a", created=ago(99))
    assert "lease-2" not in judge_two(silent, STANDBY)
    assert "lease-2" in judge_two(silent, STANDBY, leases=(RIVAL,))
