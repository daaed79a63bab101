"""What others add to a child, remove from it, or write faster than it is restored."""

from copy import deepcopy
from typing import Any

import pytest

from cnpg_plugin_operator import names
from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.cluster.kinds import Kind
from cnpg_plugin_operator.reconcile.workers import Lane
from tests.support.unit.stage.stage import Stage


@pytest.fixture
async def stage() -> Stage:
    ready = Stage()
    ready.create()
    await ready.settle()
    assert ready.condition() == ("True", "Ready")
    ready.client.writes.clear()
    return ready


def mutate(body: Any, change: dict[Any, Any]) -> None:
    """Change an object as another program would: None removes, a number is a place in a list."""
    for key, value in change.items():
        if value is None:
            body.pop(key, None)
        elif isinstance(value, dict):
            mutate(body[key] if isinstance(key, int) else body.setdefault(key, {}), value)
        else:
            body[key] = value


def annotations(**values: str) -> dict[str, Any]:
    return {"metadata": {"annotations": {k.replace("__", "/"): v for k, v in values.items()}}}


def in_container(*path: str | int, **values: Any) -> dict[str, Any]:
    change: dict[Any, Any] = values
    for part in reversed(("spec", "template", "spec", "containers", 0, *path)):
        change = {part: change}
    return change


SERVICE, DEPLOYMENT = kinds.SERVICE, kinds.DEPLOYMENT
TWO_PORTS = [{"port": 9090, "targetPort": 9090, "protocol": "TCP", "name": "grpc"}, {"port": 1}]

MUTATIONS = [
    ("a server name that was never announced", SERVICE,
     annotations(**{"cnpg.io__pluginServerName": "x"})),
    ("a key that CloudNativePG may know one day", SERVICE, annotations(**{"cnpg.io__later": "x"})),
    ("a label of CloudNativePG's on the Deployment", DEPLOYMENT,
     {"metadata": {"labels": {"cnpg.io/pluginName": "hello.example.com"}}}),
    ("an annotation of this operator's on the pod template", DEPLOYMENT,
     {"spec": {"template": {"metadata": {"annotations": {"cnpgplugin.dev/x": "y"}}}}}),
    ("another revision", SERVICE, annotations(**{"cnpgplugin.dev__revision": "x"})),
    ("a mark of a touch", SERVICE, annotations(**{"cnpgplugin.dev__touched-for": "x"})),
    ("a key more in the selector", SERVICE, {"spec": {"selector": {"app": "other"}}}),
    ("another type of Service", SERVICE, {"spec": {"type": "NodePort"}}),
    ("external addresses", SERVICE, {"spec": {"externalIPs": ["192.0.2.1"]}}),
    ("pods that are not ready", SERVICE, {"spec": {"publishNotReadyAddresses": True}}),
    ("sticky sessions", SERVICE, {"spec": {"sessionAffinity": "ClientIP"}}),
    ("a port more", SERVICE, {"spec": {"ports": TWO_PORTS}}),
    ("a paused Deployment", DEPLOYMENT, {"spec": {"paused": True}}),
    ("a Deployment without its labels", DEPLOYMENT,
     {"metadata": {"labels": dict.fromkeys((names.labels.MANAGED_BY, names.labels.PLUGIN))}}),
    ("a Service without its labels", SERVICE,
     {"metadata": {"labels": dict.fromkeys((names.labels.MANAGED_BY, names.labels.PLUGIN))}}),
    ("another port of the container", DEPLOYMENT, in_container("ports", 0, containerPort=9191)),
    ("another name of the port", DEPLOYMENT, in_container("ports", 0, name="mutated")),
    ("another name of the container", DEPLOYMENT, in_container(name="mutated")),
    ("a Service without its owner", SERVICE, {"metadata": {"ownerReferences": []}}),
    ("a Deployment without its owner", DEPLOYMENT, {"metadata": {"ownerReferences": []}}),
]  # fmt: skip


def settled(body: dict[str, Any]) -> dict[str, Any]:
    """An object without the counters of the API server."""
    kept = deepcopy(body)
    for field in ("resourceVersion", "managedFields", "generation", "creationTimestamp"):
        kept["metadata"].pop(field, None)
    kept["metadata"]["annotations"].pop(names.annotations.CHANGED_AT, None)
    kept["metadata"]["annotations"].pop(names.annotations.ANNOUNCED_AT, None)
    kept["metadata"]["annotations"].pop(names.annotations.REPLACES, None)
    kept["metadata"]["annotations"].pop(names.annotations.DESIRED, None)
    kept.pop("status", None)
    return kept


@pytest.mark.parametrize(
    ("kind", "change"), [row[1:] for row in MUTATIONS], ids=[row[0] for row in MUTATIONS]
)
async def test_edits_by_others_are_reverted_with_few_writes(
    stage: Stage, kind: Kind, change: dict[str, Any]
) -> None:
    before = settled(stage.client.the(kind, "hello"))
    mutate(stage.client.the(kind, "hello"), change)
    await stage.settle(passes=6)

    assert settled(stage.client.the(kind, "hello")) == before
    touched = [write for write in stage.client.writes if write.endswith(f"{kind.kind} hello")]
    assert 1 <= len(touched) <= 3, stage.client.writes
    assert stage.condition() == ("True", "Ready")
    stage.client.writes.clear()
    await stage.settle(passes=3)
    assert stage.client.writes == []


@pytest.mark.parametrize("name", [names.children.OWN_ROOT, names.children.OWN_INTERMEDIATE])
@pytest.mark.parametrize("key", [names.labels.CHAIN, names.labels.MANAGED_BY])
@pytest.mark.parametrize("value", [None, "mutated"])
async def test_a_shared_authority_gets_a_lost_label_back_and_keeps_its_key(
    name: str, key: str, value: str | None
) -> None:
    stage = Stage()
    stage.create(tls={"provider": "SelfManaged"})
    await stage.settle(passes=20)
    before = deepcopy(stage.client.the(kinds.SECRET, name))
    stage.client.writes.clear()

    mutate(stage.client.the(kinds.SECRET, name), {"metadata": {"labels": {key: value}}})
    await stage.settle(passes=6)

    after = stage.client.the(kinds.SECRET, name)
    assert after["metadata"]["labels"] == before["metadata"]["labels"]
    assert after["data"] == before["data"]
    assert stage.client.writes == [f"patch Secret {name}"]
    assert stage.condition() == ("True", "Ready")


async def test_keys_that_others_add_are_kept(stage: Stage) -> None:
    mutate(stage.client.the(SERVICE, "hello"), annotations(**{"example.com__ours": "kept"}))
    await stage.settle(passes=3)

    assert stage.service()["annotations"]["example.com/ours"] == "kept"
    assert stage.client.writes == []


async def test_a_removal_that_conflicts_with_another_writer_is_repeated(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = stage.client.the(SERVICE, "hello")
    mutate(live, annotations(**{"cnpg.io__later": "x"}))
    patch = stage.client.merge_patch

    async def late(*given: Any) -> dict[str, Any]:
        live["metadata"]["resourceVersion"] = "999"
        monkeypatch.undo()
        return await patch(*given)

    monkeypatch.setattr(stage.client, "merge_patch", late)
    assert await stage.visit() == 0.0
    assert "cnpg.io/later" in stage.service()["annotations"]
    await stage.visit()
    assert "cnpg.io/later" not in stage.service()["annotations"]


async def test_a_persistent_writer_is_named_and_answered_at_growing_intervals(
    stage: Stage,
) -> None:
    async def fight(seconds: int) -> int:
        stage.client.writes.clear()
        for _ in range(seconds):
            live = stage.client.the(SERVICE, "hello")
            live["spec"]["selector"]["app"] = "other"
            await stage.visit()
            stage.clock.pass_by(1)
        return sum(write == "Service hello" for write in stage.client.writes)

    assert await fight(60) <= 13
    assert stage.condition() == ("False", "WriteLoopStopped")
    assert stage.message() == (
        "Service cnpg-system/hello is reverted as fast as the operator writes it: "
        "spec.selector.app, last by field manager fake. The operator now backs off. Stop the other "
        "writer of this field."
    )
    assert await fight(600) <= 6
    stage.clock.pass_by(300)
    await stage.settle(passes=3)
    assert stage.condition() == ("True", "Ready")


async def test_objects_of_a_resource_with_another_uid_are_not_adopted() -> None:
    stage = Stage()
    stage.create()
    await stage.settle()
    for body in stage.client.objects.values():
        body["metadata"]["ownerReferences"] = []
    del stage.client.objects["CNPGPlugin", "cnpg-system", "hello"]
    stage.create()
    stage.client.the(kinds.PLUGIN, "hello")["metadata"]["uid"] = "another"
    await stage.settle(passes=3)

    assert stage.condition() == ("False", "NameConflict")
    assert "a previous CNPGPlugin hello" in stage.message()


async def test_a_deletion_removes_objects_that_lost_their_owner(stage: Stage) -> None:
    for kind in (SERVICE, DEPLOYMENT):
        stage.client.the(kind, "hello")["metadata"]["ownerReferences"] = []
    stage.delete()
    await stage.settle(passes=4)

    left = {kind for kind, _, name in stage.client.objects if name == "hello"}
    assert left.isdisjoint({"Service", "Deployment", "CNPGPlugin"})


FUTURE = "2099-01-01T00:00:00Z"


@pytest.mark.parametrize(
    "key",
    [names.annotations.ANNOUNCED_AT, names.annotations.CHANGED_AT],
    ids=["announced", "changed"],
)
async def test_a_time_in_the_future_on_the_service_is_replaced(stage: Stage, key: str) -> None:
    mutate(stage.client.the(SERVICE, "hello"), {"metadata": {"annotations": {key: FUTURE}}})
    await stage.settle(passes=4)

    assert FUTURE not in stage.service()["annotations"].values()
    assert stage.condition() == ("True", "Ready")


async def test_a_trust_time_in_the_future_delays_no_certificate(stage: Stage) -> None:
    secret = stage.client.the(kinds.SECRET, "hello-trust")
    secret["metadata"]["annotations"][names.annotations.TRUST_CHANGED] = FUTURE
    await stage.settle(passes=4)

    assert secret["metadata"]["annotations"].get(names.annotations.TRUST_CHANGED) != FUTURE
    assert stage.condition() == ("True", "Ready")


@pytest.mark.parametrize("where", ["status", "CloudNativePG's Deployment"])
async def test_a_restart_recorded_in_the_future_blocks_no_restart(where: str) -> None:
    stage = Stage()
    stage.create()
    await stage.settle()
    if where == "status":
        stage.client.the(kinds.PLUGIN, "hello")["status"]["cnpg"]["lastRestart"] = {
            "time": FUTURE, "reason": "x", "revisions": {"x": "y"}, "attempts": "many",
            "generation": -1,
        }  # fmt: skip
    else:
        template = stage.client.the(kinds.DEPLOYMENT, "cnpg")["spec"]["template"]
        template["metadata"] = {"annotations": {names.annotations.RESTARTED_AT: FUTURE}}
    stage.edit(cnpg={"restartPolicy": "Always"}, podAnnotations={"example.com/changed": "1"})
    await stage.settle(passes=30)

    restarted = stage.restarted.get(names.annotations.RESTARTED_AT)
    assert restarted not in (None, FUTURE)


def series(stage: Stage, metric: str) -> set[str]:
    """The objects that a metric covers, by its last label."""
    registry = stage.metrics.registry
    return {
        sample.labels.get("role", "")
        for found in registry.collect()
        for sample in found.samples
        if sample.name == metric
    }


async def test_a_foreign_server_name_gets_no_certificate(stage: Stage) -> None:
    before = stage.leaf("hello-server-tls")
    mutate(stage.client.the(SERVICE, "hello"), annotations(**{"cnpg.io__pluginServerName": "x"}))
    await stage.settle(passes=4)

    wanted = stage.client.the(kinds.CERTIFICATE, "hello-server-tls")["spec"]["dnsNames"]
    assert "x" not in wanted
    assert stage.leaf("hello-server-tls") == before


async def test_the_metrics_of_a_certificate_are_removed_with_it(stage: Stage) -> None:
    expiry = "cnpg_plugin_certificate_expiry_timestamp_seconds"
    assert series(stage, expiry) == {"server", "client"}
    del stage.client.the(kinds.PLUGIN, "hello")["status"]["certificates"]["client"]
    stage.edit(suspend=True)
    await stage.visit()
    assert series(stage, expiry) == {"server"}
    stage.edit(suspend=False)
    stage.delete()
    await stage.settle(passes=4)
    assert series(stage, expiry) == set()
    assert series(stage, "cnpg_plugin_ready") == set()


async def test_a_large_key_is_generated_without_a_slot(stage: Stage) -> None:
    stage.edit(tls={"provider": "SelfManaged", "privateKey": {"algorithm": "RSA"}})
    await stage.settle(passes=20)

    assert stage.condition() == ("True", "Ready")
    assert stage.lanes[Lane.KEY] == 2
    assert stage.lanes[Lane.PEER] >= 1
