"""Fixtures of all tests: the real cluster and the operator in it, for those that ask for them.

Unit tests ask for neither and need no cluster. The cluster is called `test` (or what the variable
CNPGP_TEST_CLUSTER says, for two runs side by side), is brought up where it does not run, and is
left running: the next run starts in a second. Each test takes away what it made.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.cluster import Cluster
from tests.cluster.errors import ClusterError
from tests.support.cluster_fixture import install_operator
from tests.support.cluster_fixture_api import Api
from tests.support.cluster_fixture_operator import Operator

CLUSTER = os.environ.get("CNPGP_TEST_CLUSTER") or "test"
ORDER = ("unit", "integration", "e2e")
TESTS = Path(__file__).parent

# A busy machine is no fault of the code. In CI the examples are always the same, so that a run
# judges the change and not luck; everywhere else, each run tries others.
settings.register_profile("explore", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, database=None)
settings.load_profile("ci" if os.environ.get("CI") else "explore")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What fails fast comes first, whatever the command line's order; what starts the operator
    comes after what needs it stopped.
    """

    def place(item: pytest.Item) -> tuple[int, bool]:
        top = item.path.relative_to(TESTS).parts[0]
        rank = ORDER.index(top) if top in ORDER else len(ORDER)
        return rank, "operator" in getattr(item, "fixturenames", ())

    items.sort(key=place)


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The cluster, running. Nothing is skipped where it cannot: the run ends and says why."""
    found = Cluster(CLUSTER)
    try:
        found.up()
    except ClusterError as error:
        pytest.exit(f"the test cluster does not come up: {error}", returncode=1)
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
    began = cluster.audit_log.stat().st_size
    try:
        install_operator(cluster)
    except ClusterError as error:
        running = Operator(cluster, api).log_tail()
        pytest.exit(f"the operator cannot be installed: {error}\n{running}", returncode=1)
    return Operator(cluster, api, began)
