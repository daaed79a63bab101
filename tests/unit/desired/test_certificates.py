"""The objects for cert-manager, and the Secrets with the operator's own keys."""

import base64
from typing import Any

import pytest

from cnpg_plugin_operator import names
from cnpg_plugin_operator.desired.certificates import (
    authority_subject,
    build_chain,
    build_client_certificate,
    build_own_authority,
    build_server_certificate,
    client_subject,
    issuer_reference,
    server_names,
)
from cnpg_plugin_operator.desired.pairs import build_pair, build_shared_authority
from tests.support.unit.builders import plugin

MINE = {"name": "mine", "kind": "ClusterIssuer", "group": "example.org"}
OWN = {"issuerScope": "Plugin"}
LONG = "a" * 63


# Secrets that the operator creates


DATA = {"tls.crt": b"certificate", "tls.key": b"key", "ca.crt": b"root"}


def decode(body: dict[str, Any]) -> dict[str, bytes]:
    return {key: base64.b64decode(value) for key, value in body["data"].items()}


def test_a_pair_is_owned_by_its_plugin() -> None:
    body = build_pair(plugin("hello"), "hello-server-tls", DATA)

    assert decode(body) == DATA
    assert (body["kind"], body["type"]) == ("Secret", "kubernetes.io/tls")
    assert body["metadata"]["name"] == "hello-server-tls"
    assert body["metadata"]["ownerReferences"][0]["uid"] == "uid-of-hello"
    assert body["metadata"]["labels"][names.labels.MANAGED_BY] == names.resource.OPERATOR
    assert body["metadata"]["labels"][names.labels.PLUGIN] == "hello"


def test_a_shared_authority_has_no_owner() -> None:
    assert build_shared_authority("cnpg-system", names.children.OWN_ROOT, DATA) == {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": "cnpg-plugins-selfmanaged-root",
            "namespace": "cnpg-system",
            "labels": {
                "app.kubernetes.io/managed-by": "cnpg-plugin-operator",
                "cnpgplugin.dev/chain": "cnpg-plugins-selfmanaged-root",
            },
        },
        "type": "kubernetes.io/tls",
        "data": {key: base64.b64encode(value).decode() for key, value in DATA.items()},
    }


# Names


NAMES: list[tuple[str, dict[str, Any], str | None, list[str]]] = [
    (
        "every form of the Service's",
        {},
        None,
        ["hello", "hello.cnpg-system", "hello.cnpg-system.svc",
         "hello.cnpg-system.svc.cluster.example"],
    ),
    (
        "those of another Service",
        {"service": {"name": "other"}},
        None,
        ["other", "other.cnpg-system", "other.cnpg-system.svc",
         "other.cnpg-system.svc.cluster.example"],
    ),
    (
        "the server name and the user's, each once",
        {"tls": {"serverName": "plugins.example", "dnsNames": ["a", "hello", "plugins.example"]}},
        None,
        ["hello", "hello.cnpg-system", "hello.cnpg-system.svc",
         "hello.cnpg-system.svc.cluster.example", "plugins.example", "a"],
    ),
    (
        "the name that CloudNativePG verifies at present",
        {},
        "former",
        ["hello", "hello.cnpg-system", "hello.cnpg-system.svc",
         "hello.cnpg-system.svc.cluster.example", "former"],
    ),
    (
        "the announced name once",
        {},
        "hello",
        ["hello", "hello.cnpg-system", "hello.cnpg-system.svc",
         "hello.cnpg-system.svc.cluster.example"],
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("spec", "announced", "found"), [row[1:] for row in NAMES], ids=[row[0] for row in NAMES]
)
def test_the_server_certificate_is_for(
    spec: dict[str, Any], announced: str | None, found: list[str]
) -> None:
    assert server_names(plugin("hello", **spec), "cluster.example", announced) == found


def test_common_names_fit_into_a_certificate() -> None:
    long = plugin(LONG, pluginName="long.example.org")

    assert client_subject(plugin("hello")) == "hello-client"
    assert len(client_subject(long)) <= 64
    assert client_subject(long).endswith("-client")
    assert (
        authority_subject("cnpg-system", names.children.OWN_ROOT)
        == f"{names.children.OWN_ROOT}.cnpg-system"
    )
    assert len(authority_subject(LONG, names.children.OWN_INTERMEDIATE)) == 64


# cert-manager's objects


def test_the_shared_chain_is_a_root_and_an_intermediate_that_issues() -> None:
    chain = build_chain("cnpg-system")
    issuers = {b["metadata"]["name"]: b["spec"] for b in chain if b["kind"] == "Issuer"}
    certificates = {b["metadata"]["name"]: b["spec"] for b in chain if b["kind"] == "Certificate"}

    assert issuers == {
        names.children.CHAIN_SELF_SIGNED: {"selfSigned": {}},
        names.children.CHAIN_ROOT: {"ca": {"secretName": names.children.CHAIN_ROOT}},
        names.children.CHAIN_INTERMEDIATE: {
            "ca": {"secretName": names.children.CHAIN_INTERMEDIATE}
        },
    }
    signed_by = {name: spec["issuerRef"]["name"] for name, spec in certificates.items()}
    assert signed_by == {
        names.children.CHAIN_ROOT: names.children.CHAIN_SELF_SIGNED,
        names.children.CHAIN_INTERMEDIATE: names.children.CHAIN_ROOT,
    }
    for body in chain:
        assert "ownerReferences" not in body["metadata"]
        assert body["metadata"]["labels"][names.labels.CHAIN] == body["metadata"]["name"]
    for spec in certificates.values():
        assert spec["isCA"]
        assert spec["secretTemplate"]["labels"][names.labels.CHAIN] == spec["secretName"]


def test_a_plugins_own_authority_is_signed_by_the_shared_root() -> None:
    certificate, issuer = build_own_authority(plugin("hello", tls=OWN))

    assert certificate["metadata"]["name"] == issuer["metadata"]["name"] == "hello-plugin-ca"
    assert certificate["spec"]["isCA"]
    assert certificate["spec"]["issuerRef"]["name"] == names.children.CHAIN_ROOT
    assert certificate["spec"]["secretName"] == "hello-plugin-ca"
    assert issuer["spec"] == {"ca": {"secretName": "hello-plugin-ca"}}
    for body in (certificate, issuer):
        assert body["metadata"]["ownerReferences"][0]["uid"] == "uid-of-hello"
        assert names.labels.CHAIN not in body["metadata"]["labels"]
    # The Secret is found by its label when the plugin is deleted: no owner reference removes it.
    labels = certificate["spec"]["secretTemplate"]["labels"]
    assert labels == {
        names.labels.MANAGED_BY: names.resource.OPERATOR,
        names.labels.PLUGIN: "hello",
    }


ISSUERS: list[tuple[str, dict[str, Any], dict[str, str]]] = [
    (
        "the namespace's intermediate",
        {},
        {"name": names.children.CHAIN_INTERMEDIATE, "kind": "Issuer"},
    ),
    ("the plugin's own intermediate", OWN, {"name": "hello-plugin-ca", "kind": "Issuer"}),
    ("the user's issuer", {"issuerRef": MINE}, MINE),
]


@pytest.mark.parametrize(
    ("tls", "issuer"), [row[1:] for row in ISSUERS], ids=[row[0] for row in ISSUERS]
)
def test_both_certificates_come_from(tls: dict[str, Any], issuer: dict[str, str]) -> None:
    subject = plugin("hello", tls=tls)
    bodies = (build_server_certificate(subject, ["hello"]), build_client_certificate(subject))

    for body in bodies:
        assert body["spec"]["issuerRef"] == issuer_reference(subject)
        assert {"group": "cert-manager.io", **issuer} == issuer_reference(subject)
    assert bodies[0]["spec"]["secretName"] == "hello-server-tls"
    assert bodies[1]["spec"]["secretName"] == subject.client_secret
    assert bodies[1]["metadata"]["name"] == subject.client_secret


@pytest.mark.parametrize(
    ("tls", "asked"),
    [
        ({}, {"duration": "2160h0m0s"}),
        ({"duration": "90m", "renewBefore": "30m"},
         {"duration": "1h30m0s", "renewBefore": "0h30m0s"}),
        ({"privateKey": {"algorithm": "ECDSA", "size": 384}},
         {"privateKey": {"algorithm": "ECDSA", "size": 384, "rotationPolicy": "Always"}}),
        ({"privateKey": {"algorithm": "RSA"}},
         {"privateKey": {"algorithm": "RSA", "size": 2048, "rotationPolicy": "Always"},
          "usages": ["digital signature", "server auth", "key encipherment"]}),
    ],
    ids=["by default", "times", "a larger key", "an RSA key"],
)  # fmt: skip
def test_cert_manager_is_asked_for(tls: dict[str, Any], asked: dict[str, Any]) -> None:
    spec = build_server_certificate(plugin("hello", tls=tls), ["hello"])["spec"]

    assert {key: spec[key] for key in asked} == asked
    assert ("renewBefore" in spec) == ("renewBefore" in tls)
