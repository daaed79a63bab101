"""A sidecar reads its own Secrets as long as it runs, and never those of others."""

from typing import Any

import pytest

from cnpg_plugin_operator.cluster import kinds
from tests.support.unit.stage.hosting import HostingStage
from tests.support.unit.stage.world import NAMESPACE


def put_secret(stage: HostingStage, name: str, kind: str = "Opaque") -> None:
    stage.client.put(
        kinds.SECRET, {"metadata": {"name": name, "namespace": NAMESPACE}, "type": kind}
    )


def mounting(secret: str) -> dict[str, Any]:
    return {
        "volumes": [{"name": "v", "secret": {"secretName": secret}}],
        "volumeMounts": [{"name": "v", "mountPath": "/v"}],
        "envFrom": [{"secretRef": {"name": secret}}],
    }


async def test_a_sidecar_keeps_its_own_secret_in_cloudnativepgs_pod() -> None:
    stage = HostingStage()
    put_secret(stage, "own")
    for name in ("a", "b"):
        stage.create(name, **mounting("own"))
    await stage.until("a", "b")
    await stage.pass_by(120, "a", "b")

    assert [stage.state(name) for name in ("a", "b")] == [("True", "Ready")] * 2
    assert stage.applies == 1


@pytest.mark.parametrize("good", [True, False], ids=["beside another", "alone"])
async def test_a_sidecar_with_a_token_of_others_is_not_placed(*, good: bool) -> None:
    stage = HostingStage()
    put_secret(stage, "token", "kubernetes.io/service-account-token")
    stage.create("greedy", **mounting("token"))
    others = ["good"] if good else []
    for name in others:
        stage.create(name)
    await stage.pass_by(120, "greedy", *others)

    assert stage.condition("Accepted", "greedy") == ("False", "InvalidSpec")
    assert "it contains a token of ServiceAccount" in stage.message("Accepted", "greedy")
    assert stage.sidecars.keys() == set(others)
