"""The names of a plugin's parts, the issuer of its certificates, and requests for new ones."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.plugin import NAME, Plugin, parse_plugin, parse_resource
from cnpg_plugin_operator.api.spec import Provider
from tests.support.unit.builders import plugin, resource

SECRETS = {"server": "my-server", "client": "my-client"}
USER_SECRETS = {"provider": "Secrets", "secrets": SECRETS}
OWN = {"provider": "SelfManaged"}
ALONE = {"issuerScope": "Plugin"}
MINE = {"issuerRef": {"name": "mine"}}


PROVIDERS: list[tuple[str, dict[str, Any], Provider, Provider]] = [
    ("the default where none is named", {}, Provider.CERT_MANAGER, Provider.CERT_MANAGER),
    ("the operator's default", {}, Provider.SELF_MANAGED, Provider.SELF_MANAGED),
    ("the one that is named", OWN, Provider.CERT_MANAGER, Provider.SELF_MANAGED),
    ("the one that is named, against another default", {"provider": "CertManager"},
     Provider.SELF_MANAGED, Provider.CERT_MANAGER),
    ("cert-manager with an issuer, whatever the default", MINE,
     Provider.SELF_MANAGED, Provider.CERT_MANAGER),
    ("the default with an authority of its own", ALONE,
     Provider.SELF_MANAGED, Provider.SELF_MANAGED),
    ("the user", USER_SECRETS, Provider.CERT_MANAGER, Provider.SECRETS),
]  # fmt: skip


@pytest.mark.parametrize(
    ("tls", "default", "provider"),
    [row[1:] for row in PROVIDERS],
    ids=[row[0] for row in PROVIDERS],
)
def test_the_certificates_are_issued_by(
    tls: dict[str, Any], default: Provider, provider: Provider
) -> None:
    assert parse_plugin(resource(tls=tls), default).provider is provider


CHAIN = (names.children.CHAIN_ROOT, names.children.CHAIN_INTERMEDIATE)
AUTHORITIES: list[tuple[str, dict[str, Any], tuple[str, ...]]] = [
    ("cert-manager by the shared chain", {}, CHAIN),
    ("cert-manager by an intermediate of its own", ALONE,
     (names.children.CHAIN_ROOT, "hello-plugin-ca")),
    ("the operator by its shared chain", OWN,
     (names.children.OWN_ROOT, names.children.OWN_INTERMEDIATE)),
    ("the operator by an intermediate of its own", {**OWN, **ALONE},
     (names.children.OWN_ROOT, "hello-plugin-ca")),
    ("the user's issuer by none that is known", MINE, ()),
    ("the user by none that is known", USER_SECRETS, ()),
]  # fmt: skip


@pytest.mark.parametrize(
    ("tls", "authorities"), [row[1:] for row in AUTHORITIES], ids=[row[0] for row in AUTHORITIES]
)
def test_certificates_are_signed_for(tls: dict[str, Any], authorities: tuple[str, ...]) -> None:
    subject = plugin("hello", tls=tls)

    assert subject.authorities == authorities
    assert subject.shares_chain == bool(authorities)


# Names of Secrets are API: another name for the same issuer would announce every plugin again.
CLIENTS = [
    ({}, "hello-client-tls"),
    ({"provider": "CertManager"}, "hello-client-tls"),
    (OWN, "hello-965cab-client-tls"),
    (ALONE, "hello-634bb0-client-tls"),
    ({**OWN, **ALONE}, "hello-7a027b-client-tls"),
    (MINE, "hello-cafa31-client-tls"),
    (USER_SECRETS, "my-client"),
]


@pytest.mark.parametrize(("tls", "name"), CLIENTS)
def test_the_name_of_each_issuers_client_secret_is_stable(tls: dict[str, Any], name: str) -> None:
    assert plugin("hello", tls=tls).client_secret == name


def issuer(**reference: str) -> dict[str, Any]:
    return {"issuerRef": {"name": "mine", **reference}}


def test_each_issuer_has_its_own_client_secret() -> None:
    issuers: list[dict[str, Any]] = [
        {},
        OWN,
        ALONE,
        {**OWN, **ALONE},
        MINE,
        issuer(name="other"),
        issuer(kind="ClusterIssuer"),
        issuer(group="example.org"),
        issuer(group="example.org", kind="ClusterIssuer"),
        issuer(name=names.children.CHAIN_INTERMEDIATE),
        USER_SECRETS,
    ]
    found = [plugin("hello", tls=tls).client_secret for tls in issuers]

    assert len(set(found)) == len(issuers)


SAME: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("what is the default is spelled out", {}, {"provider": "CertManager"}),
    ("the scope is spelled out", OWN, {**OWN, "issuerScope": "Namespace"}),
    ("the issuer is spelled out", MINE, issuer(kind="Issuer", group="cert-manager.io")),
    ("the provider of an issuer is spelled out", MINE, {**MINE, "provider": "CertManager"}),
    ("other certificates of it are wanted", OWN,
     {**OWN, "duration": "1h", "privateKey": {"algorithm": "RSA"}, "dnsNames": ["a"],
      "serverName": "b", "clientTrust": "Root", "reload": "None", "renewBefore": "10m"}),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), [row[1:] for row in SAME], ids=[row[0] for row in SAME])
def test_the_client_secret_stays_the_same_where(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert plugin(tls=one).client_secret == plugin(tls=other).client_secret


def test_a_default_has_the_name_of_its_provider() -> None:
    by_default = parse_plugin(resource("hello"), Provider.SELF_MANAGED)

    assert by_default.client_secret == plugin("hello", tls=OWN).client_secret


@given(
    st.from_regex(NAME, fullmatch=True),
    st.sampled_from([{}, OWN, ALONE, {**OWN, **ALONE}, MINE]),
)
def test_names_of_two_parts_never_collide(name: str, tls: dict[str, Any]) -> None:
    subject = plugin(name, pluginName="hello.example.org", tls=tls)
    parts = secrets_of(subject)

    assert len(parts) == len(set(parts))
    assert all(len(part) <= 253 for part in parts)


def secrets_of(subject: Plugin) -> list[str]:
    trust = names.children.trust_secret(subject.name)
    return [subject.server_secret, subject.client_secret, trust, *subject.authorities]


# Requests


MOMENT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
REQUESTS: list[tuple[str, Any, datetime | None]] = [
    ("in UTC", "2026-03-01T12:00:00Z", MOMENT),
    ("of another zone", "2026-03-01T14:00:00+02:00", MOMENT),
    ("with fractions", "2026-03-01T12:00:00.5Z", MOMENT + timedelta(milliseconds=500)),
    ("without a zone, as UTC", "2026-03-01T12:00:00", MOMENT),
    ("of a day", "2026-03-01", datetime(2026, 3, 1, tzinfo=UTC)),
    ("that is empty", "", None),
    ("that is a word", "now", None),
    ("that is a number", 1, None),
    ("that is a list", [], None),
    ("that is nothing", None, None),
    ("out of range", "2026-13-01T12:00:00Z", None),
]


@pytest.mark.parametrize(
    ("text", "moment"), [row[1:] for row in REQUESTS], ids=[row[0] for row in REQUESTS]
)
def test_a_request_for_new_certificates(text: Any, moment: datetime | None) -> None:
    body = resource()
    body["metadata"]["annotations"] = {names.annotations.RENEW: text}

    assert parse_resource(body).renew_requested_at == moment
    assert parse_plugin(body).renew_requested_at == moment


@pytest.mark.parametrize("annotations", [None, {}, {"other": "2026-03-01T12:00:00Z"}])
def test_without_the_annotation_nothing_is_requested(annotations: dict[str, str] | None) -> None:
    body = resource()
    body["metadata"]["annotations"] = annotations

    assert parse_resource(body).renew_requested_at is None


@given(st.text())
def test_any_text_requests_a_time_or_nothing(text: str) -> None:
    body = resource()
    body["metadata"]["annotations"] = {names.annotations.RENEW: text}
    found = parse_resource(body).renew_requested_at

    assert found is None or found.astimezone(timezone(timedelta(hours=1))) == found
