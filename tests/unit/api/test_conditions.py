from datetime import timedelta
from typing import Any

import pytest

from cnpg_plugin_operator.api.conditions import (
    FINAL,
    SUMMED_UP,
    Reason,
    Status,
    Type,
    Verdict,
    no,
    summarize,
    unknown,
    yes,
)
from cnpg_plugin_operator.api.status import merge
from tests.support.unit.builders import NOW

ALL_TRUE = {kind: yes(Reason.ACCEPTED, "fine") for kind in SUMMED_UP}


def by_type(conditions: Any) -> dict[str, dict[str, Any]]:
    return {condition["type"]: condition for condition in conditions}


def test_every_type_is_present_from_the_first_pass() -> None:
    conditions = by_type(merge((), {}, generation=1, now=NOW))

    assert list(conditions) == [*SUMMED_UP, Type.READY, Type.RECONCILING]
    assert conditions.pop("Reconciling")["status"] == "True"
    assert {condition["status"] for condition in conditions.values()} == {"Unknown"}
    assert {condition["reason"] for condition in conditions.values()} == {"NotYetReported"}


def test_ready_is_true_where_all_conditions_are() -> None:
    assert summarize(ALL_TRUE).status is Status.TRUE


@pytest.mark.parametrize("kind", SUMMED_UP)
@pytest.mark.parametrize("verdict", [no(Reason.EXPIRED, "bad"), unknown(Reason.ISSUING, "wait")])
def test_ready_repeats_the_first_condition_that_is_not_true(kind: Type, verdict: Verdict) -> None:
    later = {later: no(Reason.CRASH_LOOP, "later") for later in SUMMED_UP[SUMMED_UP.index(kind) :]}

    assert summarize({**ALL_TRUE, **later, kind: verdict}) == verdict


@pytest.mark.parametrize(
    ("verdict", "beside"),
    [
        (yes(Reason.ACCEPTED, "fine"), []),
        (unknown(Reason.ISSUING, "wait"), [Type.RECONCILING]),
        (unknown(Reason.AWAITING_APPROVAL, "wait"), [Type.RECONCILING]),
        (no(Reason.CLUSTER_ERROR, "again"), []),
        (no(Reason.IN_USE, "deleted later"), []),
        *[(no(reason, "change it"), [Type.STALLED]) for reason in sorted(FINAL)],
    ],
    ids=lambda value: value.reason if isinstance(value, Verdict) else "",
)
def test_tools_are_told_whether_to_wait(verdict: Verdict, beside: list[Type]) -> None:
    verdicts = {**ALL_TRUE, Type.ACCEPTED: verdict}
    conditions = by_type(merge((), verdicts, generation=1, now=NOW))
    assert list(conditions)[len(SUMMED_UP) + 1 :] == beside
    for kind in beside:
        told = conditions[kind]
        assert (told["status"], told["reason"], told["message"]) == (
            "True",
            verdict.reason,
            verdict.message,
        )


def test_a_suspended_plugin_neither_waits_nor_is_stalled() -> None:
    verdicts = {Type.ACCEPTED: no(Reason.INVALID_SPEC, "bad")}
    suspended = {**verdicts, Type.SUSPENDED: yes(Reason.SUSPENDED, "asked for")}
    before = merge((), verdicts, generation=1, now=NOW)
    assert "Stalled" in by_type(before)
    after = by_type(merge(before, suspended, generation=1, now=NOW))
    assert list(after)[-1] == "Suspended"
    assert "Stalled" not in after


def test_the_transition_time_changes_only_with_the_status() -> None:
    first = merge((), {Type.ACCEPTED: yes(Reason.ACCEPTED, "one")}, generation=1, now=NOW)
    later = NOW + timedelta(minutes=1)
    again = merge(first, {Type.ACCEPTED: yes(Reason.ACCEPTED, "two")}, generation=2, now=later)
    flipped = merge(again, {Type.ACCEPTED: no(Reason.NAME_CONFLICT, "x")}, generation=2, now=later)

    assert by_type(again)["Accepted"]["lastTransitionTime"] == "2026-03-01T12:00:00Z"
    assert by_type(again)["Accepted"]["message"] == "two"
    assert by_type(again)["Accepted"]["observedGeneration"] == 2
    assert by_type(flipped)["Accepted"]["lastTransitionTime"] == "2026-03-01T12:01:00Z"


def test_conditions_of_other_writers_do_not_stop_a_report() -> None:
    conditions = merge([{"no": "type"}], ALL_TRUE, generation=1, now=NOW)

    assert by_type(conditions)["Ready"]["status"] == "True"


def test_reasons_match_the_pattern_of_kubernetes() -> None:
    assert all(reason.value.isalnum() and reason.value[0].isupper() for reason in Reason)
