"""Two versions that are known not to work together are told, and change nothing else."""

from typing import Any

import pytest

from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.decide.facts.version_skew import read_skew
from cnpg_plugin_operator.kubectl.output import Style
from cnpg_plugin_operator.kubectl.status import report, write_all, write_one
from tests.support.unit.stage.hosting import HostingStage
from tests.support.unit.stage.stage import Stage
from tests.support.unit.stage.states import use
from tests.unit.commands.test_diagnose import diagnose, lines

BARMAN = "barman-cloud.cloudnative-pg.io"
SKEW = "#11319"


def warnings(stage: Stage) -> list[str]:
    return [e["message"] for e in stage.client.events if e["reason"] == "VersionSkew"]


async def ready(stage: Stage, **spec: Any) -> Stage:
    stage.create(pluginName=BARMAN, **spec)
    await stage.settle()
    assert stage.condition() == ("True", "Ready")
    return stage


async def test_a_known_pair_is_told_once_and_the_plugin_is_ready() -> None:
    stage = await ready(Stage("1.31.0"))
    await stage.settle()
    assert [SKEW in message for message in warnings(stage)] == [True]
    assert stage.condition("Registered")[0] == "True"
    assert SKEW in stage.message("Registered")
    status = stage.client.the(kinds.PLUGIN, "hello")["status"]
    assert (status["plugin"]["version"], status["cnpg"]["version"]) == ("1.0.0", "1.31.0")
    assert read_skew(status) == warnings(stage)[0]

    stage.client.writes.clear()
    stage.reconciler = stage.operator()
    await stage.settle()
    assert stage.client.writes == []


async def test_the_users_of_a_sidecar_are_told_too() -> None:
    stage = HostingStage()
    stage.create(mode="Sidecar")
    await stage.settle(passes=40)
    use(stage.client, "db")
    shown = lines(await diagnose(stage))
    assert any(line.endswith("1 Cluster uses the plugin (app/db)") for line in shown)


async def test_an_older_cloudnativepg_gets_no_warning() -> None:
    stage = await ready(Stage("1.30.1"))
    assert not warnings(stage)
    assert "problem" not in stage.message("Registered")


@pytest.mark.parametrize(("version", "told"), [("1.30.1", False), ("1.31.0", True)])
async def test_diagnose_and_status_tell_both_versions(version: str, *, told: bool) -> None:
    stage = await ready(Stage(version))
    use(stage.client, *"abcde", plugin=BARMAN)
    await stage.settle(passes=2)
    shown = lines(await diagnose(stage))
    [versions] = [line for line in shown if line.startswith("Versions")]
    assert f"{BARMAN} 1.0.0 with CloudNativePG {version}" in versions
    assert any(SKEW in line for line in shown) is told
    [clusters] = [line for line in shown if line.startswith("Clusters")]
    assert clusters.endswith("5 Clusters use the plugin (app/a, app/b, app/c and 2 more)")

    found = report(stage.client.the(kinds.PLUGIN, "hello"), None, stage.clock())
    plain = Style(coloured=False)
    for text in (write_one(found, plain), write_all([found], plain)):
        assert (SKEW in text) is told
