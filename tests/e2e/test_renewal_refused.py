"""Secrets from users that cannot work: each fault has its own reason.

Nothing is published while they are faulty, and each change of them is detected.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta

import pytest

from tests.support import wait
from tests.support.e2e.issuers import client_pair, secret, server_pair
from tests.support.e2e.plugins import Plugins, collection
from tests.support.resources import plugin
from tests.support.tls.certificates import CLIENT, SERVER, authority, issue

pytestmark = pytest.mark.cnpg("untouched")

NAME = "user-secrets"
SERVER_SECRET, CLIENT_SECRET = "user-server", "user-client"
NOTICED_WITHIN = 15

ROOT = authority("user-root")
INTERMEDIATE = authority("user-intermediate", ROOT)
GOOD_SERVER = server_pair(INTERMEDIATE, NAME).secret
GOOD_CLIENT = client_pair(INTERMEDIATE).secret

Data = Mapping[str, bytes]


def changed_server(**change: object) -> Data:
    """The plugin's pair, with one change."""
    given = {"dns": [NAME], "usages": [SERVER], **change}
    return issue(INTERMEDIATE, NAME, **given).secret  # type: ignore[arg-type]


def changed_client(**change: object) -> Data:
    """CloudNativePG's pair, with one change."""
    given = {"dns": [], "usages": [CLIENT], **change}
    return issue(INTERMEDIATE, "cloudnative-pg", **given).secret  # type: ignore[arg-type]


def without(data: Data, key: str) -> Data:
    """A Secret that lacks a key."""
    return {name: value for name, value in data.items() if name != key}


@dataclass(frozen=True)
class Fault:
    """Two Secrets of which one is faulty."""

    what: str
    reason: str
    secret: str
    """The faulty one."""
    server: Data | None = None
    client: Data | None = None
    """None: without a fault."""

    def __str__(self) -> str:
        return self.what


def server(what: str, reason: str, data: Data) -> Fault:
    """A fault of the plugin's pair."""
    return Fault(f"server {what}", reason, SERVER_SECRET, server=data)


def client(what: str, reason: str, data: Data) -> Fault:
    """A fault of CloudNativePG's pair."""
    return Fault(f"client {what}", reason, CLIENT_SECRET, client=data)


OVER = timedelta(minutes=-1)
TO_COME = timedelta(hours=1)
OTHER_KEY = server_pair(INTERMEDIATE, NAME).key

FAULTS = (
    server("without a key", "SecretIncomplete", without(GOOD_SERVER, "tls.key")),
    client("without a certificate", "SecretIncomplete", without(GOOD_CLIENT, "tls.crt")),
    server("that is no PEM", "SecretIncomplete", {**GOOD_SERVER, "tls.crt": b"a certificate"}),
    server("with another's key", "KeyMismatch", {**GOOD_SERVER, "tls.key": OTHER_KEY}),
    client("with another's key", "KeyMismatch", {**GOOD_CLIENT, "tls.key": OTHER_KEY}),
    server("that is expired", "Expired", changed_server(ends=OVER)),
    client("that is expired", "Expired", changed_client(ends=OVER)),
    server("that is not valid yet", "NotYetValid", changed_server(starts=TO_COME)),
    client("that is not valid yet", "NotYetValid", changed_client(starts=TO_COME)),
    server("without a DNS name", "NameNotCovered", changed_server(dns=[])),
    server("for another name", "NameNotCovered", changed_server(dns=["other.example.com"])),
    server("for clients", "WrongKeyUsage", changed_server(usages=[CLIENT])),
    client("for servers", "WrongKeyUsage", changed_client(usages=[SERVER])),
    server("with an Ed25519 key", "UnsupportedKey", changed_server(key="Ed25519")),
    client("with an Ed25519 key", "UnsupportedKey", changed_client(key="Ed25519")),
    client("signed by a root", "IncompatibleIssuer", client_pair(ROOT).secret),
)


@pytest.fixture(scope="module")
def refused(module_plugins: Plugins) -> Iterator[Plugins]:
    """A plugin whose Secrets do not exist."""
    secrets = {"server": SERVER_SECRET, "client": CLIENT_SECRET}
    module_plugins.apply(plugin(NAME, tls={"provider": "Secrets", "secrets": secrets}))
    yield module_plugins
    for name in (SERVER_SECRET, CLIENT_SECRET):
        module_plugins.delete("Secret", name)


def put(plugins: Plugins, name: str, data: Data) -> None:
    """Set the content of a Secret."""
    plugins.api.apply(f"{collection('Secret')}/{name}", secret(name, data), "e2e", force=True)


def until_refused(plugins: Plugins, reason: str, secret_name: str) -> None:
    """Wait until the plugin is refused for a reason that names a Secret."""

    def said() -> bool:
        found = plugins.condition(NAME, "CertificatesReady")
        return (
            found.get("status") == "False"
            and found.get("reason") == reason
            and secret_name in found["message"]
        )

    wait.until(
        f"CertificatesReady says {reason} of {secret_name}",
        said,
        within=NOTICED_WITHIN,
        explain=lambda: plugins.explain(NAME),
    )


def test_missing_secrets_are_reported(refused: Plugins) -> None:
    until_refused(refused, "SecretMissing", SERVER_SECRET)
    put(refused, SERVER_SECRET, GOOD_SERVER)
    until_refused(refused, "SecretMissing", CLIENT_SECRET)


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_an_unusable_pair_is_refused(refused: Plugins, fault: Fault) -> None:
    secrets = [
        (SERVER_SECRET, fault.server or GOOD_SERVER),
        (CLIENT_SECRET, fault.client or GOOD_CLIENT),
    ]
    # The faulty one first: both must not be good in between.
    for secret_name, data in sorted(secrets, key=lambda each: each[0] != fault.secret):
        put(refused, secret_name, data)
    until_refused(refused, fault.reason, fault.secret)
    assert not refused.labelled(NAME)


def test_a_pair_that_fails_with_its_own_chain_works_with_clientca(
    refused: Plugins,
) -> None:
    put(refused, SERVER_SECRET, GOOD_SERVER)
    put(refused, CLIENT_SECRET, client_pair(ROOT).secret)
    until_refused(refused, "IncompatibleIssuer", CLIENT_SECRET)
    refused.patch(NAME, tls={"clientTrust": "Root"})
    refused.until_ready(NAME)


def test_the_operator_writes_neither_secret(refused: Plugins) -> None:
    for name in (SERVER_SECRET, CLIENT_SECRET):
        managers = refused.get("Secret", name)["metadata"]["managedFields"]
        assert [manager["manager"] for manager in managers] == ["e2e"]


def test_corrected_certificates_make_the_plugin_ready(refused: Plugins) -> None:
    put(refused, CLIENT_SECRET, changed_client(ends=OVER))
    until_refused(refused, "Expired", CLIENT_SECRET)
    put(refused, CLIENT_SECRET, client_pair(ROOT).secret)
    refused.until_ready(NAME)


def test_no_private_key_is_shown(refused: Plugins) -> None:
    shown = refused.explain(NAME) + str(refused.plugin(NAME))
    assert "PRIVATE KEY" not in shown
