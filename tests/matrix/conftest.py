"""Each version of CloudNativePG in a cluster of its own, one after the other, and their results."""

import os
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Final

import pytest

from tests.cluster import Cluster
from tests.cluster.errors import ClusterError
from tests.matrix import results
from tests.matrix.rows import COLUMNS, ROWS, Column
from tests.support.e2e.api import Api
from tests.support.e2e.installation import VALUES, install_operator
from tests.support.e2e.operator import Operator
from tests.support.e2e.plugins import Plugins
from tests.support.e2e.sidecars import Host, template, until_rolled
from tests.support.resources import IMAGE_VERSION, Manifest, plugin, plugin_name, postgres

CLUSTER: Final = (os.environ.get("CNPGP_TEST_CLUSTER") or "test") + "-matrix"
MINUTE: Final = 60.0

ROLLS: Final = pytest.StashKey[int]()
KUBERNETES: Final = pytest.StashKey[str]()
RUN: Final = pytest.StashKey[dict[tuple[str, str], results.Result]]()


@dataclass
class Cell:
    """One test with the versions of one column."""

    version: str
    """Of CloudNativePG."""
    operator: Operator
    plugins: Plugins
    host: Host
    """CloudNativePG's Deployment, watched from the start."""

    def rolls(self) -> int:
        """How often CloudNativePG was rolled so far."""
        return self.host.rolls

    def user(self, name: str) -> Manifest:
        """A Cluster that names the plugin; its pods cannot start, which does not matter."""
        return postgres(self.user_name(name), plugin_name(name), imageName="localhost/none:17")

    def user_name(self, name: str) -> str:
        """The name of that Cluster."""
        return f"user-of-{name}"

    def start(self, name: str, **spec: object) -> None:
        """Create a plugin and its Cluster, until CloudNativePG has called the plugin."""
        self.plugins.apply(plugin(name, **spec))
        self.plugins.until_ready(name)
        self.plugins.apply(self.user(name))
        self.plugins.until_reported(name, self.user_name(name), IMAGE_VERSION, within=MINUTE)

    def stop_using(self, name: str) -> None:
        """Delete its Cluster."""
        self.plugins.delete("Cluster", self.user_name(name), "default")
        self.plugins.until_gone("Cluster", self.user_name(name), within=30, namespace="default")

    def explain(self) -> str:
        """What may explain an unexpected roll of CloudNativePG."""
        names = [name for kind, _, name in self.plugins.made if kind == "CNPGPlugin"]
        restarts = [line for line in self.operator.log().splitlines() if "restart" in line.lower()]
        return "\n".join([*map(self.plugins.explain, names), *restarts[-20:]])


@pytest.fixture(scope="session", params=COLUMNS, ids=str)
def column(request: pytest.FixtureRequest) -> Column:
    """The versions to test with."""
    found: Column = request.param
    return found


@pytest.fixture(scope="session")
def installed(column: Column, pytestconfig: pytest.Config) -> Iterator[Operator]:
    """The operator and these versions; the cluster is deleted at the end."""
    cluster = Cluster(CLUSTER)
    try:
        cluster.down()  # Leftovers of a killed run.
        cluster.up(column.cnpg, kubernetes=column.kubernetes)
        # The chart's settle time: a change that is reverted within it costs no restart.
        install_operator(cluster, restart={**VALUES["restart"], "settle": "10s"})
    except ClusterError as error:
        pytest.fail(f"no cluster with {column}: {error}")
    api = Api(cluster)
    pytestconfig.stash[KUBERNETES] = api.get("/version")["gitVersion"]
    yield Operator(cluster, api)
    api.close()
    cluster.down()


@pytest.fixture
def cell(request: pytest.FixtureRequest, column: Column, installed: Operator) -> Iterator[Cell]:
    """A test, whose rolls of CloudNativePG are counted; it leaves CloudNativePG as it was."""
    api, plugins = installed.api, Plugins(installed)
    original = template(api)["spec"]
    with Host(api) as host:
        found = Cell(column.cnpg, installed, plugins, host)
        yield found
        rolls = request.node.stash[ROLLS] = found.rolls()
    is_allowed = rolls in ROWS[request.node.originalname].allowed(column.cnpg)
    explanation = "" if is_allowed else found.explain()
    plugins.clean_up()
    until_rolled(plugins)
    assert template(api)["spec"] == original
    assert is_allowed, f"CloudNativePG was rolled {rolls} times\n{explanation}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Function,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep the worst outcome of each test's phases."""
    report = yield
    run = item.config.stash.setdefault(RUN, {})
    key = (str(item.callspec.params["column"]), item.originalname)
    before = run.get(key)
    outcome = report.outcome if before is None or before.outcome == "passed" else before.outcome
    kubernetes = item.config.stash.get(KUBERNETES, "")
    run[key] = results.Result(outcome, item.stash.get(ROLLS, None), kubernetes)
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Record the results of the tests that have run."""
    if run := session.config.stash.get(RUN, {}):
        results.record(run)
