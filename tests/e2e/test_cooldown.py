"""CloudNativePG is not rolled for a second change of its sidecars within the cool-down.

Every roll that the operator causes counts, be it a restart or a change of sidecars.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from tests.support import wait
from tests.support.e2e.installation import VALUES, image_key, install_chart
from tests.support.e2e.operator import Operator
from tests.support.e2e.plugins import Plugins
from tests.support.e2e.rolls import CNPG
from tests.support.e2e.sidecars import Host, sidecar
from tests.support.resources import behaviour

pytestmark = [pytest.mark.cnpg("sidecars"), pytest.mark.usefixtures("leaving_cnpg_as_found")]

COOLDOWN = timedelta(seconds=40)
ROLLED_AT = "cnpgplugin.dev/sidecars-rolled-at"


@pytest.fixture
def cooldown(operator: Operator) -> Iterator[timedelta]:
    """The operator with a cool-down that a test can wait for."""
    restart = {**VALUES["restart"], "cooldown": f"{COOLDOWN.seconds}s"}
    install_chart(operator.cluster, image_key(), restart=restart)
    yield COOLDOWN
    install_chart(operator.cluster, image_key())


def rolled_at(plugins: Plugins) -> datetime:
    """When the operator last rolled CloudNativePG for sidecars."""
    annotations = plugins.get("Deployment", CNPG)["metadata"]["annotations"]
    return datetime.fromisoformat(annotations[ROLLED_AT])


def test_a_second_change_of_a_sidecar_waits_for_the_cool_down(
    plugins: Plugins, host: Host, cooldown: timedelta
) -> None:
    name = "impatient"
    plugins.apply(sidecar(name))
    plugins.until_ready(name)
    first = rolled_at(plugins)

    plugins.patch(name, env=behaviour(name, SAMPLE_LISTEN="127.0.0.1:7777"))
    message = plugins.until_condition(name, "Available", "SidecarPending", within=15)["message"]
    assert "CloudNativePG was last rolled at" in message
    assert host.rolls == 1
    wait.until(
        "the change is rolled out",
        lambda: host.rolls == 2,
        within=cooldown.total_seconds() + 30,
        explain=lambda: plugins.explain(name),
    )
    assert rolled_at(plugins) - first >= cooldown
    plugins.until_ready(name)
