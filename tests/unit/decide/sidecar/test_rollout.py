"""When the set of sidecars is applied: unblocking changes at once, disturbing ones later."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from cnpg_plugin_operator.decide.facts.cnpg import CNPGPod
from cnpg_plugin_operator.decide.registration.obstacles import LOOK_AGAIN, LOOK_AT_CLUSTERS
from cnpg_plugin_operator.decide.registration.restart import (
    Action,
    Pace,
    decide_restart,
)
from cnpg_plugin_operator.decide.sidecar.rollout import Roll, RolloutInput, decide_rollout
from tests.support.unit.builders import NOW, ago, announcement, cnpg, pod, restarting

PACE = Pace()
BUSY = ("app/db (Failing over)",)
ROLLING = cnpg(rolling=True)

ENDING = CNPGPod(pod(deleting=True))


def situation(**facts: Any) -> RolloutInput:
    """A difference that is old enough, with an idle CloudNativePG."""
    usual = RolloutInput(
        differs=True,
        forbidden=False,
        unblocking=False,
        cnpg=cnpg(),
        busy=(),
        first=ago(30),
        last=ago(30),
        pace=PACE,
        now=NOW,
    )
    return replace(usual, **facts)


SITUATIONS: list[tuple[str, dict[str, Any], Roll, str]] = [
    ("a difference is applied", {}, Roll.APPLY, ""),
    ("no difference is nothing to do", {"differs": False}, Roll.NOTHING, ""),
    ("no difference comes before all else",
     {"differs": False, "forbidden": True, "unblocking": True, "busy": BUSY},
     Roll.NOTHING, ""),
    ("what is forbidden is not done", {"forbidden": True}, Roll.FORBIDDEN, "restartPolicy"),
    ("what is forbidden is not done to unblock", {"forbidden": True, "unblocking": True},
     Roll.FORBIDDEN, "restartPolicy"),
    ("what is forbidden is not done while nothing runs",
     {"forbidden": True, "cnpg": cnpg(replicas=0)},
     Roll.FORBIDDEN, "restartPolicy"),
    ("what unblocks is done during a rollout", {"unblocking": True, "cnpg": ROLLING},
     Roll.APPLY, ""),
    ("what unblocks is done in a rollout that is stuck",
     {"unblocking": True, "cnpg": cnpg(rolling=True, stuck="no image")}, Roll.APPLY, ""),
    ("what unblocks is done without a leader",
     {"unblocking": True, "cnpg": cnpg(leader=None, available=False)}, Roll.APPLY, ""),
    ("what unblocks is done beside a busy Cluster", {"unblocking": True, "busy": BUSY},
     Roll.APPLY, ""),
    ("what unblocks does not settle", {"unblocking": True, "first": NOW, "last": NOW},
     Roll.APPLY, ""),
    ("without replicas nothing rolls", {"cnpg": cnpg(replicas=0)}, Roll.APPLY, ""),
    ("without replicas nothing waits",
     {"cnpg": cnpg(replicas=0, leader=None, available=False), "busy": BUSY, "last": NOW},
     Roll.APPLY, ""),
    ("it waits for a rollout", {"cnpg": ROLLING}, Roll.WAIT, "is being rolled out"),
    ("a stuck rollout is reported",
     {"cnpg": cnpg(rolling=True, stuck="pod x finds no node")}, Roll.WAIT, "pod x finds no node"),
    ("a paused Deployment is reported", {"cnpg": cnpg(stuck="it is paused")},
     Roll.WAIT, "it is paused"),
    ("under OLM, a roll waits for a terminating pod",
     {"cnpg": cnpg(olm="x", pods=(ENDING,))}, Roll.WAIT, "is being rolled out"),
    ("under OLM, a roll does not wait for a pod that stays",
     {"cnpg": cnpg(olm="x", pods=(CNPGPod(pod()),))}, Roll.APPLY, ""),
    ("a terminating pod after a rollout delays no other", {"cnpg": cnpg(pods=(ENDING,))},
     Roll.APPLY, ""),
    ("it waits for an unavailable CloudNativePG", {"cnpg": cnpg(available=False)},
     Roll.WAIT, "is being rolled out"),
    ("it waits for a leader of CloudNativePG", {"cnpg": cnpg(leader=None)},
     Roll.WAIT, "is being rolled out"),
    ("a rollout is reported before a busy Cluster", {"cnpg": ROLLING, "busy": BUSY},
     Roll.WAIT, "is being rolled out"),
    ("a busy Cluster is not disturbed", {"busy": BUSY}, Roll.WAIT,
     "Cluster app/db (Failing over) must not be disturbed"),
    ("busy Clusters are counted", {"busy": (*BUSY, "b/c (x)", "b/d (x)")}, Roll.WAIT, "and 2 more"),
    ("a busy Cluster is reported before the pause", {"busy": BUSY, "last": NOW}, Roll.WAIT,
     "must not be disturbed"),
    ("a recent roll for sidecars makes the next one wait",
     {"cnpg": cnpg(rolled_at=ago(299))},
     Roll.WAIT, "was last rolled at 2026-03-01 11:55:01 UTC"),
    ("a recent restart makes a roll wait", {"cnpg": cnpg(restarted_at=ago(9))},
     Roll.WAIT, "was last rolled"),
    ("a roll long ago does not count", {"cnpg": cnpg(rolled_at=ago(300))}, Roll.APPLY, ""),
    ("a roll in the future does not count", {"cnpg": cnpg(rolled_at=ago(-9))}, Roll.APPLY, ""),
    ("what unblocks does not wait for a roll", {"unblocking": True, "cnpg": cnpg(rolled_at=NOW)},
     Roll.APPLY, ""),
    ("without replicas no roll makes it wait", {"cnpg": cnpg(replicas=0, rolled_at=NOW)},
     Roll.APPLY, ""),
    ("a recent change waits", {"last": ago(9)}, Roll.WAIT, "may change as well"),
    ("a change that is old enough is applied", {"last": ago(10)}, Roll.APPLY, ""),
    ("what keeps changing is applied in the end", {"first": ago(60), "last": NOW},
     Roll.APPLY, ""),
    ("what keeps changing waits until then", {"first": ago(59), "last": NOW},
     Roll.WAIT, "may change as well"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("facts", "action", "words"),
    [row[1:] for row in SITUATIONS],
    ids=[row[0] for row in SITUATIONS],
)
def test_the_rollout_is_decided(facts: dict[str, Any], action: Roll, words: str) -> None:
    rollout = decide_rollout(situation(**facts))

    assert rollout.action is action
    assert words in rollout.reason
    assert bool(rollout.reason) is bool(words)
    assert (rollout.after > timedelta(0)) is (action is Roll.WAIT), "only who waits comes back"


@pytest.mark.parametrize(
    ("facts", "after"),
    [
        pytest.param({"cnpg": ROLLING}, LOOK_AGAIN, id="a rollout"),
        pytest.param({"busy": BUSY}, LOOK_AT_CLUSTERS, id="a busy Cluster"),
        pytest.param({"last": NOW}, LOOK_AGAIN, id="a pause that is long"),
        pytest.param({"last": ago(9)}, timedelta(seconds=1), id="the rest of a pause"),
        pytest.param(
            {"first": ago(59), "last": ago(1)}, timedelta(seconds=1), id="the rest of the longest"
        ),
    ],
)
def test_the_next_evaluation_is_scheduled(facts: dict[str, Any], after: timedelta) -> None:
    assert decide_rollout(situation(**facts)).after == after


@pytest.mark.parametrize("settle", [0, 1, 30])
@pytest.mark.parametrize("longest", [0, 20, 40])
@pytest.mark.parametrize("age", [0, 1, 19, 20, 29, 30, 39, 40])
def test_the_pause_ends_after_the_last_change_or_the_longest_wait(
    settle: int, longest: int, age: int
) -> None:
    pace = Pace(settle=timedelta(seconds=settle), settle_max=timedelta(seconds=longest))
    given = situation(first=ago(age), last=ago(age), pace=pace)

    waits = decide_rollout(given).action is Roll.WAIT

    assert waits is (age < min(settle, longest))


@pytest.mark.parametrize("change", [True, False])
def test_a_restart_waits_for_sidecars_that_are_about_to_change(*, change: bool) -> None:
    published = {"hello": announcement(at=ago(60))}

    decision = decide_restart(restarting(cnpg(), published, sidecars_change=change))

    assert decision.action is (Action.WAIT if change else Action.RESTART)
    assert decision.after == (LOOK_AGAIN if change else timedelta(0))
