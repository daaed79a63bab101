"""The record of the campaign: what it keeps, and what it must not contain."""

from pathlib import Path

import pytest

from tests.campaign import results
from tests.campaign.classes import CLASSES
from tests.campaign.classes.undisturbed import undisturbed
from tests.campaign.mutants import MUTANTS
from tests.campaign.page import ABOUT, page
from tests.campaign.results import FOUND, MUTANT, PASSED, VIOLATED, Report, Result, read, record
from tests.campaign.workloads import WORKLOADS
from tests.support.e2e.installation import ROOT

PLAN = Result("create/a/409-after", "api-write", PASSED, seconds=40.0, operator="one")


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(results, "RECORD", tmp_path / "results.jsonl")
    return tmp_path / "results.jsonl"


def test_no_recorded_plan_is_violated_and_every_recorded_mutant_is_found() -> None:
    found = read().values()
    assert {each.result for each in found if each.group == MUTANT} <= {FOUND}
    assert not [each.plan for each in found if each.result == VIOLATED]


def test_only_what_there_is_is_recorded() -> None:
    groups = {each.group for each in read().values()}
    assert groups <= {*CLASSES, MUTANT}
    mutants = {each.plan for each in read().values() if each.group == MUTANT}
    assert mutants <= {each.name for each in MUTANTS}


def test_the_page_explains_every_class() -> None:
    assert list(ABOUT) == list(CLASSES)


def test_a_later_result_replaces_an_earlier_one(file: Path) -> None:
    later = Result(PLAN.plan, PLAN.group, VIOLATED, ["a call failed"], operator="two")
    other = Result("create/b/reset", "api-read", PASSED)
    record([PLAN, other])
    record([later])
    assert read(file) == {later.plan: later, other.plan: other}


def test_the_record_names_files_as_the_project_does(file: Path) -> None:
    record([Result(PLAN.plan, PLAN.group, VIOLATED, [f"see {ROOT}/.campaign/operator.log"])])
    assert read(file)[PLAN.plan].violations == ["see .campaign/operator.log"]


def test_what_is_recorded_does_not_run_again(tmp_path: Path) -> None:
    plans = [undisturbed(WORKLOADS[name]) for name in ("create", "image")]
    known = Result(plans[0].name, plans[0].group, PASSED)
    report = Report(tmp_path / "none.jsonl", plans, {known.plan: known})
    assert report.results == {known.plan: known}
    assert report.todo(again=False) == plans[1:]
    assert report.todo(again=True) == plans


def test_the_page_counts_by_class_and_names_who_found_a_mutant() -> None:
    mutant = Result("a label is lost", MUTANT, FOUND, ["steady/a/removed: the end state differs"])
    text = page([PLAN, mutant])
    assert f"| api-write | {ABOUT['api-write']} | 1 | 0 | 0 | 0 |" in text
    assert "| all |  | 1 | 0 | 0 | 0 |" in text
    assert "| a label is lost | `steady/a/removed` |" in text
