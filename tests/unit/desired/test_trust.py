"""The Secret of trusted certificates: its shape, and that no key can get into it."""

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnpg_plugin_operator import names
from cnpg_plugin_operator.desired.trust import build_trust
from cnpg_plugin_operator.pki import pem
from tests.support.tls.certificates import self_signed
from tests.support.unit.builders import plugin

CHANGED = "2026-03-01T12:00:00Z"


def decode(body: dict[str, Any], key: str) -> bytes:
    return base64.b64decode(body["data"][key])


def test_the_trust_secret_equals_the_golden_one() -> None:
    body = build_trust(plugin("hello"), [b"one"], [b"two", b"three"], CHANGED)
    stamp = body["metadata"]["annotations"].pop(names.annotations.DESIRED)
    encode = "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n".format

    assert len(stamp) == 16
    assert decode(body, "tls.crt").decode() == encode("b25l")
    assert decode(body, "clients.crt").decode() == encode("dHdv") + encode("dGhyZWU=")
    assert body["data"].keys() == {"tls.crt", "clients.crt"}
    assert {key: value for key, value in body.items() if key != "data"} == {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": "hello-trust",
            "namespace": "cnpg-system",
            "labels": {
                "app.kubernetes.io/name": "hello",
                "app.kubernetes.io/managed-by": "cnpg-plugin-operator",
                "cnpgplugin.dev/name": "hello",
            },
            "annotations": {
                "cnpgplugin.dev/trust-changed-at": CHANGED,
                "cnpgplugin.dev/uid": "uid-of-hello",
            },
            "ownerReferences": [
                {
                    "apiVersion": "cnpgplugin.dev/v1beta1",
                    "kind": "CNPGPlugin",
                    "name": "hello",
                    "uid": "uid-of-hello",
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "type": "Opaque",
    }


def test_an_unchanged_trust_has_no_time() -> None:
    annotations = build_trust(plugin(), [b"a"], [b"b"], None)["metadata"]["annotations"]

    assert annotations.keys() == {names.annotations.DESIRED, names.annotations.UID}


def test_certificates_are_written_in_the_usual_form() -> None:
    certificate = self_signed().leaf
    body = build_trust(plugin(), pem.certificates(certificate), [], None)

    assert decode(body, names.children.TRUSTED_SERVERS) == certificate


@pytest.mark.parametrize(
    ("servers", "clients", "since"),
    [([b"a", b"b"], [b"c"], None), ([b"a"], [b"c", b"b"], None), ([b"a"], [b"c"], CHANGED)],
    ids=["another server", "another client", "another time"],
)
def test_every_difference_is_detected_without_comparing_data(
    servers: list[bytes], clients: list[bytes], since: str | None
) -> None:
    stamps = {
        build_trust(plugin(), *given)["metadata"]["annotations"][names.annotations.DESIRED]
        for given in (([b"a"], [b"c"], None), (servers, clients, since))
    }

    assert len(stamps) == 2


CONTENT = st.lists(
    st.binary(max_size=200)
    | st.just(self_signed().key)
    | st.binary().map(lambda rest: b"-----BEGIN PRIVATE KEY-----\n" + rest),
    max_size=3,
)


@given(CONTENT, CONTENT)
def test_the_trust_secret_contains_only_certificates(
    servers: list[bytes], clients: list[bytes]
) -> None:
    body = build_trust(plugin(), servers, clients, None)

    for key in ("tls.crt", "clients.crt"):
        text = decode(body, key)
        assert b"PRIVATE KEY" not in text
        assert pem.private_key(text) is None
        assert {block.label for block in pem.blocks(text)} <= {"CERTIFICATE"}
