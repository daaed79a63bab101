"""How a soak is judged: what grows, and which calls may fail."""

from dataclasses import replace

import pytest

from tests.bench.figures import Figure, Sheet
from tests.soak.judgement import (
    GRACE,
    TABLE,
    WARM_UP,
    Disturbed,
    Sample,
    find_faults,
    judge_calls,
    judge_disturbances,
    judge_rates,
    judge_samples,
)
from tests.soak.plan import CALLED, Act, Disturbance, Soaked
from tests.support.e2e.probe_calls import Call

OVERLAPPING = next(each for each in CALLED if each.kind.overlaps)
ALONE = next(each for each in CALLED if not each.kind.overlaps)


def samples(
    minutes: int, growth: float = 0.0, *, life: int = 0, since: float = 0.0
) -> list[Sample]:
    """One in each minute, of a process that grows by so many MB an hour once it is warm."""
    return [
        Sample(
            at=since + minute * 60,
            life=life,
            resident=80 + growth * minute / 60 + (-30 if minute < WARM_UP / 60 else minute % 2),
            anonymous=60 + growth * minute / 60,
            descriptors=50 + minute % 2,
            tasks=40,
            cpu=minute * 0.6,
        )
        for minute in range(minutes)
    ]


def figures(sheet: Sheet) -> dict[str, Figure]:
    return {figure.name: figure for figure in sheet.figures}


@pytest.mark.parametrize(("growth", "ok"), [(0.0, True), (0.9, True), (1.2, False), (-3.0, True)])
def test_growth_is_a_slope_without_the_warm_up(growth: float, ok: object) -> None:
    judge_samples(sheet := Sheet(TABLE), samples(120, growth))

    found = figures(sheet)
    assert found["growth of RSS"].ok is found["growth of anonymous memory"].ok is ok
    assert found["growth of anonymous memory"].value == pytest.approx(growth, abs=0.01)
    assert found["CPU"].value == pytest.approx(1.0)


def test_descriptors_and_tasks_may_vary_but_not_grow() -> None:
    steady = samples(60)
    leaking = [replace(s, tasks=40 + n // 5, descriptors=50 + n // 6) for n, s in enumerate(steady)]
    judge_samples(calm := Sheet(TABLE), steady)
    judge_samples(bad := Sheet(TABLE), leaking)

    for name in ("growth of descriptors", "growth of tasks"):
        assert (figures(calm)[name].ok, figures(bad)[name].ok) == (True, False)


def test_a_restart_is_a_failure_and_the_longest_life_is_judged() -> None:
    first, second = samples(20), samples(60, 0.5, life=1, since=1200)
    judge_samples(sheet := Sheet(TABLE), [*first, *second])

    found = figures(sheet)
    assert found["restarts of the operator"].ok is False
    assert found["growth of anonymous memory"].value == pytest.approx(0.5, abs=0.01)


def failed(t: float, reason: str, service: str = ALONE.name) -> Call:
    """A call that took a second."""
    return Call(t, service, False, reason, "said", 1000.0, "", "", [])


def disturbed(act: Act, plugin: Soaked | None = None) -> Disturbed:
    """From second 100 to 110."""
    return Disturbed(Disturbance(1.0, act, plugin), 100.0, 110.0)


KILLED = disturbed(Act.KILL, ALONE)
AWAY = disturbed(Act.BLIP)
CALLS = {
    "no pod": (failed(105, "Unreachable"), KILLED, True),
    "no pod, and the call began before": (failed(99.5, "Unreachable"), KILLED, True),
    "no pod, and kube-proxy is late": (failed(110 + GRACE, "NoAnswer"), KILLED, True),
    "too late": (failed(111 + GRACE, "Unreachable"), KILLED, False),
    "too early": (failed(98, "Unreachable"), KILLED, False),
    "another plugin": (failed(105, "Unreachable", OVERLAPPING.name), KILLED, False),
    "no trust": (failed(105, "TLSRejected"), KILLED, False),
    "a process that ended in the middle": (
        replace(failed(105, "TLSRejected"), closed=True),
        KILLED,
        True,
    ),
    "no API server": (failed(105, "NotRead", OVERLAPPING.name), AWAY, True),
    "no pod without an API server": (failed(105, "Unreachable"), AWAY, False),
    "a rollout": (failed(105, "Unreachable"), disturbed(Act.ROLL, ALONE), True),
    "a rollout of pods that overlap": (
        failed(105, "Unreachable", OVERLAPPING.name),
        disturbed(Act.ROLL, OVERLAPPING),
        False,
    ),
    "a plugin that is created again": (
        failed(105, "NotAnnounced"),
        disturbed(Act.RECREATE, ALONE),
        True,
    ),
    "a renewal": (failed(105, "Unreachable"), disturbed(Act.RENEW, ALONE), False),
    "CloudNativePG's restart": (failed(105, "NotAnnounced"), disturbed(Act.RESTART_CNPG), False),
}


@pytest.mark.parametrize(("call", "around", "allowed"), CALLS.values(), ids=CALLS)
def test_a_failed_call_needs_a_disturbance_that_allows_it(
    call: Call, around: Disturbed, allowed: object
) -> None:
    judge_calls(sheet := Sheet(TABLE), [call, replace(call, ok=True)], [around])

    found = figures(sheet)
    assert (found["calls"].value, found["failed calls"].value) == (2, 1)
    assert found["failed calls that nothing allows"].ok is allowed
    assert (sheet.lines == []) is allowed


def test_a_plugin_may_stay_away_until_its_next_answer() -> None:
    late = KILLED.ended + GRACE
    away = [failed(late + seconds, "Unreachable") for seconds in (-1, 2, 5)]
    answer = replace(failed(late + 8, ""), ok=True)
    again = failed(late + 11, "Unreachable")
    untrusted = failed(late + 5, "TLSRejected")

    assert find_faults([*away, answer, again], [KILLED]) == [again]
    assert find_faults([*away[:2], untrusted], [KILLED]) == [untrusted]
    assert find_faults(away[1:], [KILLED]) == away[1:]


def test_a_plugin_that_is_late_is_named() -> None:
    late = replace(KILLED, fault="plugin-001 is late")
    judge_disturbances(sheet := Sheet(TABLE), [KILLED, late])

    assert figures(sheet)["plugins late after a disturbance"].ok is False
    assert sheet.lines == ["plugin-001 is late"]


@pytest.mark.parametrize(("number", "ok"), [(1200, True), (1300, False)])
def test_rates_are_those_of_an_hour(number: int, ok: object) -> None:
    log = [("info", "renewed"), ("warning", "late")] * number
    writes = ["events", "services/b"] * number
    judge_rates(sheet := Sheet(TABLE), 2.0, requests=50, writes=writes, log=log)

    found = figures(sheet)
    assert found["requests"].value == 25
    assert (found["Events"].ok, found["log lines"].ok) == (ok, ok)
    assert found["warnings and errors"].value == number / 2
    assert found["writes"].detail == f"{number} events, {number} services"


def test_a_run_shorter_than_the_warm_up_is_judged_as_a_whole() -> None:
    judge_samples(sheet := Sheet(TABLE), samples(5, 2.0))

    assert figures(sheet)["growth of anonymous memory"].value == pytest.approx(2.0)
