"""`deletionPolicy: Orphan`: a deleted resource leaves its plugin, and the next one adopts it."""

from typing import Any

import pytest

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.conditions import Type
from cnpg_plugin_operator.cluster import kinds
from tests.support.unit.builders import resource
from tests.support.unit.stage.stage import Stage

ROLES: dict[str, Any] = {"clusterRoles": ["viewer"]}
ORPHAN = {"deletionPolicy": "Orphan"}


def managed(stage: Stage) -> dict[tuple[str, str], dict[str, Any]]:
    """The metadata of everything that the operator keeps for the plugin or its chain."""
    return {
        (kind, name): body["metadata"]
        for (kind, _, name), body in stage.client.objects.items()
        if kind not in ("CNPGPlugin", "Pod")
        and body["metadata"].get("labels", {}).get(names.labels.MANAGED_BY)
        == names.resource.OPERATOR
    }


def owned(stage: Stage) -> list[tuple[str, str]]:
    """The objects that Kubernetes would delete with the resource."""
    return [key for key, metadata in managed(stage).items() if metadata.get("ownerReferences")]


def marked(stage: Stage) -> set[str]:
    """The kinds of the objects that are marked as orphans."""
    return {
        kind
        for (kind, _), metadata in managed(stage).items()
        if metadata["labels"].get(names.labels.ORPHANED) == "true"
    }


async def leave(stage: Stage) -> None:
    """Delete the resource, and let the operator see that it is gone."""
    stage.delete()
    await stage.settle(passes=4)
    assert ("CNPGPlugin", "cnpg-system", "hello") not in stage.client.objects


def create_again(stage: Stage, **spec: Any) -> None:
    body = resource("hello", **spec)
    body["metadata"]["uid"] = "another-uid"
    stage.client.put(kinds.PLUGIN, body)


@pytest.fixture(params=["CertManager", "SelfManaged"])
async def ready(request: pytest.FixtureRequest) -> Stage:
    stage = Stage()
    stage.create(tls={"provider": request.param}, **ROLES)
    await stage.settle()
    assert stage.condition() == ("True", "Ready")
    return stage


async def test_children_have_no_owner_once_the_policy_is_set(ready: Stage) -> None:
    before = ready.client.the(kinds.DEPLOYMENT, "hello")["spec"]
    assert owned(ready) != []
    ready.edit(**ORPHAN)
    await ready.settle()

    assert owned(ready) == []
    assert marked(ready) == set()
    assert ready.client.the(kinds.DEPLOYMENT, "hello")["spec"] == before, "no pod is replaced"
    assert ready.condition() == ("True", "Ready")


@pytest.mark.parametrize("passes", [0, 8], ids=["at once", "later"])
async def test_a_deletion_leaves_everything_running(ready: Stage, passes: int) -> None:
    before, service = managed(ready).keys(), dict(ready.service()["labels"])
    ready.edit(**ORPHAN)
    await ready.settle(passes=passes)
    await leave(ready)

    assert managed(ready).keys() == before, "the chain stays, too"
    assert owned(ready) == []
    assert {"Deployment", "Service", "ServiceAccount", "ClusterRoleBinding"} <= marked(ready)
    assert service.items() <= ready.service()["labels"].items(), "CloudNativePG keeps the plugin"
    assert not any(write.startswith("delete ") for write in ready.client.writes)


async def test_an_orphan_does_not_wait_for_clusters(ready: Stage) -> None:
    use = {"plugins": [{"name": "hello.example.org"}]}
    ready.client.put(kinds.CLUSTER, {"metadata": {"name": "db", "namespace": "app"}, "spec": use})
    ready.edit(**ORPHAN)
    await leave(ready)


async def test_the_next_resource_adopts_what_was_left(ready: Stage) -> None:
    kept = ready.client.the(kinds.PLUGIN, "hello")["spec"]
    ready.edit(**ORPHAN)
    await leave(ready)
    before, service = managed(ready).keys(), ready.service()["uid"]
    ready.client.writes.clear()
    create_again(ready, **{**kept, "deletionPolicy": "Delete"})
    await ready.settle()

    assert ready.condition() == ("True", "Ready")
    assert managed(ready).keys() == before
    assert marked(ready) == set()
    owners = {r["uid"] for m in managed(ready).values() for r in m.get("ownerReferences", [])}
    assert "another-uid" in owners
    assert ready.service()["uid"] == service
    assert not any(write.startswith("delete ") for write in ready.client.writes)


async def test_what_the_next_resource_does_not_want_is_pruned(ready: Stage) -> None:
    ready.edit(**ORPHAN)
    await leave(ready)
    create_again(ready)
    await ready.settle()

    assert ready.condition() == ("True", "Ready")
    assert "ServiceAccount" not in {kind for kind, _ in managed(ready)}
    assert "ClusterRoleBinding" not in {kind for kind, _ in managed(ready)}


async def test_a_resource_of_another_name_does_not_adopt(ready: Stage) -> None:
    ready.edit(**ORPHAN)
    await leave(ready)
    ready.create("other", pluginName="hello.example.org")
    await ready.settle("other", passes=4)

    assert ready.condition(Type.ACCEPTED, "other") == ("False", "NameConflict")


async def test_the_chain_goes_once_no_orphan_is_left(ready: Stage) -> None:
    ready.create("other")
    await ready.settle("other")
    ready.edit(**ORPHAN)
    await leave(ready)
    ready.delete("other")
    await ready.settle("other", passes=6)
    assert any(name.startswith("cnpg-plugins") for _, name in managed(ready))

    create_again(ready)
    await ready.settle()
    ready.delete()
    await ready.settle(passes=8)
    assert not any(name.startswith("cnpg-plugins") for _, name in managed(ready))
