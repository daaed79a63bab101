from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from cnpg_plugin_operator.api.conditions import Reason
from cnpg_plugin_operator.decide.facts.cnpg import CNPGFacts, CNPGPod, LeaderFacts
from cnpg_plugin_operator.decide.facts.plugin import HandshakeOutcome
from cnpg_plugin_operator.decide.sidecar.mode_change import (
    FormerService,
    MovingInput,
    Sight,
    decide_sight,
    find_seen,
    may_leave,
)
from cnpg_plugin_operator.desired.sidecars import build_template
from tests.support.unit.builders import ago, leader
from tests.support.unit.cnpg_pods import GATE, PLACE, WANTED, cnpg_pod, deployed, identified

SOCKET = "hello.example.org"
MISSING = HandshakeOutcome(Reason.SOCKET_MISSING, "no socket")

FORMER = replace(cnpg_pod(name="cnpg-1"), sidecars={}, verdicts={})
PROVEN = cnpg_pod(name="cnpg-2", verdicts={SOCKET: identified()})
STARTING = replace(PROVEN, gate_ended=None, verdicts={})
UNPROVEN = replace(PROVEN, verdicts={SOCKET: MISSING})

SHOWN = FormerService("hello", labelled=True, announced=True, seen_by=None)
HIDDEN = FormerService("hello", labelled=False, announced=True, seen_by=frozenset({"cnpg-1"}))
BEFORE = deployed(pods=(FORMER,))
PLACED = build_template([WANTED], PLACE, GATE, {})


def led_by(pod: str, since: datetime | None = None, **restarted_for: str) -> LeaderFacts:
    return replace(leader(ago(60), **restarted_for), pod=pod, since=since)


def after(*pods: CNPGPod, leader: LeaderFacts | None = None) -> CNPGFacts:
    return deployed(PLACED, pods=pods, leader=leader or led_by("cnpg-1"))


def situation(**facts: Any) -> MovingInput:
    """The sidecar is in the Deployment, the old leader leads, the label is off."""
    usual = MovingInput("hello", SOCKET, HIDDEN, after(FORMER, STARTING))
    return replace(usual, **facts)


ROWS = [
    ("nothing is placed yet", {"cnpg": BEFORE, "service": SHOWN}, Sight.KEEP),
    ("a process died before it placed the sidecar", {"cnpg": BEFORE}, Sight.SHOW),
    ("the sidecar was taken out again", {"cnpg": deployed({}, pods=(PROVEN,))}, Sight.SHOW),
    ("a Service that says nothing shows nothing",
     {"cnpg": BEFORE, "service": replace(HIDDEN, announced=False)}, Sight.KEEP),
    ("the old leader goes on", {}, Sight.KEEP),
    ("another tool labels it while the new pod starts", {"service": SHOWN}, Sight.HIDE),
    ("there is no leader",
     {"cnpg": replace(after(FORMER, STARTING), leader=None), "service": SHOWN}, Sight.KEEP),
    ("the leader is on its way out",
     {"cnpg": after(STARTING), "service": SHOWN}, Sight.KEEP),
    ("the new leader has the socket",
     {"cnpg": after(PROVEN, leader=led_by("cnpg-2"))}, Sight.KEEP),
    ("the new leader started without the socket",
     {"cnpg": after(UNPROVEN, leader=led_by("cnpg-2"))}, Sight.SHOW),
    ("and goes on with the Service",
     {"cnpg": after(UNPROVEN, leader=led_by("cnpg-2")), "service": SHOWN}, Sight.KEEP),
    ("the new leader took the Service, which stays until the next",
     {"cnpg": after(PROVEN, leader=led_by("cnpg-2")), "service": SHOWN}, Sight.KEEP),
]  # fmt: skip


@pytest.mark.parametrize(
    ("facts", "expected"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS]
)
def test_cloudnativepg_sees_the_former_service_exactly_while_it_needs_it(
    facts: dict[str, Any], expected: Sight
) -> None:
    assert decide_sight(situation(**facts)) is expected


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
            id="nothing tells who saw it",
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
def test_the_service_goes_once_the_leader_never_saw_it(
    facts: dict[str, Any], *, leaves: bool, restarts: bool
) -> None:
    given = situation(**facts)

    assert may_leave(given) is leaves
    assert (find_seen(given, "r1") is not None) is restarts


def test_each_leader_that_took_the_service_is_a_reason_of_its_own() -> None:
    found = find_seen(situation(**NEW, service=SHOWN), "r1")

    assert found is not None
    assert found.revision == "r1@service/cnpg-2"
    assert found.announced_at == ago(60), "as old as the leader: it does not count as covered"
