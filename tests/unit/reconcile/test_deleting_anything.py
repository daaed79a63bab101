"""A deletion is the same for every resource, whatever its spec."""

from typing import Any

import pytest

from cnpg_plugin_operator import names
from cnpg_plugin_operator.cluster import kinds
from tests.support.unit.stage.hosting import CNPG, HostingStage
from tests.support.unit.stage.stage import Stage
from tests.support.unit.stage.world import NAMESPACE

PROVIDERS = [
    {},
    {"tls": {"provider": "SelfManaged"}},
    {"tls": {"provider": "SelfManaged", "issuerScope": "Plugin"}},
    {"tls": {"issuerScope": "Plugin"}},
]
UNPARSABLE: list[dict[str, Any]] = [
    {"port": "none"},
    {"mode": "Elsewhere"},
    {"tls": 7, "service": [], "cnpg": "x", "handshake": None},
    {"image": None, "deletionPolicy": "maybe"},
    {"pluginName": {"an": "object"}},
]


def made(stage: Stage) -> set[str]:
    """Objects without an owner reference that the operator created, and what it published."""
    found = set()
    for (kind, _, name), body in stage.client.objects.items():
        labels = body["metadata"].get("labels") or {}
        if labels.get(names.labels.MANAGED_BY) != names.resource.OPERATOR or kind == "Pod":
            continue
        owners = body["metadata"].get("ownerReferences") or []
        if kind == "Service" or not any(owner["uid"] == "uid-of-hello" for owner in owners):
            found.add(f"{kind} {name}")
    return found


def use_plugin(stage: Stage) -> None:
    stage.client.put(
        kinds.CLUSTER,
        {
            "metadata": {"name": "db", "namespace": "app"},
            "spec": {"plugins": [{"name": "hello.example.org"}]},
        },
    )


@pytest.mark.parametrize("becomes", UNPARSABLE, ids=lambda value: next(iter(value)))
@pytest.mark.parametrize("spec", PROVIDERS, ids=str)
async def test_a_spec_that_cannot_be_parsed_leaves_nothing_behind(
    spec: dict[str, Any], becomes: dict[str, Any]
) -> None:
    stage = Stage()
    before = made(stage)
    stage.create(clusterRoles=["viewer"], **spec)
    await stage.settle()
    ready = stage.condition()
    stage.edit(**becomes)
    use_plugin(stage)
    await stage.settle(passes=2)
    refused = stage.condition("Accepted")
    published = names.cnpg.PLUGIN_NAME in stage.service()["labels"]
    stage.delete()
    await stage.settle(passes=3)
    waiting = stage.condition("Accepted")
    del stage.client.objects["Cluster", "app", "db"]
    await stage.settle(passes=3)

    assert ready == ("True", "Ready")
    assert refused == ("False", "InvalidSpec")
    assert published
    assert waiting == ("False", "InUse")
    assert ("CNPGPlugin", NAMESPACE, "hello") not in stage.client.objects
    assert made(stage) == before


async def test_a_service_with_another_name_is_found_by_its_labels() -> None:
    stage = Stage()
    stage.create(service={"name": "other"})
    await stage.settle()
    stage.edit(service="unreadable")
    stage.delete()
    await stage.settle(passes=3)

    assert made(stage) == set()
    assert ("CNPGPlugin", NAMESPACE, "hello") not in stage.client.objects


async def test_another_owners_service_stays() -> None:
    stage = Stage()
    foreign = {"metadata": {"name": "hello", "namespace": NAMESPACE}, "spec": {}}
    stage.client.put(kinds.SERVICE, foreign)
    stage.create()
    await stage.settle(passes=3)
    stage.delete()
    await stage.settle(passes=3)

    assert ("Service", NAMESPACE, "hello") in stage.client.objects
    assert ("CNPGPlugin", NAMESPACE, "hello") not in stage.client.objects


@pytest.mark.parametrize("becomes", UNPARSABLE, ids=lambda value: next(iter(value)))
async def test_a_sidecar_whose_spec_cannot_be_parsed_is_removed(becomes: dict[str, Any]) -> None:
    stage = HostingStage()
    before = str(stage.client.the(kinds.DEPLOYMENT, CNPG)["spec"]["template"])
    stage.create()
    await stage.until()
    use_plugin(stage)
    stage.edit(**becomes)
    stage.delete()
    await stage.pass_by(30)
    waiting, sidecars = stage.condition("Accepted"), stage.sidecars
    del stage.client.objects["Cluster", "app", "db"]
    await stage.pass_by(120)

    assert waiting == ("False", "InUse")
    assert sidecars.keys() == {"hello"}
    assert ("CNPGPlugin", NAMESPACE, "hello") not in stage.client.objects
    assert names.annotations.SIDECARS not in before
    assert stage.sidecars == {}
