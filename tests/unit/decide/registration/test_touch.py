from dataclasses import replace
from typing import Any

import pytest

from cnpg_plugin_operator.decide.facts.cnpg import (
    Announcement,
    ClusterFacts,
    CNPGEvent,
    PluginStatusFacts,
    Touch,
)
from cnpg_plugin_operator.decide.facts.plugin import ForeignObject, Identity
from cnpg_plugin_operator.decide.registration.announcement import read_touch, write_touch
from cnpg_plugin_operator.decide.registration.cluster_reports import ANOTHER_IDENTITY
from cnpg_plugin_operator.decide.registration.touch import (
    BLOCKED,
    TouchInput,
    decide_touch,
    record_end,
    record_rivals,
)
from tests.support.unit.builders import NOW, ago, announcement, cnpg, leader

SAID = Identity("hello.example.org", "2.0")
LIVE = announcement("r1", at=ago(3600))
RECORD = "Service other (uid-2) at 2026-03-01T11:59:00Z"
RIVAL = CNPGEvent(False, "PluginCleanup", "removed", ago(5), "other", 77)
USER = ClusterFacts("app", "db", True, "", PluginStatusFacts("hello.example.org", "2.0"))
STALE_USER = replace(USER, plugin_status=PluginStatusFacts("hello.example.org", "1.0"))
STUCK = replace(USER, blocked=True, phase="Unknown plugin")


def touched(seconds: float, reason: str, times: int = 1) -> Announcement:
    return replace(LIVE, touch=Touch(ago(seconds), reason, times))


def decide(**facts: Any) -> Touch | None:
    usual = TouchInput(LIVE, cnpg(leader=leader(ago(7200))), (USER,), SAID, None, NOW)
    return decide_touch(replace(usual, **facts), "r1")


ANSWERED = "Event 77 about Service other"
ROWS = [
    ("nothing is wrong", {}, None),
    ("another Service was seen and is gone", {"live": replace(LIVE, disturbed=RECORD)}, RECORD),
    ("it was touched for that", {"live": replace(touched(9, RECORD), disturbed=RECORD)}, None),
    ("CloudNativePG's last word is about another Service", {"rival": RIVAL}, ANSWERED),
    ("that was answered", {"rival": RIVAL, "live": touched(2, ANSWERED)}, None),
    (
        "its word is older than the announcement",
        {"rival": RIVAL, "live": announcement("r1", at=ago(4))}, None,
    ),
    ("a Cluster is blocked", {"clusters": (STUCK,)}, BLOCKED),
    (
        "a Cluster is blocked by a new plugin that CloudNativePG has had no time for",
        {"clusters": (STUCK,), "live": announcement("r1", at=ago(29))}, None,
    ),
    (
        "a Cluster is blocked for a moment by a new leader",
        {"clusters": (STUCK,), "cnpg": cnpg(leader=leader(ago(29)))}, None,
    ),
    ("there is no leader", {"clusters": (STUCK,), "cnpg": cnpg(leader=None)}, None),
    ("a touch has had no time", {"clusters": (STUCK,), "live": touched(29, BLOCKED)}, None),
    ("a touch did not help", {"clusters": (STUCK,), "live": touched(31, BLOCKED)}, BLOCKED),
    ("the second has more time", {"clusters": (STUCK,), "live": touched(59, BLOCKED, 2)}, None),
    ("many touches did not help", {"clusters": (STUCK,), "live": touched(3599, BLOCKED, 40)}, None),
    ("an hour is over", {"clusters": (STUCK,), "live": touched(3601, BLOCKED, 40)}, BLOCKED),
    (
        "the phase may be an old one, which one touch is enough for",
        {"clusters": (replace(STUCK, up_to_date=False),)}, BLOCKED,
    ),
    (
        "the phase may be an old one and was touched for",
        {"clusters": (replace(STUCK, up_to_date=False),), "live": touched(900, BLOCKED)}, None,
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("facts", "reason"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS]
)
def test_the_service_is_touched_where_that_helps(facts: dict[str, Any], reason: str | None) -> None:
    found = decide(**facts)

    assert (found.reason if found else None) == reason


@pytest.mark.parametrize("version", ["1.24.3", "1.25.0", "1.25.1"])
def test_versions_that_ignore_a_touch_get_none(version: str) -> None:
    facts = cnpg(version=version, leader=leader(ago(7200)))

    assert decide(cnpg=facts, clusters=(STUCK,), rival=RIVAL) is None


def test_a_new_revision_needs_no_touch() -> None:
    given = TouchInput(LIVE, cnpg(), (STUCK,), SAID, RIVAL, NOW)

    assert decide_touch(given, "r2") is None


def test_a_touch_in_the_future_blocks_nothing() -> None:
    assert decide(clusters=(STUCK,), live=touched(-9000, BLOCKED)) is not None


def test_a_plugin_that_changes_its_answer_with_each_call_is_touched_every_ten_minutes() -> None:
    live, touches = LIVE, 0
    for second in range(0, 3600, 10):
        identity = Identity("hello.example.org", f"2.0-{second}")
        now = NOW.fromtimestamp(NOW.timestamp() + second, NOW.tzinfo)
        found = decide(live=live, clusters=(STALE_USER,), identity=identity, now=now)
        if found is not None:
            live, touches = replace(live, touch=found), touches + 1

    assert touches == 6


def test_one_identity_causes_one_touch() -> None:
    first = decide(clusters=(STALE_USER,))

    assert first is not None
    assert first.reason.startswith(ANOTHER_IDENTITY)
    assert decide(clusters=(STALE_USER,), live=touched(9000, first.reason)) is None


def test_touches_for_one_reason_are_counted_until_it_is_old() -> None:
    again = decide(clusters=(STUCK,), live=touched(900, BLOCKED, 3))
    later = decide(clusters=(STUCK,), live=touched(6 * 3600, BLOCKED, 3))

    assert again is not None
    assert later is not None
    assert (again.times, later.times) == (4, 1)


def test_a_touch_is_read_as_it_was_written() -> None:
    touch = Touch(ago(3), RECORD, 2)

    assert read_touch(write_touch(touch)) == touch


@pytest.mark.parametrize(
    "text", [None, 3, "", "r1", "[]", "{}", '{"at": "x", "for": "y", "times": 1}', "[" * 5000]
)
def test_an_annotation_of_others_is_no_touch(text: object) -> None:
    assert read_touch(text) is None


OTHER = ForeignObject("Service", "other", "Helm", uid="uid-2", published=True)


def test_another_service_is_recorded_once_until_its_touch() -> None:
    record = record_rivals(LIVE, [OTHER], NOW)

    assert record == "Service other (uid-2) at 2026-03-01T12:00:00Z"
    recorded = replace(LIVE, disturbed=record)
    assert record_rivals(recorded, [OTHER], NOW) is None
    answered = replace(recorded, touch=Touch(NOW, record))
    assert record_rivals(answered, [OTHER], NOW) is not None


def test_a_service_that_cloudnativepg_does_not_see_is_not_recorded() -> None:
    assert record_rivals(LIVE, [replace(OTHER, published=False)], NOW) is None
    assert record_rivals(None, [OTHER], NOW) is None


@pytest.mark.parametrize(
    ("version", "recorded"),
    [("", False), ("1.28.2", False), ("1.29.1", False), ("1.30.0", False), ("1.30.1", True)],
)
def test_the_end_of_an_own_service_is_recorded_where_no_event_reports_it(
    version: str, *, recorded: bool
) -> None:
    assert (record_end(LIVE, ["old (u1)"], version, NOW) is not None) is recorded
    assert record_end(LIVE, [], version, NOW) is None
    assert record_end(None, ["old (u1)"], version, NOW) is None
