"""Fixtures of all tests: the real cluster and the operator in it, for those that ask for them.

Unit tests ask for neither and need no cluster. The cluster is called `test` (or what the variable
CNPGP_TEST_CLUSTER says, for two runs side by side), is brought up where it does not run, and is
left running: the next run starts in a second. Each test takes away what it made.

With `pytest -n`, each process has a cluster of its own: `test`, `test-1`, `test-2` … What runs
where is told in tests/README.md.
"""

import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import settings
from xdist.scheduler.loadscope import LoadScopeScheduling

from tests.cluster import Cluster
from tests.cluster.errors import ClusterError
from tests.support import wait
from tests.support.e2e import whole_run
from tests.support.e2e.api import Api
from tests.support.e2e.installation import install_operator
from tests.support.e2e.operator import Operator

WORKER = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
CLUSTER = os.environ.get("CNPGP_TEST_CLUSTER") or "test"
ORDER = ("unit", "integration", "e2e")
INTEGRATION = "tests/integration/"
TESTS = Path(__file__).parent

# A busy machine is no fault of the code. In CI the examples are always the same, so that a run
# judges the change and not luck; everywhere else, each run tries others.
settings.register_profile("explore", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, database=None)
settings.load_profile("ci" if os.environ.get("CI") else "explore")


def pytest_configure(config: pytest.Config) -> None:
    """Make the place for the run's notes, before any further process is started."""
    if not hasattr(config, "workerinput"):
        whole_run.begin()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave none of the notes."""
    if not hasattr(config, "workerinput"):
        whole_run.end()


class Scheduling(LoadScopeScheduling):  # type: ignore[misc]
    """Hands out modules to the processes of `pytest -n` in their order, to whichever is free.

    Those against a bare API server stay together: one of them starts the operator in the end.
    """

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.partition("::")[0]
        return INTEGRATION if module.startswith(INTEGRATION) else module


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Scheduling:
    """Take the order of the tests, where xdist would begin with the modules of most tests."""
    config.option.loadscopereorder = False
    return Scheduling(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, Any, Any]:
    """Let reports pass from process to process whatever a test printed."""
    return _encodable((yield))


def _encodable(value: Any) -> Any:
    match value:
        case str():
            return value.encode("utf-8", "backslashreplace").decode()
        case dict():
            return {key: _encodable(each) for key, each in value.items()}
        case list() | tuple():
            return [_encodable(each) for each in value]
        case _:
            return value


def pytest_runtest_logfinish(nodeid: str) -> None:
    """Note what is over; the process that hears of all tests does."""
    if not wait.BESIDE_OTHERS:
        whole_run.note_finished(nodeid)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What fails fast comes first, whatever the command line's order; what starts the operator
    comes after what needs it stopped.
    """

    def place(item: pytest.Item) -> tuple[int, bool]:
        return ORDER.index(level(item)), "operator" in getattr(item, "fixturenames", ())

    items.sort(key=place)


def level(item: pytest.Item) -> str:
    """Tell which of the three levels a test is of."""
    return item.path.relative_to(TESTS).parts[0]


def give_up(why: str) -> NoReturn:
    """End the run; beside other processes, let the tests of this one fail, each with the reason."""
    if wait.BESIDE_OTHERS:
        pytest.fail(why, pytrace=False)
    pytest.exit(why, returncode=1)


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The cluster, running. Nothing is skipped where it cannot: the run ends and says why."""
    found = Cluster(CLUSTER if WORKER == "0" else f"{CLUSTER}-{WORKER}")
    try:
        found.up()
    except ClusterError as error:
        give_up(f"the test cluster does not come up: {error}")
    return found


@pytest.fixture(scope="session")
def api(cluster: Cluster) -> Iterator[Api]:
    """The cluster's API server, as the administrator."""
    connected = Api(cluster)
    yield connected
    connected.close()


@pytest.fixture(scope="session")
def operator(cluster: Cluster, api: Api) -> Operator:
    """The operator, built from this tree and installed by Helm."""
    whole_run.note_audit_log(cluster.audit_log, cluster.audit_log.stat().st_size)
    try:
        install_operator(cluster)
    except ClusterError as error:
        running = Operator(cluster, api).log_tail()
        give_up(f"the operator cannot be installed: {error}\n{running}")
    return Operator(cluster, api)
