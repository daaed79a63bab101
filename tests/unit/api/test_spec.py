import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnpg_plugin_operator.api.plugin import parse_plugin
from cnpg_plugin_operator.api.spec import DeletionPolicy, Provider, TLSSecrets
from cnpg_plugin_operator.errors import InvalidSpecError
from tests.support.unit.builders import plugin, resource

LEAVES: list[Any] = [None, True, 0, -1, 70000, 1.5, "", "x", "5s", [], {}, [None], ["a"], [{}]]
JSON = st.sampled_from([*LEAVES, *({"name": leaf, "type": leaf} for leaf in LEAVES)])
FIELDS = st.sampled_from(
    ["pluginName", "image", "args", "env", "port", "tls", "service", "probes", "strategy",
     "handshake", "serviceAccount", "replicas", "podTemplate", "resources", "cnpg"]
)  # fmt: skip


def test_the_shortest_resource_gets_the_documented_defaults() -> None:
    spec = plugin().spec

    assert (spec.port, spec.replicas, spec.strategy.type) == (9090, 1, "Recreate")
    assert spec.handshake.timeout.total_seconds() == 5
    assert spec.handshake.interval.total_seconds() == 600
    assert spec.tls.duration.total_seconds() == 2160 * 3600
    assert spec.tls.files.server.directory == "/server"
    assert (spec.tls.provider, spec.tls.secrets, spec.tls.issuer_ref) == (None, None, None)
    assert (spec.tls.issuer_scope, spec.tls.reload) == ("Namespace", "Auto")
    assert spec.deletion_policy is DeletionPolicy.WAIT_FOR_CLUSTERS
    assert spec.cnpg.restart_policy is None


def test_the_service_is_named_like_the_resource_unless_it_has_a_name() -> None:
    assert plugin("hello").service_name == "hello"
    assert plugin("hello", service={"name": "other"}).host == "other.cnpg-system.svc"


OWN = {"server": "a", "client": "b"}
ISSUER = {"name": "mine"}


@pytest.mark.parametrize("provider", list(Provider))
def test_each_provider_is_parsed(provider: Provider) -> None:
    secrets = {"secrets": OWN} if provider is Provider.SECRETS else {}
    tls = plugin(tls={"provider": provider.value, **secrets}).spec.tls

    assert tls.provider is provider
    assert tls.secrets == (TLSSecrets(server="a", client="b") if secrets else None)


@pytest.mark.parametrize(
    "tls",
    [
        pytest.param({"provider": "SelfManaged", "issuerScope": "Plugin"}, id="own authority"),
        pytest.param({"provider": "CertManager", "issuerRef": ISSUER}, id="issuer"),
        pytest.param({"issuerRef": ISSUER, "issuerScope": "Namespace"}, id="scope by default"),
        pytest.param({"issuerScope": "Plugin"}, id="scope for any provider"),
        pytest.param(
            {"provider": "Secrets", "secrets": OWN, "duration": "1h"}, id="fields without effect"
        ),
    ],
)
def test_compatible_fields_are_accepted(tls: dict[str, Any]) -> None:
    read = plugin(tls=tls).spec.tls

    assert read.provider == tls.get("provider")
    assert read.issuer_scope == tls.get("issuerScope", "Namespace")
    assert (read.issuer_ref is None) == ("issuerRef" not in tls)


@pytest.mark.parametrize(
    ("tls", "named"),
    [
        pytest.param({"provider": "Secrets"}, "spec.tls.secrets: required", id="no secrets"),
        pytest.param({"secrets": OWN}, "spec.tls.secrets: needs provider", id="no provider"),
        pytest.param(
            {"provider": "SelfManaged", "secrets": OWN}, "spec.tls.secrets: needs", id="not its own"
        ),
        pytest.param(
            {"provider": "Secrets", "secrets": {"server": "a", "client": "a"}},
            "spec.tls.secrets: server and client must be two",
            id="one for both",
        ),
        pytest.param(
            {"provider": "Secrets", "secrets": {"server": "a"}},
            "spec.tls.secrets.client: Field required",
            id="one of two",
        ),
        pytest.param(
            {"provider": "SelfManaged", "issuerRef": ISSUER},
            "spec.tls.issuerRef: needs provider",
            id="an issuer for the operator",
        ),
        pytest.param(
            {"provider": "Secrets", "secrets": OWN, "issuerRef": ISSUER},
            "spec.tls.issuerRef: needs provider",
            id="an issuer for the user's own",
        ),
        pytest.param(
            {"issuerScope": "Plugin", "issuerRef": ISSUER},
            "spec.tls.issuerScope: Plugin and issuerRef",
            id="two authorities",
        ),
        pytest.param(
            {"provider": "Secrets", "secrets": OWN, "issuerScope": "Plugin"},
            "spec.tls.issuerScope: Plugin and provider",
            id="an authority without work",
        ),
    ],
)
def test_contradictions_are_named_as_in_the_crd(tls: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidSpecError) as caught:
        plugin(tls=tls)

    assert str(caught.value).startswith(named)


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ({"tls": {"privateKey": {"algorithm": "RSA", "size": 8192}}}, "less than or equal to 4096"),
        ({"tls": {"privateKey": {"algorithm": "RSA", "size": 1024}}}, "2048 to 4096 for RSA"),
        ({"tls": {"privateKey": {"size": 521}}}, "256 or 384 for ECDSA"),
        ({"handshake": {"timeout": "31s"}}, "handshake.timeout: must be between 1s and 30s"),
        ({"handshake": {"timeout": "10ms"}}, "handshake.timeout: must be between 1s and 30s"),
        ({"handshake": {"interval": "1s"}}, "handshake.interval: must be at least 10s"),
    ],
    ids=["RSA 8192", "RSA 1024", "ECDSA 521", "a long timeout", "a short timeout", "an interval"],
)
def test_values_stored_before_a_bound_existed_are_refused(spec: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidSpecError, match=named):
        parse_plugin(resource(**spec))


def test_every_contradiction_is_named_at_once() -> None:
    with pytest.raises(InvalidSpecError) as caught:
        plugin(tls={"provider": "Secrets", "issuerRef": ISSUER, "issuerScope": "Plugin"})

    for field in ("secrets", "issuerRef", "issuerScope"):
        assert f"spec.tls.{field}: " in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        pytest.param({"port": 0}, "spec.port", id="an invalid port"),
        pytest.param({"image": ""}, "spec.image", id="no image"),
        pytest.param({"handshake": {"timeout": "soon"}}, "spec.handshake.timeout", id="no time"),
        pytest.param(
            {"cnpg": {"restartPolicy": "Maybe"}}, "spec.cnpg.restartPolicy", id="an unknown policy"
        ),
        pytest.param({"mode": "Elsewhere"}, "spec.mode", id="an unknown mode"),
        pytest.param({"tls": {"clientTrust": "x"}}, "spec.tls.clientTrust", id="no such trust"),
        pytest.param({"tls": {"provider": "Vault"}}, "spec.tls.provider", id="no such provider"),
        pytest.param({"tls": {"issuerScope": "All"}}, "spec.tls.issuerScope", id="no such scope"),
        pytest.param({"tls": {"reload": "Maybe"}}, "spec.tls.reload", id="no such reload"),
    ],
)
def test_an_invalid_field_is_named(spec: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidSpecError, match=named):
        plugin(**spec)


def test_values_are_not_repeated_in_errors() -> None:
    with pytest.raises(InvalidSpecError) as caught:
        plugin(env="password=hunter2")

    assert "hunter2" not in str(caught.value)


@given(st.dictionaries(FIELDS, JSON, max_size=5))
def test_any_content_is_parsed_or_refused(spec: dict[str, Any]) -> None:
    body = resource()
    body["spec"] = spec
    with contextlib.suppress(InvalidSpecError):
        assert parse_plugin(body).name == "hello"
