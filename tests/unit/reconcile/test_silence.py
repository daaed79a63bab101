"""A plugin that waits for another one's Lease reports whose it is."""

from typing import Any

from cnpg_plugin_operator import names
from cnpg_plugin_operator.cluster import kinds
from tests.unit.reconcile.stage import Stage

LEASE = "822e3f5c.cnpg.io"


def run_pod(stage: Stage, plugin: str, **container: Any) -> None:
    stage.client.put(
        kinds.POD,
        {
            "metadata": {
                "name": f"{plugin}-0",
                "namespace": "cnpg-system",
                "labels": {
                    names.labels.PLUGIN: plugin,
                    names.labels.MANAGED_BY: names.resource.OPERATOR,
                },
            },
            "status": {"containerStatuses": [{"name": "plugin", **container}]},
        },
    )


def hold(stage: Stage, pod: str) -> None:
    meta = {"name": LEASE, "namespace": "cnpg-system"}
    stage.client.put(kinds.LEASE, {"metadata": meta, "spec": {"holderIdentity": f"{pod}_1"}})


async def message_of_a_silent_plugin(stage: Stage) -> str:
    stage.create()
    running = {"startedAt": "2020-01-01T00:00:00Z"}
    run_pod(stage, "hello", state={"running": running}, ready=False)
    stage.world.issue()
    for _ in range(4):
        await stage.visit()
        stage.world.issue()
        stage.clock.pass_by(1)
    assert stage.condition("Available") == ("False", "NotListening")
    conditions = stage.client.the(kinds.PLUGIN, "hello")["status"]["conditions"]
    return str(next(c for c in conditions if c["type"] == "Available")["message"])


async def test_a_silent_plugin_reports_whose_lease_it_may_wait_for() -> None:
    stage = Stage()
    run_pod(stage, "other")
    hold(stage, "other-0")

    message = await message_of_a_silent_plugin(stage)

    assert f"Lease {LEASE} (held by CNPGPlugin other)" in message


async def test_the_plugins_own_lease_or_a_free_one_is_no_explanation() -> None:
    for holder in ("hello-0", "gone-0", ""):
        stage = Stage()
        hold(stage, holder)

        assert "Lease" not in await message_of_a_silent_plugin(stage)
