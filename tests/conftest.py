"""Fixtures of all tests: the real cluster and the operator in it, for tests that request them.

Unit tests request neither and need no cluster. The cluster is called `test` (or what the variable
CNPGP_TEST_CLUSTER says, for two runs side by side), is started if it does not run, and is left
running: the next run starts in a second. Each test deletes what it created.

With `pytest -n`, each process has a cluster of its own: `test`, `test-1`, `test-2` …
tests/README.md says what runs where.
"""

import os
import subprocess
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
import yaml
from hypothesis import settings

from tests.cluster import Cluster
from tests.cluster.errors import ClusterError
from tests.support import wait
from tests.support.distribution import Distribution, distribute, starts_no_cluster
from tests.support.e2e import preparation, whole_run
from tests.support.e2e.api import Api
from tests.support.e2e.installation import install_operator
from tests.support.e2e.operator import Operator
from tests.support.thorough import examples

WORKER = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
CLUSTER = os.environ.get("CNPGP_TEST_CLUSTER") or "test"
ORDER = (
    "unit",
    "integration",
    "e2e",
    "matrix",
    "upgrades",
    "quick_start",
    "helm",
    "alerts",
    "release",
)
TESTS = Path(__file__).parent
PREPARING = pytest.StashKey[subprocess.Popen[bytes]]()
"""The process that starts the cluster early."""

# libyaml parses ten times as fast as Python; the tests read the CRD and rendered charts often.
yaml.SafeLoader = yaml.CSafeLoader  # type: ignore[misc,assignment]

# A busy machine is no fault of the code. In CI the examples are always the same, so that the result
# depends on the change and not on luck; everywhere else, each run tries others.
settings.register_profile("explore", deadline=None, max_examples=examples(100))
settings.register_profile("ci", settings.get_profile("explore"), derandomize=True, database=None)
settings.load_profile("ci" if os.environ.get("CI") else "explore")


def pytest_configure(config: pytest.Config) -> None:
    """Create the directory for the run's records, before any further process is started."""
    if not hasattr(config, "workerinput"):
        whole_run.begin()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Delete the records."""
    if not hasattr(config, "workerinput"):
        whole_run.end()


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Distribution:
    """Let processes that wait for a cluster leave the processors to unit tests."""
    return distribute(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, Any, Any]:
    """Allow reports to contain any text that a test printed."""
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
    """Record finished tests, in the process that receives all reports."""
    if not wait.BESIDE_OTHERS:
        whole_run.record_finished(nodeid)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run fast tests first, whatever the order of the command line; run tests that start the
    operator after those that need it stopped.
    """

    def place(item: pytest.Item) -> tuple[int, bool]:
        return ORDER.index(level(item)), "operator" in getattr(item, "fixturenames", ())

    items.sort(key=place)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Beside others, start this process's cluster while unit tests run: they take a minute, and
    clusters start one after the other.
    """
    levels = {level(item) for item in session.items}
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0"))
    alone = "unit" in levels and starts_no_cluster(f"gw{WORKER}", workers)
    if wait.BESIDE_OTHERS and levels - {"unit"} and not alone:
        session.config.stash[PREPARING] = preparation.begin(own_cluster(), f"gw{WORKER}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Leave no process behind."""
    if PREPARING in session.config.stash:
        session.config.stash[PREPARING].wait()


def level(item: pytest.Item) -> str:
    """Return the level of a test, one of four."""
    return item.path.relative_to(TESTS).parts[0]


def give_up(why: str) -> NoReturn:
    """End the run; beside other processes, fail each test of this one with the reason."""
    if wait.BESIDE_OTHERS:
        pytest.fail(why, pytrace=False)
    pytest.exit(why, returncode=1)


def own_cluster() -> str:
    """Name the cluster of this process."""
    return CLUSTER if WORKER == "0" else f"{CLUSTER}-{WORKER}"


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The running cluster. If it cannot start, nothing is skipped: the run ends with the reason."""
    found = Cluster(own_cluster())
    try:
        found.up()  # It may be starting already. If that failed, this fails again, and says why.
    except ClusterError as error:
        give_up(f"the test cluster does not start: {error}")
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
    whole_run.record_audit_log(cluster.audit_log, cluster.audit_log.stat().st_size)
    try:
        install_operator(cluster)
    except ClusterError as error:
        running = Operator(cluster, api).log_tail()
        give_up(f"the operator cannot be installed: {error}\n{running}")
    return Operator(cluster, api)
