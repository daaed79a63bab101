"""What CloudNativePG's pods show about a sidecar: which ones block it, and each verdict."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.conditions import Reason, Status, no
from cnpg_plugin_operator.api.records import Quarantine, SidecarRecord
from cnpg_plugin_operator.decide.facts.cnpg import ClusterFacts, CNPGFacts, CNPGPod
from cnpg_plugin_operator.decide.facts.plugin import ContainerFacts
from cnpg_plugin_operator.decide.sidecar.quarantine import (
    QUARANTINE_AFTER,
    QUARANTINE_SPARE_AFTER,
    Cause,
    History,
    find_blockade,
    quarantine_time,
)
from cnpg_plugin_operator.decide.sidecar.rollout import Roll, Rollout
from cnpg_plugin_operator.decide.sidecar.sidecar import decide_sidecar
from cnpg_plugin_operator.decide.sidecar.sidecar_set import Member, update_quarantine
from tests.support.unit.builders import NOW, ago, container, leader
from tests.support.unit.cnpg_pods import (
    SEEN,
    WANTED,
    cnpg_pod,
    deployed,
    sidecar_container,
    situation,
)

CRASHED = Quarantine("r1", Reason.CRASH_LOOP, "It ended.", ago(400), 1)
CLUSTER = ClusterFacts("app", "db", healthy=True, phase="", plugin_status=None)

IMAGE: dict[str, Any] = {
    "waiting_reason": "ImagePullBackOff",
    "waiting_message": 'Back-off: ErrImagePull: "example.org/hello:1" not found',
    "running_since": None,
    "ready": False,
}
CRASH: dict[str, Any] = {
    "exit_code": 2,
    "restarts": 1,
    "ready": False,
    "exit_message": "line one\npanic: no lease",
}
START: dict[str, Any] = {
    "waiting_reason": "CreateContainerConfigError",
    "waiting_message": 'secret "x" not found',
    "running_since": None,
    "ready": False,
}


def gate(**facts: Any) -> ContainerFacts:
    return container(name=names.sidecars.GATE, running_since=None, exit_code=0, restarts=0, **facts)


def starting(*containers: ContainerFacts, seconds: float = 61, **facts: Any) -> CNPGPod:
    """The newest pod, so many seconds old, that is not ready."""
    usual = {"name": "cnpg-2", "ready": False, "gate_ended": None, "verdicts": {}}
    return cnpg_pod(*containers, created=ago(seconds), **{**usual, **facts})


def pair(**facts: Any) -> dict[str, Any]:
    return {"sidecars": {"hello": "r1", "other": "r1"}, **facts}


WORKED = {name: History(registered="r1") for name in ("hello", "other")}
"""Sidecars that have worked before: they are not suspected for long."""


def find_causes(given: CNPGFacts) -> dict[str, Cause]:
    return dict(find_blockade(given, WORKED, NOW).causes)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        pytest.param(deployed(), {}, id="there is no pod"),
        pytest.param(deployed(pods=(cnpg_pod(),)), {}, id="the pod is ready"),
        pytest.param(
            deployed(pods=(starting(),)), {}, id="the sidecar runs and the pod only starts"
        ),
        pytest.param(
            deployed(pods=(starting(sidecar_container(**IMAGE)),)),
            {"hello": Reason.IMAGE_PULL_ERROR}, id="no image",
        ),
        pytest.param(
            deployed(pods=(starting(sidecar_container(**CRASH)),)),
            {"hello": Reason.CRASH_LOOP}, id="a crash",
        ),
        pytest.param(
            deployed(pods=(starting(sidecar_container(**START)),)),
            {"hello": Reason.CRASH_LOOP}, id="a container that cannot be created",
        ),
        pytest.param(
            deployed(pods=(cnpg_pod(sidecar_container(**CRASH)),)), {},
            id="a crash in a pod that is ready all the same",
        ),
        pytest.param(
            deployed(pods=(starting(sidecar_container(**CRASH)), cnpg_pod(name="cnpg-3"))), {},
            id="a crash in a previous pod",
        ),
        pytest.param(
            deployed(pods=(starting(
                sidecar_container(**CRASH), sidecar_container("other"), **pair()),)),
            {"hello": Reason.CRASH_LOOP}, id="one of two",
        ),
        pytest.param(
            deployed(pods=(starting(
                sidecar_container(**CRASH), sidecar_container("other", **IMAGE), **pair()),)),
            {"hello": Reason.CRASH_LOOP, "other": Reason.IMAGE_PULL_ERROR}, id="both",
        ),
        pytest.param(
            deployed(pods=(starting(
                sidecar_container(), sidecar_container("other"), gate(**{
                    k: v for k, v in IMAGE.items() if k != "running_since"}), **pair()),)),
            {"hello": Reason.IMAGE_PULL_ERROR, "other": Reason.IMAGE_PULL_ERROR},
            id="the gate itself",
        ),
        pytest.param(
            deployed(pods=(starting(
                sidecar_container(**CRASH), sidecar_container("other"),
                gate(waiting_reason="ErrImagePull"), **pair()),)),
            {"hello": Reason.CRASH_LOOP}, id="a sidecar before the gate",
        ),
        pytest.param(
            deployed(pods=(starting(sidecar_container("ghost", **CRASH)),)), {},
            id="a container that is no sidecar",
        ),
    ],
)  # fmt: skip
def test_sidecars_that_keep_cloudnativepg_from_starting_are_named(
    given: CNPGFacts, found: dict[str, Reason]
) -> None:
    assert {name: cause.reason for name, cause in find_causes(given).items()} == found


PREVIOUS = cnpg_pod(name="previous", sidecars={})


@pytest.mark.parametrize(
    ("pods", "available", "patience"),
    [
        pytest.param((PREVIOUS,), True, QUARANTINE_SPARE_AFTER, id="a previous pod still serves"),
        pytest.param((PREVIOUS,), False, QUARANTINE_AFTER, id="a previous pod no longer serves"),
        pytest.param((), False, QUARANTINE_AFTER, id="no pod serves"),
        pytest.param(
            (cnpg_pod(name="same"),), True, QUARANTINE_AFTER, id="another one has it as well"
        ),
    ],
)
def test_a_sidecar_gets_time_to_start(
    pods: tuple[CNPGPod, ...], *, available: bool, patience: timedelta
) -> None:
    def found(seconds: float) -> bool:
        crashing = starting(sidecar_container(**CRASH), seconds=seconds)
        return bool(find_causes(deployed(pods=(*pods, crashing), available=available)))

    assert not found(patience.total_seconds() - 1)
    assert found(patience.total_seconds())
    assert quarantine_time(deployed()) is None


def test_once_the_gate_has_ended_the_previous_pod_is_not_risked() -> None:
    crashing = replace(starting(sidecar_container(**CRASH), seconds=3), gate_ended=ago(1))

    assert find_causes(deployed(pods=(PREVIOUS, crashing)))


def test_a_sidecar_that_has_run_for_long_gets_time_to_recover() -> None:
    def found(seconds: float) -> bool:
        crashed = cnpg_pod(sidecar_container(**CRASH), ready=False)
        crashed = replace(crashed, pod=replace(crashed.pod, unready_since=ago(seconds)))
        return bool(find_causes(deployed(pods=(crashed,), available=False)))

    assert not found(QUARANTINE_AFTER.total_seconds() - 1)
    assert found(QUARANTINE_AFTER.total_seconds())


def test_the_cause_quotes_the_last_output_of_the_container() -> None:
    where = deployed(pods=(starting(sidecar_container(**CRASH)),))

    words = find_causes(where)["hello"].message

    assert words == (
        "Container cnpg-plugin-hello of pod cnpg-2 exits with code 2: panic: no lease."
    )


TROUBLED = deployed(pods=(starting(sidecar_container(**CRASH)),))


@pytest.mark.parametrize(
    ("member", "where", "times"),
    [
        pytest.param(Member(SEEN, WANTED), TROUBLED, 1, id="for the first time"),
        pytest.param(Member(replace(SEEN, quarantine=CRASHED), WANTED), TROUBLED, 2, id="again"),
        pytest.param(
            Member(replace(SEEN, quarantine=CRASHED), WANTED), deployed(pods=(cnpg_pod(),)), 0,
            id="proven",
        ),
        pytest.param(
            Member(replace(SEEN, quarantine=CRASHED), WANTED),
            deployed(pods=(cnpg_pod(gate_ended=None, ready=False),)), 1, id="not proven yet",
        ),
        pytest.param(
            Member(replace(SEEN, quarantine=CRASHED), WANTED, quarantined=True), TROUBLED, 1,
            id="already quarantined",
        ),
        pytest.param(
            Member(replace(SEEN, quarantine=CRASHED), WANTED),
            deployed(pods=(cnpg_pod(sidecars={}),)), 1,
            id="a pod without it proves nothing",
        ),
        pytest.param(Member(SEEN, None), TROUBLED, 0, id="not wanted"),
        pytest.param(Member(SEEN, WANTED), deployed(), 0, id="no pod"),
        pytest.param(
            Member(SEEN, replace(WANTED, revision="r2")), TROUBLED, 0, id="of a previous revision"
        ),
    ],
)  # fmt: skip
def test_a_quarantine_is_recorded(member: Member, where: CNPGFacts, times: int) -> None:
    record = update_quarantine("hello", member, find_causes(where).get("hello"), where, NOW)

    assert (record.quarantine.attempts if record.quarantine else 0) == times
    if times and member.record.quarantine != record.quarantine:
        assert record.quarantine is not None
        assert (record.quarantine.revision, record.quarantine.reason, record.quarantine.at) == (
            "r1", Reason.CRASH_LOOP, NOW,
        )  # fmt: skip
        assert not record.present


OUT = Member(SEEN, WANTED)
PREVIOUS = cnpg_pod(name="cnpg-0", sidecars={}, created=ago(7200))
WAITING = Rollout(Roll.WAIT, "CloudNativePG is being rolled out", timedelta(seconds=2))
FORBIDDEN = Rollout(Roll.FORBIDDEN, "restartPolicy is Never")

JUDGED: list[tuple[str, dict[str, Any], Status, Reason, str]] = [
    ("it runs", {}, Status.TRUE, Reason.AVAILABLE, "runs the sidecar"),
    ("it is quarantined",
     {"member": replace(OUT, record=replace(SEEN, quarantine=CRASHED), quarantined=True)},
     Status.FALSE, Reason.CRASH_LOOP, "It ended. It was removed from Deployment"),
    ("it is tried again",
     {"member": Member(replace(SEEN, quarantine=CRASHED), WANTED, applied=WANTED)},
     Status.FALSE, Reason.CRASH_LOOP, "once its spec changes, else at 2026-03-01 11:58:20 UTC"),
    ("another party removes it",
     {"member": replace(OUT, reverted=True, record=SidecarRecord(1, "r1", reverts=3)),
      "cnpg": deployed(pods=(cnpg_pod(),), changed_by="argocd")},
     Status.FALSE, Reason.SIDECAR_REVERTED, "3 times (argocd changed its spec last)"),
    ("an unknown party removes it", {"member": replace(OUT, reverted=True)},
     Status.FALSE, Reason.SIDECAR_REVERTED, names.managers.SIDECARS),
    ("its change waits for approval",
     {"member": replace(OUT, awaiting="abcd1234"), "clusters": (CLUSTER,)},
     Status.UNKNOWN, Reason.AWAITING_APPROVAL, "cnpgplugin.dev/approve=abcd1234"),
    ("it is placed right now", {"pending": True, "rollout": Rollout(Roll.APPLY)},
     Status.UNKNOWN, Reason.SIDECAR_PENDING, "will get the sidecar."),
    ("it waits to be placed", {"pending": True, "rollout": WAITING},
     Status.UNKNOWN, Reason.SIDECAR_PENDING, "It waits: CloudNativePG is being rolled out."),
    ("it must not be placed", {"pending": True, "rollout": FORBIDDEN},
     Status.FALSE, Reason.RESTART_FORBIDDEN, "restartPolicy is Never: set it to IfNeeded"),
    ("another one waits to be placed", {"pending": False, "rollout": WAITING},
     Status.TRUE, Reason.AVAILABLE, "runs the sidecar"),
    ("CloudNativePG is scaled down", {"cnpg": deployed(replicas=0)},
     Status.FALSE, Reason.CNPG_UNAVAILABLE, "scaled to 0"),
    ("its image cannot be pulled", {"cnpg": deployed(pods=(starting(sidecar_container(**IMAGE)),))},
     Status.FALSE, Reason.IMAGE_PULL_ERROR, '"example.org/hello:1" not found'),
    ("it crashes", {"cnpg": deployed(pods=(starting(sidecar_container(**CRASH)),))},
     Status.FALSE, Reason.CRASH_LOOP, "panic: no lease"),
    ("it crashed once in a pod that is ready", {"cnpg": deployed(pods=(
        cnpg_pod(sidecar_container(**{**CRASH, "ready": True})),))},
     Status.TRUE, Reason.AVAILABLE, "runs"),
    ("its pod cannot be scheduled",
     {"cnpg": deployed(pods=(starting(
         unschedulable="too little memory", gate_started=False),))},
     Status.FALSE, Reason.UNSCHEDULABLE, "cannot be scheduled: too little memory"),
    ("its pods are refused", {"cnpg": deployed(
        pods=(PREVIOUS,), refused="exceeded quota", part={"metadata": {"annotations": {
            names.annotations.SIDECARS: '{"hello": "r1"}'}}})},
     Status.FALSE, Reason.PODS_REFUSED, "are refused: exceeded quota."),
    ("its pod did not start in time", {"cnpg": deployed(pods=(starting(gate_started=False),))},
     Status.FALSE, Reason.CNPG_BLOCKED, "did not start its containers within 60 s"),
    ("the API server refuses it",
     {"member": replace(OUT, refused=no(Reason.PODS_REFUSED, "says the policy"))},
     Status.FALSE, Reason.PODS_REFUSED, "says the policy"),
    ("it was quarantined with others",
     {"member": replace(OUT, record=replace(SEEN, quarantine=replace(CRASHED, attempts=0)),
                        quarantined=True)},
     Status.FALSE, Reason.CRASH_LOOP, "each is tried again alone"),
    ("its pod is being started",
     {"cnpg": deployed(pods=(PREVIOUS, starting()), rolling=True)},
     Status.UNKNOWN, Reason.ROLLOUT_IN_PROGRESS, "its new pods are being started"),
    ("its rollout is stuck",
     {"cnpg": deployed(pods=(PREVIOUS, starting()), rolling=True, stuck="no quota")},
     Status.UNKNOWN, Reason.ROLLOUT_IN_PROGRESS, "no quota"),
    ("its pod does not lead yet", {"cnpg": deployed(pods=(cnpg_pod(),), leader=None)},
     Status.UNKNOWN, Reason.ROLLOUT_IN_PROGRESS, "does not lead yet"),
    ("a previous pod leads", {"cnpg": deployed(
        pods=(PREVIOUS, cnpg_pod()), leader=replace(leader(ago(1)), pod="cnpg-0"))},
     Status.UNKNOWN, Reason.ROLLOUT_IN_PROGRESS, "does not lead yet"),
    ("its pod leads while another is made of the same template",
     {"cnpg": deployed(pods=(cnpg_pod(), starting()))}, Status.TRUE, Reason.AVAILABLE, "runs"),
    ("it was registered and has no leader for a moment",
     {"cnpg": deployed(pods=(cnpg_pod(),), leader=None), "registered": "r1"},
     Status.TRUE, Reason.AVAILABLE, "runs"),
    ("another revision was registered and there is no leader",
     {"cnpg": deployed(pods=(cnpg_pod(),), leader=None), "registered": "r0"},
     Status.UNKNOWN, Reason.ROLLOUT_IN_PROGRESS, "does not lead yet"),
    ("its fault is reported before its wait",
     {"member": replace(OUT, record=replace(SEEN, quarantine=CRASHED)), "pending": True,
      "rollout": WAITING},
     Status.FALSE, Reason.CRASH_LOOP, "removed from"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("facts", "status", "reason", "words"),
    [row[1:] for row in JUDGED],
    ids=[row[0] for row in JUDGED],
)
def test_a_sidecar_is_evaluated(
    facts: dict[str, Any], status: Status, reason: Reason, words: str
) -> None:
    verdict = decide_sidecar(situation(**facts))

    assert (verdict.status, verdict.reason) == (status, reason)
    assert words in verdict.message
