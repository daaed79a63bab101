"""Alerts on a real cluster: they fire for their causes and for nothing else, and they resolve.

First a life without trouble, in which no alert may fire. Then the causes; most are there at once,
because alerts take their time.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.alerts.causes import ALONE, TOGETHER, Cause, another
from tests.alerts.everyday import EVERYDAY
from tests.alerts.live import PATIENCE, World, watched
from tests.alerts.terminal import PICTURE, draw
from tests.support import wait
from tests.support.e2e.cnpg_install import restore_cnpg
from tests.support.e2e.installation import OPERATOR_NAMESPACE, RELEASE
from tests.support.e2e.operator import Operator
from tests.support.e2e.remains import remove_leftovers
from tests.support.resources import NAMESPACE

Present = dict[str, ExitStack]


@pytest.fixture(scope="module")
def world(operator: Operator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A cluster in which the operator is not installed yet."""
    restore_cnpg(operator.cluster)
    remove_leftovers(operator.cluster)
    release = (RELEASE, f"--namespace={OPERATOR_NAMESPACE}", "--wait", "--timeout=300s")
    operator.cluster.helm("uninstall", *release)
    with watched(operator, tmp_path_factory.mktemp("prometheus")) as found:
        yield found


@pytest.mark.parametrize("title", EVERYDAY)
def test_no_alert_fires_for(world: World, title: str) -> None:
    begun = time.monotonic()
    EVERYDAY[title](world)
    world.until_nothing_is_about_to_fire()
    assert world.prometheus.fired(begun) == set()


@pytest.fixture(scope="module")
def begun() -> float:
    """When the causes began."""
    return time.monotonic()


@pytest.fixture(scope="module")
def present(world: World, begun: float) -> Iterator[Present]:
    """All that can be there at once; at the end, none is left."""
    with ExitStack() as everything:
        found = {cause.alert: everything.enter_context(ExitStack()) for cause in TOGETHER}
        for cause in TOGETHER:
            found[cause.alert].enter_context(cause.there(world))
        yield found


@pytest.mark.parametrize("cause", TOGETHER, ids=str)
def test_an_alert_fires_for(world: World, begun: float, present: Present, cause: Cause) -> None:
    world.until_fired(cause.expected, begun)


def test_no_other_alert_fires(world: World, begun: float, present: Present) -> None:
    """Until the slowest has fired."""
    right = {alert for each in TOGETHER for alert in (each.expected, *each.beside)}
    assert world.prometheus.fired(begun) <= right


@pytest.mark.parametrize("cause", TOGETHER, ids=str)
def test_an_alert_resolves_after(world: World, present: Present, cause: Cause) -> None:
    present[cause.alert].close()
    for alert in (cause.expected, *cause.beside):
        world.until_resolved(alert)


@pytest.fixture
def alone(world: World) -> World:
    """No plugin is there, whose passes might fail for the same cause, and no alert fires."""
    world.plugins.clean_up()
    wait.until("no alert fires", lambda: not world.prometheus.firing(), within=PATIENCE)
    return world


@pytest.mark.parametrize("cause", ALONE, ids=str)
def test_an_alert_fires_and_resolves(alone: World, cause: Cause) -> None:
    began = time.monotonic()
    with cause.there(alone):
        alone.until_fired(cause.expected, began)
    for alert in (cause.expected, *cause.beside):
        alone.until_resolved(alert)
    assert alone.prometheus.fired(began) <= {cause.expected, *cause.beside}


def test_diagnose_can_be_looked_at(world: World) -> None:
    """The documentation shows this picture."""
    words = ("diagnose", "another", "-n", NAMESPACE)
    with contextmanager(another)(world):
        world.plugins.until_condition(
            "another", "HandshakeSucceeded", "IdentityMismatch", within=PATIENCE
        )
        done = world.operator.from_outside(*words)
    assert done.returncode == 1, done.stderr
    PICTURE.write_text(draw(f"kubectl cnpg-plugin {' '.join(words)}", done.stdout))
