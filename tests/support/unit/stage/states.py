"""Plugins in each state that others have to read right, as the operator's own passes leave them."""

import base64
from datetime import timedelta
from typing import Final

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.conditions import Reason
from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.decide.facts.plugin import HandshakeOutcome
from tests.support.tls.certificates import CLIENT, Pair, authority, issue
from tests.support.unit.fake_cluster import FakeCluster
from tests.support.unit.stage.hosting import HostingStage
from tests.support.unit.stage.stage import Stage
from tests.support.unit.stage.world import NAMESPACE

SECRETS: Final = {"server": "my-server", "client": "my-client"}
USER_SECRETS: Final = {"provider": "Secrets", "secrets": SECRETS}


def use(cluster: FakeCluster, *names: str, plugin: str = "hello.example.org") -> None:
    for name in names:
        spec = {"plugins": [{"name": plugin}]}
        body = {"metadata": {"name": name, "namespace": "app"}, "spec": spec}
        cluster.put(kinds.CLUSTER, body)


def bring(
    stage: Stage, name: str, data: dict[str, bytes] | Pair, labels: dict[str, str] | None = None
) -> None:
    """Create or change a Secret, as the user does."""
    content = data.secret if isinstance(data, Pair) else data
    encoded = {key: base64.b64encode(value).decode() for key, value in content.items()}
    metadata = {"name": name, "namespace": NAMESPACE, "labels": labels or {}}
    live = stage.client.objects.get(("Secret", NAMESPACE, name))
    kept = live["metadata"] if live else metadata
    stage.client.put(kinds.SECRET, {"metadata": kept, "data": encoded})


def let_olm_own_cnpg(stage: Stage) -> None:
    labels = {"app": "cnpg"}
    deployment = stage.client.the(kinds.DEPLOYMENT, "cnpg")
    deployment["spec"]["selector"] = {"matchLabels": labels}
    deployment["metadata"]["labels"]["olm.owner"] = "cloudnative-pg.v1.30.0"
    stage.client.the(kinds.POD, "cnpg-0")["metadata"]["labels"] = labels


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


async def deleting() -> Stage:
    """CloudNativePG has not let the Service go."""
    stage = await ready()
    finalizers = stage.client.the(kinds.SERVICE, "hello")["metadata"].setdefault("finalizers", [])
    finalizers.append(names.cnpg.SERVICE_FINALIZER)
    stage.delete()
    await stage.settle(passes=2)
    return stage


async def refused() -> Stage:
    stage = Stage()
    stage.create(serviceAccount={"name": "someone-elses"})
    await stage.settle(passes=2)
    return stage


async def another() -> Stage:
    return await answering(HandshakeOutcome(Reason.IDENTITY_MISMATCH, "It is another one."))


async def unreachable() -> Stage:
    return await answering(HandshakeOutcome(Reason.UNREACHABLE, "There is no route to it."))


async def answering(outcome: HandshakeOutcome) -> Stage:
    stage = await ready()
    stage.handshaker.outcome = outcome
    stage.edit(image="example.org/hello:2")
    await stage.settle()
    return stage


async def expiring() -> Stage:
    return await certified(timedelta(days=1))


async def expired() -> Stage:
    return await certified(timedelta(days=-1))


async def certified(ends: timedelta) -> Stage:
    """The user provides a certificate of 90 days, in whose place no other was put."""
    stage, issuer = Stage(), authority("sub", authority("root"))
    starts = ends - timedelta(days=90)
    bring(stage, "my-server", issue(issuer, "hello", dns=("hello",), starts=starts, ends=ends))
    bring(stage, "my-client", issue(issuer, "cnpg", dns=(), usages=(CLIENT,)))
    stage.create(tls=USER_SECRETS)
    await stage.settle()
    return stage


async def restarting() -> Stage:
    stage = Stage()
    stage.create(cnpg={"restartPolicy": "Always"})
    await stage.settle(passes=8)
    return stage


async def forbidden() -> Stage:
    """OLM owns CloudNativePG, and the operator may not delete its pods."""
    stage = Stage()
    let_olm_own_cnpg(stage)
    stage.client.undeletable.add(kinds.POD)
    stage.create(cnpg={"restartPolicy": "Always"})
    await stage.settle(passes=20)
    return stage


async def unavailable() -> Stage:
    """CloudNativePG has no pod."""
    stage = Stage()
    stage.create()
    stage.client.the(kinds.DEPLOYMENT, "cnpg")["spec"]["replicas"] = 0
    await stage.settle()
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
