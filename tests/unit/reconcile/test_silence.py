"""Plugins that listen only on the pod that holds a Lease: standbys, and Leases of other plugins."""

from typing import Any

import pytest

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.conditions import Reason
from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.decide.facts.plugin import Endpoint, HandshakeOutcome
from tests.support.unit.stage.stage import Stage

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


class Led:
    """Makes the world one in which of the plugin's pods only the holder of the Lease is ready."""

    def __init__(self, stage: Stage) -> None:
        self._stage, self._run = stage, stage.world.run
        self.leader = ""
        stage.world.run = self.run  # type: ignore[method-assign]

    def run(self) -> None:
        self._run()
        client, pods = self._stage.client, self.pods
        if pods and self.leader not in pods:
            self.leader = pods[0]
            hold(self._stage, self.leader)
        for name in pods:
            ready, status = name == self.leader, client.the(kinds.POD, name)["status"]
            running = {"running": {"startedAt": "2020-01-01T00:00:00Z"}}
            status["containerStatuses"] = [{"name": "plugin", "ready": ready, "state": running}]
            status["conditions"] = [{"type": "Ready", "status": str(ready)}]
        if ("Deployment", "cnpg-system", "hello") in client.objects:
            client.the(kinds.DEPLOYMENT, "hello")["status"]["availableReplicas"] = min(len(pods), 1)

    @property
    def pods(self) -> list[str]:
        found = (body["metadata"]["name"] for body in self._stage.client.all_of(kinds.POD))
        return sorted(name for name in found if name.startswith("hello-"))

    @property
    def standby(self) -> str:
        (found,) = set(self.pods) - {self.leader}
        return found


async def test_a_plugin_with_a_standby_is_ready_and_names_pod_and_lease() -> None:
    stage = Stage()
    led = Led(stage)
    stage.create(replicas=2)
    await stage.settle(passes=20)

    assert stage.condition() == ("True", "Ready")
    message = stage.message("Available")
    assert f"pod {led.leader} serves, as the holder of Lease {LEASE}" in message
    assert f"standby, which waits for that Lease: {led.standby}." in message
    assert not [place for place in stage.handshaker.asked if place.host.startswith("10.")]

    previous, stage.client.writes[:] = led.standby, []
    stage.kubelet.pods.pop(led.leader)
    await stage.client.delete(kinds.POD, led.leader, "cnpg-system")
    await stage.settle()
    assert stage.condition() == ("True", "Ready")
    assert led.leader == previous
    assert not [write for write in stage.client.writes if write.startswith("Deployment")]


@pytest.mark.parametrize("through", ["", "the Service as well"])
async def test_standbys_that_are_ready_are_named_with_the_probe(
    monkeypatch: pytest.MonkeyPatch, through: str
) -> None:
    """Where a probe of another port makes them ready, calls reach them."""
    stage = Stage()
    answer = stage.handshaker.shake
    silent = HandshakeOutcome(Reason.UNREACHABLE, "refused")

    async def shake(endpoint: Endpoint, *arguments: Any) -> HandshakeOutcome:
        refused = endpoint.host == "10.0.0.2" or (through and endpoint.host.endswith(".svc"))
        return silent if refused else await answer(endpoint, *arguments)

    monkeypatch.setattr(stage.handshaker, "shake", shake)
    stage.create(replicas=2)
    await stage.settle(passes=20)

    assert stage.condition("HandshakeSucceeded") == ("False", "Unreachable")
    message = stage.message("HandshakeSucceeded")
    assert "Pod hello-2 is ready, but does not listen, while another one does." in message
    assert "remove spec.probes.readiness" in message
