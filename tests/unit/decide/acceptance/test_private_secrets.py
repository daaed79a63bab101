"""A Secret is private because of objects in the cluster, wherever a resource names it."""

from datetime import timedelta
from typing import Any

import pytest

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.conditions import Reason, Status
from cnpg_plugin_operator.api.plugin import parse_plugin
from cnpg_plugin_operator.decide.acceptance.private_secrets import (
    SECRETS_LIMIT,
    Claim,
    PrivateSecrets,
    find_named,
    judge_secrets,
)
from tests.support.unit.builders import plugin, resource

LOOT = "loot"
USED = PrivateSecrets(used={LOOT: "Issuer company signs with it"})
KEY = {"secretKeyRef": {"name": LOOT, "key": "tls.key"}}
ENV = [{"name": "KEY", "valueFrom": KEY}]
ENV_FROM = [{"secretRef": {"name": LOOT}}]
VOLUMES = [{"name": "v", "secret": {"secretName": LOOT}}]
PROJECTED = [{"name": "v", "projected": {"sources": [{"secret": {"name": LOOT}}]}}]
SIDECAR = {"mode": "Sidecar"}


def pod(**fields: Any) -> dict[str, Any]:
    return {"podTemplate": {"spec": fields}}


def provided(server: str = "mine-a", client: str = "mine-b") -> dict[str, Any]:
    return {"tls": {"provider": "Secrets", "secrets": {"server": server, "client": client}}}


PLACES: list[Any] = [
    pytest.param({"volumes": VOLUMES}, "volumes[v].secret.secretName", id="a volume"),
    pytest.param({"volumes": PROJECTED}, "projected.sources[0].secret", id="projected"),
    pytest.param({"env": ENV}, "env[KEY].valueFrom.secretKeyRef", id="a variable"),
    pytest.param({"envFrom": ENV_FROM}, "envFrom[0].secretRef", id="variables"),
    pytest.param({**SIDECAR, "volumes": VOLUMES}, "spec.volumes[v]", id="a sidecar's volume"),
    pytest.param({**SIDECAR, "env": ENV}, "spec.env[KEY]", id="a sidecar's variable"),
    pytest.param({**SIDECAR, "envFrom": ENV_FROM}, "spec.envFrom", id="a sidecar's variables"),
    pytest.param(pod(volumes=VOLUMES), "volumes[v]", id="a volume by template"),
    pytest.param(
        pod(containers=[{"name": "plugin", "env": ENV}]), "containers[plugin].env",
        id="a variable by template",
    ),
    pytest.param(
        pod(containers=[{"name": "other", "envFrom": ENV_FROM}]), "containers[other].envFrom",
        id="variables of another container",
    ),
    pytest.param(
        pod(initContainers=[{"name": "i", "env": ENV}]), "initContainers[i].env",
        id="an init container",
    ),
    pytest.param(
        pod(ephemeralContainers=[{"name": "e", "env": ENV}]), "ephemeralContainers[e]",
        id="an ephemeral container",
    ),
    pytest.param(
        pod(volumes=[{"name": "v", "csi": {"nodePublishSecretRef": {"name": LOOT}}}]),
        "csi.nodePublishSecretRef", id="a CSI volume",
    ),
    pytest.param(
        pod(volumes=[{"name": names.children.VOLUME_SERVER, "secret": {"secretName": LOOT}}]),
        names.children.VOLUME_SERVER, id="the operator's own volume with another Secret",
    ),
    pytest.param(provided(server=LOOT), "spec.tls.secrets.server", id="the plugin's pair"),
    pytest.param(provided(client=LOOT), "spec.tls.secrets.client", id="CloudNativePG's pair"),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "place"), PLACES)
def test_a_private_secret_is_refused_wherever_it_is_named(spec: dict[str, Any], place: str) -> None:
    verdict = judge_secrets(plugin(**spec), USED)

    assert verdict is not None
    assert (verdict.status, verdict.reason) == (Status.FALSE, Reason.INVALID_SPEC)
    assert verdict.message.startswith(f"Secret {LOOT} in ")
    assert place in verdict.message
    assert "Issuer company signs with it; use a Secret of the plugin's own" in verdict.message


@pytest.mark.parametrize(("spec", "place"), PLACES)
def test_a_secret_that_nothing_else_uses_is_accepted(spec: dict[str, Any], place: str) -> None:
    assert place
    assert judge_secrets(plugin(**spec), PrivateSecrets(existing={LOOT: ""})) is None


def test_pull_secrets_are_accepted() -> None:
    secrets = [{"name": LOOT}]
    subject = plugin(imagePullSecrets=secrets, **pod(imagePullSecrets=secrets))
    assert judge_secrets(subject, USED) is None


def test_the_operators_own_volumes_name_no_secret() -> None:
    assert list(find_named(plugin())) == []
    assert [name for _, name in find_named(plugin(**provided()))] == ["mine-a", "mine-b"]


def test_sources_merged_into_the_operators_volumes_are_checked() -> None:
    item = {"key": "tls.key", "path": "key"}
    template = pod(volumes=[{"name": names.children.VOLUME_SERVER, "secret": {"items": [item]}}])

    assert [name for _, name in find_named(plugin(**template))] == ["hello-server-tls"]


@pytest.mark.parametrize(
    "name",
    ["other-server-tls", "other-client-tls", "other-1a2b3c-client-tls", "other-plugin-ca",
     "hello-client-tls", "hello-server-tls", names.children.CHAIN_ROOT,
     names.children.CHAIN_INTERMEDIATE,
     names.children.OWN_ROOT, names.children.OWN_INTERMEDIATE],
)  # fmt: skip
def test_a_secret_that_the_operator_might_create_is_refused(name: str) -> None:
    subject = plugin(volumes=[{"name": "v", "secret": {"secretName": name}}])
    verdict = judge_secrets(subject, PrivateSecrets())

    assert verdict is not None
    assert "the operator reserves such names for its own Secrets" in verdict.message
    # One that exists and is not the operator's stays its owner's: nothing is adopted.
    assert judge_secrets(subject, PrivateSecrets(existing={name: ""})) is None


MINE = plugin("hello", volumes=VOLUMES)
EARLIER, LATER = MINE.created - timedelta(days=1), MINE.created + timedelta(days=1)


def claim(name: str = "other", *, earlier: bool = True, **secrets: str) -> Claim:
    found = {kind: frozenset({secret}) for kind, secret in secrets.items()}
    empty: frozenset[str] = frozenset()
    return Claim(
        name, EARLIER if earlier else LATER, found.get("provided", empty), found.get("named", empty)
    )


CLAIMS: list[Any] = [
    pytest.param(
        {"volumes": VOLUMES}, claim(provided=LOOT), "the certificate of CNPGPlugin other",
        id="another's pair is mounted",
    ),
    pytest.param(
        provided(server=LOOT), claim(provided=LOOT), "the certificate of CNPGPlugin other",
        id="two plugins share a pair",
    ),
    pytest.param(
        provided(client=LOOT), claim(named=LOOT), "CNPGPlugin other reads it",
        id="a pair that another plugin mounted beforehand",
    ),
    pytest.param(
        provided(server=LOOT), claim(provided=LOOT, earlier=False), None,
        id="a younger resource cannot take a pair away",
    ),
    pytest.param(
        {"volumes": VOLUMES}, claim(provided=LOOT, earlier=False), None,
        id="a younger resource cannot end another's use of a Secret",
    ),
    pytest.param(
        {"volumes": VOLUMES}, claim(named=LOOT), None, id="two plugins read one configuration",
    ),
    pytest.param(
        {"volumes": VOLUMES, **provided(server=LOOT)}, claim("hello", provided=LOOT, named=LOOT),
        None, id="its own pair",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "other", "words"), CLAIMS)
def test_of_two_resources_the_older_keeps_a_secret(
    spec: dict[str, Any], other: Claim, words: str | None
) -> None:
    private = PrivateSecrets(existing={LOOT: "", "mine-a": "", "mine-b": ""}, claims=(other,))
    verdict = judge_secrets(plugin("hello", **spec), private)

    assert (verdict is None) == (words is None)
    assert verdict is None or words is None or words in verdict.message


def test_too_many_secrets_are_refused() -> None:
    many = [
        {"name": f"V{number}", "valueFrom": {"secretKeyRef": {"name": f"s{number}", "key": "k"}}}
        for number in range(SECRETS_LIMIT + 1)
    ]
    enough = judge_secrets(plugin(env=many[1:]), PrivateSecrets())
    too_many = judge_secrets(plugin(env=many), PrivateSecrets())

    assert enough is None
    assert too_many is not None
    assert f"more than {SECRETS_LIMIT} Secrets" in too_many.message


@pytest.mark.parametrize("template", [{"spec": []}, {"spec": "x"}, {"spec": {"volumes": {}}}])
def test_a_malformed_template_names_no_secret(template: dict[str, Any]) -> None:
    body = resource(podTemplate=template)
    assert list(find_named(parse_plugin(body))) == []
