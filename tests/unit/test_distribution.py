"""How `pytest -n` spreads modules over processes, some of which wait for their clusters."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.support.distribution import INTEGRATION, Distribution
from tests.support.e2e import whole_run

UNITS = [f"tests/unit/test_{name}.py::test_{n}" for name in "abcd" for n in range(3)]
BARE = [f"{INTEGRATION}test_{name}.py::test_it" for name in "ef"]
CLUSTER = [f"tests/e2e/test_{name}.py::test_{n}" for name in "gh" for n in range(3)]
LAST = ["tests/e2e/test_rights_used.py::test_it"]
ALL = UNITS + BARE + CLUSTER + LAST


@dataclass(eq=False)
class Process:
    """A process of pytest, which begins a test when it knows the next, or that there is none."""

    name: str
    tests: list[str]
    shutting_down: bool = False
    waiting: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)

    @property
    def gateway(self) -> Any:
        return SimpleNamespace(id=self.name)

    def send_runtest_some(self, indices: list[int]) -> None:
        self.waiting += [self.tests[index] for index in indices]

    def shutdown(self) -> None:
        self.shutting_down = True

    def can_run(self) -> bool:
        return len(self.waiting) > (0 if self.shutting_down else 1)


class Run:
    """A run of some tests in some processes."""

    def __init__(self, processes: int, tests: list[str]) -> None:
        config = SimpleNamespace(
            getvalue=lambda _: [f"{processes}*popen"],
            option=SimpleNamespace(loadscopereorder=False),
        )
        self.scheduler = Distribution(cast("pytest.Config", config))
        self.processes = [Process(f"gw{number}", tests) for number in range(processes)]
        for process in self.processes:
            self.scheduler.add_node(process)
            self.scheduler.add_node_collection(process, tests)
        self.scheduler.schedule()

    def step(self, process: Process) -> None:
        """Let a process run its next test."""
        test = process.waiting.pop(0)
        process.ended.append(test)
        self.scheduler.mark_test_complete(process, process.tests.index(test))

    def finish(self) -> None:
        """Let all processes run in turn, until none can any more."""
        while able := [process for process in self.processes if process.can_run()]:
            for process in able:
                self.step(process)

    def ended(self) -> list[str]:
        return [test for process in self.processes for test in process.ended]


@pytest.fixture(autouse=True)
def prepared(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The processes whose clusters are up."""
    names: list[str] = []
    monkeypatch.setattr(whole_run, "prepared", lambda: names)
    return names


@pytest.mark.parametrize("ready", [[], ["gw0"], ["gw1"], ["gw0", "gw1", "gw2", "gw3"]], ids=str)
@pytest.mark.parametrize("tests", [ALL, UNITS, CLUSTER, BARE + LAST], ids=["all", "u", "e", "i"])
@pytest.mark.parametrize("processes", [1, 2, 3, 4])
def test_each_test_runs_once(
    processes: int, tests: list[str], ready: list[str], prepared: list[str]
) -> None:
    prepared += ready
    run = Run(processes, tests)
    run.finish()
    assert sorted(run.ended()) == sorted(tests)
    assert all(process.shutting_down for process in run.processes if process.ended)


def test_with_few_processes_each_runs_unit_tests_until_its_cluster_is_up(
    prepared: list[str],
) -> None:
    run = Run(2, ALL)
    first = run.processes[0]
    for _ in range(4):
        run.step(first)
    prepared.append("gw0")
    while first.can_run():
        run.step(first)
    assert first.ended == UNITS[:3] + UNITS[6:9] + BARE + CLUSTER + UNITS[9:] + LAST


def test_beside_a_process_for_unit_tests_the_others_wait_for_their_clusters() -> None:
    run = Run(3, ALL)
    first = run.processes[0]
    while first.can_run():
        run.step(first)
    assert first.ended == UNITS[:3] + BARE + CLUSTER + UNITS[9:] + LAST


def test_one_process_runs_unit_tests_only(prepared: list[str]) -> None:
    prepared += ["gw0", "gw1"]
    run = Run(3, ALL)
    run.finish()
    assert set(run.processes[-1].ended) <= set(UNITS)


@pytest.mark.parametrize("tests", [CLUSTER, BARE + CLUSTER])
def test_without_unit_tests_all_processes_use_a_cluster(tests: list[str]) -> None:
    run = Run(3, [*tests, "tests/e2e/test_z.py::test_0", "tests/e2e/test_z.py::test_1"])
    run.finish()
    assert all(process.ended for process in run.processes)


def test_modules_that_use_a_bare_api_server_run_in_one_process() -> None:
    run = Run(4, ALL)
    run.finish()
    assert [each for each in run.processes if set(each.ended) & set(BARE)][1:] == []


def test_the_module_that_evaluates_the_run_begins_when_no_other_is_left(
    prepared: list[str],
) -> None:
    prepared += ["gw0", "gw1"]
    run = Run(3, ALL)
    order: list[str] = []
    while able := [process for process in run.processes if process.can_run()]:
        order += [able[0].waiting[0]]
        run.step(able[0])
        assert order[-1:] != LAST or not run.scheduler.workqueue
    assert sorted(order) == sorted(ALL)
