"""An operator that dies at any point of a restart of CloudNativePG rolls it exactly once.

`restartPolicy: Always` requests a restart that CloudNativePG 1.30.0 would not need. The operator is
killed just before each of its writes, so just after the previous one, and once after the last.
"""

from contextlib import nullcontext

import pytest

from tests.support.e2e.operator import Operator
from tests.support.e2e.plugins import Plugins
from tests.support.e2e.refusing import Write, refused, until_refused
from tests.support.e2e.rolls import CNPG, observe
from tests.support.resources import plugin

pytestmark = pytest.mark.cnpg("rolled")

NAME = "interrupted"
GROUP = "cnpgplugin.dev"
MINUTE = 60.0

BEFORE = {
    "the announcement": Write(
        "",
        "services",
        NAME,
        "!has(object.metadata.labels) || !('cnpg.io/pluginName' in object.metadata.labels)",
    ),
    "the record of the restart": Write(
        GROUP,
        "cnpgplugins/status",
        NAME,
        "!has(object.status.cnpg) || !has(object.status.cnpg.lastRestart)",
    ),
    "the restart": Write("apps", "deployments", CNPG),
    "the last status": Write(
        GROUP,
        "cnpgplugins/status",
        NAME,
        "!object.status.conditions.exists(c, c.type == 'Ready' && c.status == 'True')",
    ),
}


@pytest.mark.parametrize("moment", [*BEFORE, None], ids=lambda moment: str(moment or "the end"))
def test_an_operator_killed_around_a_write_of_a_restart_rolls_cloudnativepg_once(
    operator: Operator, plugins: Plugins, moment: str | None
) -> None:
    before = observe(operator.api)
    write = BEFORE[moment] if moment else None
    mark = operator.audit.mark()
    with refused(operator, write) if write else nullcontext():
        plugins.apply(plugin(NAME, cnpg={"restartPolicy": "Always"}))
        if write:
            until_refused(operator, write, mark, within=MINUTE)
        else:
            plugins.until_ready(NAME, within=MINUTE)
        operator.kill()
    plugins.until_ready(NAME, within=2 * MINUTE)
    operator.writes_until_calm(operator.audit.mark())

    after = observe(operator.api)
    assert after.generation == before.generation + 1
    assert len(after.revisions - before.revisions) == 1
    recorded = plugins.plugin(NAME)["status"]["cnpg"]["lastRestart"]
    # A restart is for all published plugins; those of other modules may exist.
    assert NAME in recorded["revisions"]
    assert recorded["attempts"] == 1
