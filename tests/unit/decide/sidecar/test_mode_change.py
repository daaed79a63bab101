from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from cnpg_plugin_operator.api.conditions import Reason
from cnpg_plugin_operator.decide.facts.cnpg import CNPGFacts, CNPGPod, LeaderFacts
from cnpg_plugin_operator.decide.facts.plugin import HandshakeOutcome
from cnpg_plugin_operator.decide.sidecar.mode_change import (
    MovingInput,
    PreviousService,
    Visibility,
    decide_visibility,
    find_seen,
    may_leave,
)
from cnpg_plugin_operator.desired.sidecars import build_template
from tests.support.unit.builders import ago, leader
from tests.support.unit.cnpg_pods import GATE, PLACE, WANTED, cnpg_pod, deployed, identified

SOCKET = "hello.example.org"
MISSING = HandshakeOutcome(Reason.SOCKET_MISSING, "no socket")

PREVIOUS = replace(cnpg_pod(name="cnpg-1"), sidecars={}, verdicts={})
PROVEN = cnpg_pod(name="cnpg-2", verdicts={SOCKET: identified()})
STARTING = replace(PROVEN, gate_ended=None, verdicts={})
UNPROVEN = replace(PROVEN, verdicts={SOCKET: MISSING})

SHOWN = PreviousService("hello", labelled=True, announced=True, seen_by=None)
HIDDEN = PreviousService("hello", labelled=False, announced=True, seen_by=frozenset({"cnpg-1"}))
BEFORE = deployed(pods=(PREVIOUS,))
PLACED = build_template([WANTED], PLACE, GATE, {})


def led_by(pod: str, since: datetime | None = None, **restarted_for: str) -> LeaderFacts:
    return replace(leader(ago(60), **restarted_for), pod=pod, since=since)


def after(*pods: CNPGPod, leader: LeaderFacts | None = None) -> CNPGFacts:
    return deployed(PLACED, pods=pods, leader=leader or led_by("cnpg-1"))


def situation(**facts: Any) -> MovingInput:
    """The sidecar is in the Deployment, the old leader leads, the label is removed."""
    usual = MovingInput("hello", SOCKET, HIDDEN, after(PREVIOUS, STARTING))
    return replace(usual, **facts)


ROWS = [
    ("nothing is placed yet", {"cnpg": BEFORE, "service": SHOWN}, Visibility.KEEP),
    ("a process died before it placed the sidecar", {"cnpg": BEFORE}, Visibility.SHOW),
    ("the sidecar was removed again", {"cnpg": deployed({}, pods=(PROVEN,))}, Visibility.SHOW),
    ("a Service that says nothing shows nothing",
     {"cnpg": BEFORE, "service": replace(HIDDEN, announced=False)}, Visibility.KEEP),
    ("the old leader continues", {}, Visibility.KEEP),
    ("another tool labels it while the new pod starts", {"service": SHOWN}, Visibility.HIDE),
    ("another tool labelled it, and the new leader took it",
     {"cnpg": after(PROVEN, leader=led_by("cnpg-2")), "service": replace(HIDDEN, labelled=True)},
     Visibility.SHOW),
    ("it is unknown who saw it", {"service": replace(HIDDEN, seen_by=None)}, Visibility.HIDE),
    ("it never said anything, and there is no record",
     {"service": replace(HIDDEN, announced=False, seen_by=None)}, Visibility.HIDE),
    ("there is no leader",
     {"cnpg": replace(after(PREVIOUS, STARTING), leader=None), "service": SHOWN}, Visibility.KEEP),
    ("the leader is terminating",
     {"cnpg": after(STARTING), "service": SHOWN}, Visibility.KEEP),
    ("the new leader has the socket",
     {"cnpg": after(PROVEN, leader=led_by("cnpg-2"))}, Visibility.KEEP),
    ("the new leader started without the socket",
     {"cnpg": after(UNPROVEN, leader=led_by("cnpg-2"))}, Visibility.SHOW),
    ("and keeps using the Service",
     {"cnpg": after(UNPROVEN, leader=led_by("cnpg-2")), "service": SHOWN}, Visibility.KEEP),
    ("the new leader took the Service, which stays until the next",
     {"cnpg": after(PROVEN, leader=led_by("cnpg-2")), "service": SHOWN}, Visibility.KEEP),
]  # fmt: skip


@pytest.mark.parametrize(
    ("facts", "expected"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS]
)
def test_cloudnativepg_sees_the_previous_service_exactly_while_it_needs_it(
    facts: dict[str, Any], expected: Visibility
) -> None:
    assert decide_visibility(situation(**facts)) is expected


NEW: dict[str, Any] = {"cnpg": after(PROVEN, leader=led_by("cnpg-2"))}


@pytest.mark.parametrize(
    ("facts", "leaves", "restarts"),
    [
        pytest.param({}, False, False, id="the old leader leads"),
        pytest.param(NEW, True, False, id="the new leader never saw the label"),
        pytest.param({**NEW, "service": SHOWN}, False, True, id="the new leader sees it"),
        pytest.param(
            {**NEW, "service": replace(HIDDEN, seen_by=frozenset({"cnpg-1", "cnpg-2"}))},
            False, True, id="the new leader may have seen it",
        ),
        pytest.param(
            {**NEW, "service": replace(HIDDEN, seen_by=None)}, False, True,
            id="it is unknown who saw it",
        ),
        pytest.param(
            {"cnpg": after(UNPROVEN, leader=led_by("cnpg-2"))}, False, False,
            id="the new leader has no socket",
        ),
        pytest.param(
            {"service": SHOWN,
             "cnpg": after(PROVEN, leader=led_by("cnpg-2", hello="r1@service/cnpg-1"))},
            False, False, id="a restart for that did not help",
        ),
    ],
)  # fmt: skip
def test_the_service_is_deleted_once_the_leader_never_saw_it(
    facts: dict[str, Any], *, leaves: bool, restarts: bool
) -> None:
    given = situation(**facts)

    assert may_leave(given) is leaves
    assert (find_seen(given, "r1") is not None) is restarts


def test_each_leader_that_took_the_service_is_a_separate_reason() -> None:
    found = find_seen(situation(**NEW, service=SHOWN), "r1")

    assert found is not None
    assert found.revision == "r1@service/cnpg-2"
    assert found.announced_at == ago(60), "as old as the leader: it does not count as covered"
