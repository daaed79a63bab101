"""Pods and renewed certificates: annotated at once, given time, restarted once."""

from datetime import timedelta
from typing import Any

import pytest

from cnpg_plugin_operator import names
from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.decide.certificates.reload import RELOAD_DEADLINE
from tests.support.unit.stage.stage import Stage

OWN = {"provider": "SelfManaged"}
SOON = RELOAD_DEADLINE.total_seconds() - 10
MINUTE = 60.0


@pytest.fixture
def stage() -> Stage:
    """A cluster whose CloudNativePG must never fail to call a plugin."""
    made = Stage()
    made.client.missing = {"Issuer", "Certificate", "ClusterIssuer"}
    made.client.watch = made.kubelet.complain
    return made


async def renewed(stage: Stage, replicas: int = 1, **tls: Any) -> None:
    """A plugin whose certificates have just been renewed."""
    stage.create(tls={**OWN, **tls}, replicas=replicas)
    await stage.settle(passes=6)
    stage.clock.pass_by(2 * MINUTE)
    await stage.settle(passes=2)
    stage.client.writes.clear()
    stage.ask_to_renew()


def restarts(stage: Stage) -> int:
    return stage.client.writes.count("Deployment hello")


@pytest.mark.parametrize("replicas", [1, 3])
async def test_each_pod_that_is_behind_is_annotated_once(stage: Stage, replicas: int) -> None:
    stage.kubelet.reloads = False
    await renewed(stage, replicas)
    await stage.pass_by(SOON)
    touched_pods = [write for write in stage.client.writes if write.startswith("patch Pod")]

    assert sorted(touched_pods) == sorted(f"patch Pod {name}" for name in stage.kubelet.pods)
    assert len(touched_pods) == replicas
    assert restarts(stage) == 0


async def test_pods_that_reload_are_not_restarted(stage: Stage) -> None:
    stage.kubelet.refreshes = False
    await renewed(stage)
    await stage.pass_by(6 * MINUTE)

    assert restarts(stage) == 0
    assert stage.kubelet.started == ["hello"]
    assert stage.condition() == ("True", "Ready")


async def test_an_annotated_pod_presents_the_new_certificate_at_once(stage: Stage) -> None:
    await renewed(stage)
    await stage.settle(passes=3)

    stage.kubelet.complain()
    (pod,) = stage.kubelet.pods.values()
    assert pod.loaded[0] == stage.client.read("hello-server-tls")["tls.crt"]


@pytest.mark.parametrize("replicas", [1, 3])
async def test_pods_that_do_not_reload_are_restarted_once(stage: Stage, replicas: int) -> None:
    stage.kubelet.reloads = False
    await renewed(stage, replicas)
    await stage.pass_by(SOON)
    waited = restarts(stage)
    await stage.pass_by(12 * MINUTE)

    assert waited == 0
    assert restarts(stage) == 1
    assert len(stage.kubelet.started) == 2 * replicas
    assert stage.condition() == ("True", "Ready")
    assert [e["reason"] for e in stage.client.events].count("RestartingPods") == 1


async def test_a_pod_that_a_restart_does_not_help_is_not_restarted_again(stage: Stage) -> None:
    stage.kubelet.stuck = True
    await renewed(stage)
    await stage.pass_by(12 * MINUTE)
    stage.reconciler = stage.operator()
    await stage.pass_by(12 * MINUTE)

    assert restarts(stage) == 1
    assert stage.condition() == ("True", "Ready")


async def test_each_renewal_restarts_such_pods_once(stage: Stage) -> None:
    stage.kubelet.reloads = False
    await renewed(stage)
    await stage.pass_by(6 * MINUTE)
    stage.ask_to_renew()
    await stage.pass_by(6 * MINUTE)

    assert restarts(stage) == 2


async def test_reload_restart_restarts_pods_at_once(stage: Stage) -> None:
    stage.kubelet.reloads = False
    await renewed(stage, reload="Restart")
    await stage.pass_by(20)
    soon = restarts(stage)
    await stage.pass_by(12 * MINUTE)

    assert soon == 1
    assert restarts(stage) == 1
    assert stage.condition() == ("True", "Ready")


async def test_reload_restart_restarts_nothing_without_a_renewal(stage: Stage) -> None:
    await renewed(stage, reload="Restart")
    metadata = stage.client.the(kinds.PLUGIN, "hello")["metadata"]
    del metadata["annotations"][names.annotations.RENEW]
    stage.reconciler = stage.operator()
    await stage.pass_by(12 * MINUTE)

    assert stage.client.writes == []


async def test_reload_none_restarts_nothing(stage: Stage) -> None:
    stage.kubelet.reloads = False
    await renewed(stage, reload="None")
    await stage.pass_by(12 * MINUTE)

    assert restarts(stage) == 0
    assert not any(write.startswith("patch Pod") for write in stage.client.writes)
    assert stage.kubelet.started == ["hello"]
    assert stage.condition() == ("True", "Ready")


async def test_a_change_of_the_reload_mode_alone_restarts_nothing(stage: Stage) -> None:
    stage.kubelet.reloads = False
    await renewed(stage)
    await stage.pass_by(6 * MINUTE)
    stage.client.writes.clear()
    for mode in ("None", "Auto"):
        stage.edit(tls={**OWN, "reload": mode})
        await stage.pass_by(5 * MINUTE)

    assert restarts(stage) == 0


@pytest.mark.parametrize(
    "spec",
    [
        {"tls": {**OWN, "serverName": "plugins.example.org"}},
        {"service": {"name": "other"}},
    ],
    ids=["another server name", "another Service"],
)
async def test_pods_that_do_not_reload_are_restarted_for_another_name(
    stage: Stage, spec: dict[str, Any]
) -> None:
    # The previous Service stays until CloudNativePG knows the new one, but the pods no longer have
    # its name.
    stage.client.watch = lambda: None
    stage.kubelet.reloads = False
    stage.create(tls=OWN)
    await stage.settle(passes=6)
    stage.edit(**spec)
    await stage.pass_by(12 * MINUTE)

    assert stage.condition() == ("True", "Ready")
    assert stage.kubelet.started == ["hello", "hello"]


async def test_pods_that_do_not_reload_are_restarted_for_a_renewed_root(stage: Stage) -> None:
    # Such pods refuse the renewed client until then: their trust cannot be observed.
    stage.client.watch = lambda: None
    stage.kubelet.reloads = False
    stage.create(tls=OWN)
    await stage.settle(passes=6)
    stage.ask_to_renew(kinds.SECRET, names.children.OWN_ROOT)
    await stage.pass_by(15 * MINUTE)

    assert stage.condition() == ("True", "Ready")
    assert 2 <= len(stage.kubelet.started) <= 3
    stage.kubelet.complain()


async def test_pods_that_do_not_reload_are_restarted_for_another_issuer(stage: Stage) -> None:
    stage.kubelet.reloads = False
    stage.create(tls=OWN)
    await stage.settle(passes=6)
    previous = stage.announced
    stage.edit(tls={**OWN, "issuerScope": "Plugin"})
    await stage.pass_by(15 * MINUTE)

    assert stage.condition() == ("True", "Ready")
    assert stage.announced != previous
    assert 2 <= len(stage.kubelet.started) <= 3


async def test_a_slow_kubelet_costs_no_restart(stage: Stage) -> None:
    stage.kubelet.refreshes, stage.kubelet.lag = False, timedelta(seconds=120)
    await renewed(stage)
    await stage.pass_by(12 * MINUTE)

    assert restarts(stage) == 0
    assert stage.condition() == ("True", "Ready")
