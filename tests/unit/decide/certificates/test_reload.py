"""What is done about pods that have not loaded their renewed certificates."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from cnpg_plugin_operator.decide.certificates.reload import (
    RELOAD_DEADLINE,
    FollowInput,
    Step,
    decide_following,
)
from tests.support.unit.builders import NOW

BEHIND = FollowInput(
    mode="Auto",
    behind=("hello-1",),
    certificates="new",
    restarted_for="",
    changed_at=NOW,
    now=NOW,
)
LATE = {"now": NOW + RELOAD_DEADLINE}
EARLY = {"now": NOW + RELOAD_DEADLINE - timedelta(seconds=1)}

STEPS: list[tuple[str, dict[str, Any], Step]] = [
    ("nothing where all have followed", {"behind": ()}, Step.NOTHING),
    ("nothing where all have followed, however late", {"behind": (), **LATE}, Step.NOTHING),
    ("nothing where all have followed a restart", {"behind": (), "restarted_for": "new"},
     Step.NOTHING),
    ("waits at first", {}, Step.WAIT),
    ("waits to the last second", EARLY, Step.WAIT),
    ("waits for several", {"behind": ("hello-1", "hello-2")}, Step.WAIT),
    ("waits although pods were restarted for others before", {"restarted_for": "others"},
     Step.WAIT),
    ("restarts in the end", LATE, Step.RESTART),
    ("restarts what was restarted for others before", {"restarted_for": "others", **LATE},
     Step.RESTART),
    ("restarts if the time of change is unknown", {"changed_at": None}, Step.RESTART),
    ("never restarts twice for one certificate", {"restarted_for": "new", **LATE}, Step.LEAVE),
    ("never restarts twice if that time is unknown",
     {"restarted_for": "new", "changed_at": None}, Step.LEAVE),
    ("ignores pods that the user restarts", {"mode": "None"}, Step.LEAVE),
    ("ignores them, however late", {"mode": "None", **LATE}, Step.LEAVE),
    ("ignores pods once they are being restarted",
     {"mode": "Restart", "restarted_for": "new"}, Step.LEAVE),
]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "step"), [row[1:] for row in STEPS], ids=[row[0] for row in STEPS]
)
def test_the_operator(changes: dict[str, Any], step: Step) -> None:
    assert decide_following(replace(BEHIND, **changes)) is step


def test_a_pod_gets_more_time_than_a_kubelet_needs() -> None:
    assert timedelta(minutes=2) < RELOAD_DEADLINE
