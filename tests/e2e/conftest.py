"""Fixtures of the end-to-end tests: the installed operator, resources that go with their test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.names import SHARED
from tests.support.cluster_fixture import VALUES, image_key, install_chart
from tests.support.cluster_fixture_operator import Operator
from tests.support.cluster_fixture_plugins import Plugins
from tests.support.cnpg_install import restore_cnpg
from tests.support.hosting import Host, template
from tests.support.remains import take_away_remains
from tests.support.resources import plugin

FIRST = ("test_writes",)
"""Need a namespace without any other plugin."""

LAST = (
    "test_private_secrets",
    "test_secrecy",
    "test_upgrades",
    "test_restart",
    "test_restart_safety",
    "test_restart_crashes",
    "test_finding_cnpg",
    "test_finding_cnpg_of_helm",
    "test_cert_manager",
    "test_older_cnpg",
    "test_deletion_inventory",
    "test_sidecar",
    "test_sidecar_safety",
    "test_sidecar_survival",
    "test_moves",
    "test_sidecar_isolation",
    "test_sidecar_blockade",
)
"""Look at what all others left behind, or disturb what all others lean on."""


LOOKS_BACK = "test_rights_used"
"""Judges the whole run: comes after everything, and only where no other module is left out."""


# After -k and -m: what they leave out is gone by then.
@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Modules that need a place of their own come first or last."""
    here = Path(__file__).parent

    def place(item: pytest.Item) -> int:
        if item.path.parent != here:
            return 0
        if item.path.stem in FIRST:
            return 1
        if item.path.stem == LOOKS_BACK:
            return 3 + len(LAST)
        return 3 + LAST.index(item.path.stem) if item.path.stem in LAST else 2

    items.sort(key=place)
    if {path.stem for path in here.glob("test_*.py")} - {item.path.stem for item in items}:
        left_out = [item for item in items if item.path.stem == LOOKS_BACK]
        items[:] = [item for item in items if item.path.stem != LOOKS_BACK]
        config.hook.pytest_deselected(items=left_out)


@pytest.fixture(scope="session", autouse=True)
def _nothing_left_behind(operator: Operator) -> None:
    """Take away what a run that was killed has left in the tests' own cluster."""
    restore_cnpg(operator.cluster)
    take_away_remains(operator.cluster)


@pytest.fixture
def plugins(operator: Operator) -> Iterator[Plugins]:
    """The resources of one test."""
    own = Plugins(operator)
    yield own
    own.clean_up()


@pytest.fixture(scope="module")
def module_plugins(operator: Operator) -> Iterator[Plugins]:
    """The resources of the tests of one module."""
    own = Plugins(operator)
    yield own
    own.clean_up()


@pytest.fixture(scope="session")
def shared(operator: Operator) -> Iterator[Plugins]:
    """A Ready plugin called `shared`; who changes it leaves it as it was."""
    own = Plugins(operator)
    own.apply(plugin(SHARED))
    own.until_ready(SHARED)
    yield own
    own.clean_up()


@pytest.fixture(scope="session")
def hasty(operator: Operator) -> Iterator[Operator]:
    """The operator with little patience: it waits neither for more sidecars nor for late ones."""
    key = image_key()
    restart = {**VALUES["restart"], "settle": "3s"}
    install_chart(operator.cluster, key, restart=restart, sidecars={"deadline": "15s"})
    yield operator
    install_chart(operator.cluster, key)


@pytest.fixture(scope="module")
def leaving_cnpg_as_found(hasty: Operator) -> Iterator[None]:
    """CloudNativePG's pod template is the same before and after a module."""
    before = template(hasty.api)
    yield
    assert template(hasty.api) == before


@pytest.fixture
def host(operator: Operator) -> Iterator[Host]:
    """CloudNativePG's Deployment, watched during a test."""
    with Host(operator.api) as watched:
        yield watched
