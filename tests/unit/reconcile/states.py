"""Plugins in each state that others have to read right, as the operator's own passes leave them."""

from cnpg_plugin_operator.api.conditions import Reason
from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.decide.facts.plugin import HandshakeOutcome
from tests.support.unit.fake_cluster import FakeCluster
from tests.unit.reconcile.hosting import HostingStage
from tests.unit.reconcile.stage import Stage


def use(cluster: FakeCluster, *names: str, plugin: str = "hello.example.org") -> None:
    for name in names:
        spec = {"plugins": [{"name": plugin}]}
        body = {"metadata": {"name": name, "namespace": "app"}, "spec": spec}
        cluster.put(kinds.CLUSTER, body)


async def ready() -> Stage:
    stage = Stage()
    stage.create()
    await stage.settle()
    return stage


async def newborn() -> Stage:
    stage = Stage()
    stage.create()
    return stage


async def progressing() -> Stage:
    stage = await newborn()
    await stage.visit()
    return stage


async def suspended() -> Stage:
    stage = await ready()
    stage.edit(suspend=True)
    await stage.settle(passes=2)
    return stage


async def in_use() -> Stage:
    stage = await ready()
    use(stage.client, "db")
    stage.delete()
    await stage.settle(passes=2)
    return stage


async def refused() -> Stage:
    stage = Stage()
    stage.create(serviceAccount={"name": "someone-elses"})
    await stage.settle(passes=2)
    return stage


async def another() -> Stage:
    stage = await ready()
    stage.handshaker.outcome = HandshakeOutcome(Reason.IDENTITY_MISMATCH, "It is another one.")
    stage.edit(image="example.org/hello:2")
    await stage.settle()
    return stage


async def restarting() -> Stage:
    stage = Stage()
    stage.create(cnpg={"restartPolicy": "Always"})
    await stage.settle(passes=8)
    return stage


async def waiting() -> Stage:
    stage = Stage()
    stage.create(upgradePolicy="Manual")
    await stage.settle()
    use(stage.client, "db")
    stage.edit(image="example.org/hello:2")
    await stage.settle()
    return stage


async def quarantined() -> Stage:
    stage = HostingStage()
    stage.world.crashing.add("example.org/hello:bad")
    stage.create(image="example.org/hello:bad")
    for _ in range(120):
        await stage.pass_by(2)
        if stage.record().get("quarantine"):
            break
    return stage
