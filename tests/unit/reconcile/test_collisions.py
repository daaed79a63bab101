"""Two resources, or a resource and another owner, need the same name: the second is refused.

The message names who was first, and nothing of the first is changed.
"""

from copy import deepcopy
from typing import Any

import pytest

from cnpg_plugin_operator import names
from cnpg_plugin_operator.cluster import kinds
from tests.support.unit.builders import plugin
from tests.support.unit.stage.stage import Stage
from tests.support.unit.stage.world import NAMESPACE

SCOPED = {"tls": {"issuerScope": "Plugin"}}
DIGEST = plugin("first", **SCOPED).client_secret.split("-")[1]


@pytest.mark.parametrize(
    ("first", "second", "spec", "words"),
    [
        ({}, "second", {"service": {"name": "first"}}, f"Service {NAMESPACE}/first"),
        (
            {"serviceAccount": {"create": True}},
            "second",
            {"serviceAccount": {"create": True, "name": "cnpg-plugin-first"}},
            f"ServiceAccount {NAMESPACE}/cnpg-plugin-first",
        ),
        (
            SCOPED,
            f"first-{DIGEST}",
            {},
            f"Certificate {NAMESPACE}/first-{DIGEST}-client-tls",
        ),
    ],
    ids=["Service", "ServiceAccount", "Certificate and Secret"],
)
async def test_the_second_resource_is_refused_and_names_the_first(
    first: dict[str, Any], second: str, spec: dict[str, Any], words: str
) -> None:
    stage = Stage()
    stage.create("first", **first)
    await stage.settle("first")
    assert stage.condition(name="first") == ("True", "Ready")
    before = deepcopy(stage.client.objects)

    stage.create(second, **spec)
    await stage.settle(second)

    assert stage.condition("Accepted", second) == ("False", "NameConflict")
    assert f"{words} belongs to CNPGPlugin first:" in stage.message("Accepted", second)
    for key, body in before.items():
        if key[0] in ("Service", "ServiceAccount", "Certificate", "Issuer", "Secret"):
            assert stage.client.objects[key] == body, key


def leave(stage: Stage, kind: kinds.Kind, name: str) -> dict[str, Any]:
    """Put an object of an earlier resource hello there, which Kubernetes does not delete."""
    owner = {
        "apiVersion": names.resource.API_VERSION,
        "kind": names.resource.KIND,
        "name": "hello",
        "uid": "of-the-earlier-one",
    }
    labels = {
        names.labels.MANAGED_BY: names.resource.OPERATOR,
        names.labels.PLUGIN: "hello",
    }
    metadata = {"name": name, "namespace": NAMESPACE, "labels": labels, "ownerReferences": [owner]}
    return stage.client.put(kind, {"metadata": {**metadata, "uid": "left"}, "spec": {}})


@pytest.mark.parametrize("kind", [kinds.DEPLOYMENT, kinds.SERVICE, kinds.CERTIFICATE])
async def test_what_an_earlier_resource_of_the_name_left_is_replaced(kind: kinds.Kind) -> None:
    stage = Stage()
    name = "hello-server-tls" if kind is kinds.CERTIFICATE else "hello"
    leave(stage, kind, name)
    stage.create()
    await stage.settle()

    assert stage.condition() == ("True", "Ready")
    uid = stage.client.the(kinds.PLUGIN, "hello")["metadata"]["uid"]
    [owner] = stage.client.the(kind, name)["metadata"]["ownerReferences"]
    assert owner["uid"] == uid


async def test_what_nothing_needs_any_more_of_an_earlier_resource_is_pruned() -> None:
    stage = Stage()
    leave(stage, kinds.POD_DISRUPTION_BUDGET, "hello")
    stage.create()
    await stage.settle()

    assert stage.condition() == ("True", "Ready")
    assert (kinds.POD_DISRUPTION_BUDGET.kind, NAMESPACE, "hello") not in stage.client.objects


async def test_an_operator_that_knows_the_earlier_resource_only_deletes_nothing_of_the_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = Stage()
    stage.create()
    await stage.settle()
    known = deepcopy(stage.client.the(kinds.PLUGIN, "hello"))
    known["metadata"]["uid"] = "of-the-earlier-one"
    before = deepcopy(stage.client.objects)

    monkeypatch.setattr(stage.facts, "resources", lambda _namespace: (known,))
    await stage.settle(passes=3)

    for kind in kinds.CHILDREN:
        if (key := (kind.kind, NAMESPACE, "hello")) in before:
            assert stage.client.objects[key]["metadata"]["uid"] == before[key]["metadata"]["uid"]


CHAIN = names.children.CHAIN_INTERMEDIATE


@pytest.mark.parametrize("kind", [kinds.ISSUER, kinds.SECRET], ids=lambda kind: kind.kind)
async def test_a_foreign_object_with_a_name_of_the_chain_is_refused_and_left_alone(
    kind: kinds.Kind,
) -> None:
    stage = Stage()
    labels = {names.labels.MANAGED_BY: "Helm"}
    metadata = {"name": CHAIN, "namespace": NAMESPACE, "labels": labels}
    stage.client.put(kind, {"metadata": metadata, "spec": {"ca": {"secretName": "theirs"}}})
    before = deepcopy(stage.client.the(kind, CHAIN))
    stage.create()
    await stage.settle()

    assert stage.condition("CertificatesReady") == ("False", "NameConflict")
    message = stage.message("CertificatesReady")
    assert f"{kind.kind} {NAMESPACE}/{CHAIN} belongs to Helm" in message
    assert stage.client.the(kind, CHAIN) == before

    await stage.client.delete(kind, CHAIN, NAMESPACE)
    await stage.settle(passes=20)
    assert stage.condition() == ("True", "Ready")
