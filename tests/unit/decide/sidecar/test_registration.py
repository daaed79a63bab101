"""Whether CloudNativePG found a socket: the gate's verdict, and when a restart would change it."""

from dataclasses import replace
from typing import Any

import pytest

from cnpg_plugin_operator.api.conditions import Reason, Status
from cnpg_plugin_operator.decide.facts.cnpg import ClusterFacts, CNPGPod, PluginStatusFacts
from cnpg_plugin_operator.decide.facts.plugin import HandshakeOutcome, Identity
from cnpg_plugin_operator.decide.sidecar.registration import (
    LATE_GRACE,
    PASSING,
    find_forgotten,
    find_late,
    forbid_restart,
    judge_handshake,
    judge_registration,
)
from cnpg_plugin_operator.decide.sidecar.sidecar import SidecarInput
from tests.support.unit.builders import NOW, ago, leader
from tests.support.unit.cnpg_pods import (
    cnpg_pod,
    deployed,
    identified,
    sidecar_container,
    situation,
)

SOCKET = "hello.example.org"
IDENTITY = Identity(SOCKET, "1.0.0")
MISSING = HandshakeOutcome(Reason.SOCKET_MISSING, "The socket was not opened.")
MISMATCH = HandshakeOutcome(Reason.IDENTITY_MISMATCH, "It calls itself x.")


def seen(outcome: HandshakeOutcome | None, since: float = 3550, **facts: Any) -> CNPGPod:
    """A pod whose gate saw this, and whose sidecar has been running for so many seconds."""
    verdicts = {SOCKET: outcome} if outcome is not None else {}
    running = sidecar_container(running_since=ago(since))
    return cnpg_pod(running, verdicts=verdicts, **facts)


def given(*pods: CNPGPod, **facts: Any) -> SidecarInput:
    return situation(cnpg=deployed(pods=pods), **facts)


@pytest.mark.parametrize(
    ("pod", "status", "reason", "words"),
    [
        pytest.param(seen(identified()), Status.TRUE, Reason.IDENTIFIED, "answered", id="it did"),
        pytest.param(seen(None), Status.FALSE, Reason.NO_ANSWER,
                     "cnpg-plugins-gate of pod cnpg-1 wrote no verdict", id="no verdict"),
        pytest.param(seen(MISMATCH), Status.FALSE, Reason.IDENTITY_MISMATCH, "sockets only then",
                     id="another name"),
        pytest.param(seen(MISSING), Status.FALSE, Reason.SOCKET_MISSING, "sidecars.deadline",
                     id="no socket"),
        pytest.param(seen(MISSING, since=60), Status.FALSE, Reason.SOCKET_MISSING,
                     "has restarted since", id="no socket then, but it has restarted"),
        pytest.param(seen(MISMATCH, since=60), Status.FALSE, Reason.IDENTITY_MISMATCH,
                     "sockets only then", id="another name, and it was restarted"),
        pytest.param(seen(MISSING, gate_ended=None), Status.FALSE, Reason.SOCKET_MISSING,
                     "its start", id="no socket, and no time of it"),
    ],
)  # fmt: skip
def test_the_verdict_of_the_gate_is_reported(
    pod: CNPGPod, status: Status, reason: Reason, words: str
) -> None:
    verdict, outcome = judge_handshake(given(pod))

    assert (verdict.status, verdict.reason) == (status, reason)
    assert words in verdict.message
    assert outcome == pod.verdicts.get(SOCKET)


def test_a_restart_without_effect_is_reported() -> None:
    facts = deployed(pods=(seen(MISSING, since=60),), restarted_for={"hello": "r1"})

    verdict, _ = judge_handshake(situation(cnpg=facts))

    assert "A restart of CloudNativePG did not change that" in verdict.message


def test_only_the_verdict_of_the_leading_pod_counts() -> None:
    other = seen(MISSING, name="cnpg-2")

    assert judge_handshake(given(other, seen(identified())))[0].is_true
    assert judge_handshake(given(other))[0].reason is Reason.NO_ANSWER


def test_without_a_leader_the_newest_pod_reports_a_registered_revision() -> None:
    pods = (seen(MISSING), seen(identified(), name="cnpg-2"))
    unled = situation(cnpg=deployed(pods=pods, leader=None), registered="r1")

    assert judge_handshake(unled)[0].is_true
    assert not judge_handshake(replace(unled, registered=""))[0].is_true


@pytest.mark.parametrize(
    ("pod", "late"),
    [
        pytest.param(seen(MISSING, since=60), True, id="it was restarted"),
        pytest.param(seen(MISSING), False, id="it runs as it did"),
        pytest.param(seen(MISSING, since=9), False, id="it has just been started"),
        pytest.param(seen(MISSING, since=LATE_GRACE.total_seconds()), True, id="long enough"),
        pytest.param(seen(MISMATCH, since=60), False, id="what does not pass"),
        pytest.param(seen(identified(), since=60), False, id="it had answered"),
        pytest.param(seen(None, since=60), False, id="the gate wrote no message"),
        pytest.param(seen(MISSING, since=60, gate_ended=None), False, id="the gate still waits"),
        pytest.param(
            cnpg_pod(sidecar_container(running_since=None), verdicts={SOCKET: MISSING}), False,
            id="it does not run",
        ),
        pytest.param(
            cnpg_pod(sidecar_container("other"), verdicts={SOCKET: MISSING}), False,
            id="it is not there",
        ),
        pytest.param(
            seen(MISSING, since=60, sidecars={"hello": "r0"}), False, id="of a previous revision"
        ),
    ],
)  # fmt: skip
def test_cloudnativepg_started_too_early_for(pod: CNPGPod, *, late: bool) -> None:
    found = list(find_late(given(pod)))

    assert bool(found) is late
    assert all((each.revision, each.announced_at) == ("r1", ago(each_since(pod))) for each in found)


def each_since(pod: CNPGPod) -> float:
    since = pod.pod.containers[0].running_since
    assert since is not None
    return (NOW - since).total_seconds()


@pytest.mark.parametrize("reason", sorted(PASSING))
def test_a_temporary_failure_is_worth_a_restart(reason: Reason) -> None:
    assert any(find_late(given(seen(HandshakeOutcome(reason, "no"), since=60))))


FORGOTTEN = ClusterFacts(
    "app", "db", False, "Cluster cannot proceed: unknown plugin", None, blocked=True
)


@pytest.mark.parametrize(
    ("cluster", "led", "found"),
    [
        pytest.param(FORGOTTEN, {}, True, id="a Cluster does not know the plugin"),
        pytest.param(FORGOTTEN, {"since": ago(20)}, False, id="a new leader may have no time yet"),
        pytest.param(
            FORGOTTEN, {"since": ago(900), "restarted_for": {"hello": "r1@forgotten/cnpg-0"}},
            False, id="the leader was started for that",
        ),
        pytest.param(
            FORGOTTEN, {"restarted_for": {"hello": "r1@forgotten/cnpg-0"}},
            True, id="the leader was started for that long ago",
        ),
        pytest.param(
            replace(FORGOTTEN, phase="an error while interacting with plugins"), {}, False,
            id="the plugin answers with an error",
        ),
        pytest.param(replace(FORGOTTEN, up_to_date=False), {}, False, id="the phase may be old"),
        pytest.param(replace(FORGOTTEN, blocked=False), {}, False, id="another plugin"),
    ],
)  # fmt: skip
def test_a_leader_that_forgot_the_socket_is_replaced_once_an_hour(
    cluster: ClusterFacts, led: dict[str, Any], *, found: bool
) -> None:
    facts = given(cnpg_pod(), clusters=(cluster,))
    facts = replace(facts, cnpg=replace(facts.cnpg, leader=replace(LED, **led)))

    assert any(find_forgotten(facts)) is found


def test_a_sidecar_that_blocks_clusters_is_not_registered() -> None:
    verdict = judge_registration(
        situation(clusters=(FORGOTTEN,), cnpg=deployed(pods=(cnpg_pod(),), leader=LED)), None
    )

    assert (verdict.status, verdict.reason) == (Status.FALSE, Reason.CLUSTERS_BLOCKED)
    assert "app/db" in verdict.message


def test_any_pod_may_have_started_too_early() -> None:
    pods = (seen(identified()), seen(MISSING, since=60, name="cnpg-2"))

    assert len(list(find_late(given(*pods)))) == 1


LED = replace(leader(ago(3600)), pod="cnpg-1")


def cluster(version: str | None, **facts: Any) -> ClusterFacts:
    shown = PluginStatusFacts(SOCKET, version) if version else None
    usual = ClusterFacts("app", "db", healthy=True, phase="", plugin_status=shown)
    return replace(usual, **facts)


BLOCKED = cluster("1.0.0", blocked=True, phase="Unknown plugin.")


@pytest.mark.parametrize(
    ("pods", "clusters", "reason", "words"),
    [
        pytest.param((seen(identified()),), (), Reason.REGISTERED,
                     "started after the plugin's socket answered.", id="one pod"),
        pytest.param((seen(identified()), seen(identified(), name="cnpg-2")), (),
                     Reason.REGISTERED, "started after", id="two replicas"),
        pytest.param((seen(identified()), seen(MISSING, name="cnpg-2")), (),
                     Reason.AWAITING_REGISTRATION, "in pod cnpg-2.", id="one of two replicas"),
        pytest.param((seen(MISSING, name="cnpg-2"), seen(MISSING, name="cnpg-3")), (),
                     Reason.AWAITING_REGISTRATION, "cnpg-2, cnpg-3", id="neither replica"),
        pytest.param((seen(identified()), seen(None, name="cnpg-2", gate_ended=None)), (),
                     Reason.REGISTERED, "started after", id="a pod that only starts"),
        pytest.param((seen(identified()), seen(MISSING, name="cnpg-2", sidecars={})), (),
                     Reason.REGISTERED, "started after", id="a pod without it"),
        pytest.param((seen(identified()),), (cluster("1.0.0"),), Reason.REGISTERED,
                     "Cluster app/db reports version 1.0.0", id="a Cluster shows it"),
        pytest.param((seen(identified()),), (cluster("0.9.0"),), Reason.REGISTERED,
                     "started after", id="a Cluster shows the previous one"),
        pytest.param((seen(identified()),), (BLOCKED,), Reason.CLUSTERS_BLOCKED,
                     "Not reconciled because of it: app/db (Unknown plugin).", id="one blocks"),
    ],
)  # fmt: skip
def test_the_registration_of_a_sidecar_is_evaluated(
    pods: tuple[CNPGPod, ...], clusters: tuple[ClusterFacts, ...], reason: Reason, words: str
) -> None:
    verdict = judge_registration(given(*pods, clusters=clusters), IDENTITY)

    assert verdict.reason is reason
    assert verdict.is_true is (reason is Reason.REGISTERED)
    assert words in verdict.message


def test_a_registered_sidecar_that_does_not_work_with_this_cloudnativepg_says_so() -> None:
    started = (seen(identified()),)
    host = deployed(pods=started, version="1.31.0")
    verdict = judge_registration(situation(cnpg=host), Identity("klio.cnpg.io", "0.0.20"))

    assert verdict.reason is Reason.REGISTERED
    assert "klio.cnpg.io 0.0.20 with CloudNativePG 1.31.0" in verdict.message


def test_the_message_names_who_can_allow_a_restart() -> None:
    verdict = forbid_restart(situation())

    assert verdict.reason is Reason.RESTART_FORBIDDEN
    assert "kubectl rollout restart deployment cnpg-controller-manager" in verdict.message
