"""Fixtures of the end-to-end tests: the installed operator, resources deleted with their test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.names import SHARED
from tests.support.e2e.cnpg_install import restore_cnpg
from tests.support.e2e.operator import Operator
from tests.support.e2e.plugins import Plugins
from tests.support.e2e.remains import remove_leftovers
from tests.support.e2e.sidecars import Host, template
from tests.support.resources import plugin

STATES = ("sidecars", "rolled", "old", "untouched", "any")
"""What a module does to CloudNativePG, in the order in which modules start: it hosts sidecars, is
rolled or replaced, is an old version, is not changed; or the module evaluates the whole run."""


# After -k and -m have deselected tests.
@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run long modules first, and last those that evaluate the run, if it is complete."""
    here = Path(__file__).parent

    def place(item: pytest.Item) -> tuple[int, bool, bool]:
        if item.path.parent != here:
            return -1, False, False
        looks_back, long = map(item.get_closest_marker, ("looks_back", "long"))
        return STATES.index(state(item)), looks_back is not None, long is None

    items.sort(key=place)
    if {path.stem for path in here.glob("test_*.py")} - {item.path.stem for item in items}:
        left_out = [item for item in items if item.path.parent == here and state(item) == "any"]
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)


def state(item: pytest.Item) -> str:
    """Return what a module does to CloudNativePG."""
    mark = item.get_closest_marker("cnpg")
    if mark is None or mark.args[0] not in STATES:
        raise pytest.UsageError(f"{item.path.name} lacks pytest.mark.cnpg(one of {STATES})")
    return str(mark.args[0])


@pytest.fixture(scope="session")
def operator(operator: Operator) -> Operator:
    """The operator, in a cluster without leftovers of a killed run."""
    restore_cnpg(operator.cluster)
    remove_leftovers(operator.cluster)
    return operator


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


@pytest.fixture(scope="module")
def shared(operator: Operator) -> Iterator[Plugins]:
    """A Ready plugin called `shared`; a test that changes it restores it."""
    own = Plugins(operator)
    own.apply(plugin(SHARED))
    own.until_ready(SHARED)
    yield own
    own.clean_up()


@pytest.fixture(scope="module")
def leaving_cnpg_as_found(operator: Operator) -> Iterator[None]:
    """A module leaves CloudNativePG's pod template unchanged."""
    before = template(operator.api)
    yield
    assert template(operator.api) == before


@pytest.fixture
def host(operator: Operator) -> Iterator[Host]:
    """CloudNativePG's Deployment, watched during a test."""
    with Host(operator.api) as watched:
        yield watched
