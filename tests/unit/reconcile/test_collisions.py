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
