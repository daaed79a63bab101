"""Passes with the user's own Secrets: they are evaluated and trusted, and never written."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from cnpg_plugin_operator import names
from cnpg_plugin_operator.decide.certificates.trust import OVERLAP
from tests.support.tls.certificates import CLIENT, SERVER, Pair, authority, issue, self_signed
from tests.support.unit.stage.stage import Stage
from tests.support.unit.stage.states import SECRETS, USER_SECRETS, bring
from tests.support.unit.stage.world import NAMESPACE

NAME = ("hello",)
DAY = timedelta(days=1)

ROOT = authority("root")
SUB = authority("sub", ROOT)
SERVER_PAIR = issue(SUB, "hello", dns=NAME, usages=(SERVER,))
CLIENT_PAIR = issue(SUB, "cnpg", dns=(), usages=(CLIENT,))
SELF_SERVER = self_signed("hello", dns=NAME)
SELF_CLIENT = self_signed("cnpg", dns=(), usages=(CLIENT,))


@pytest.fixture
def stage() -> Stage:
    made = Stage()
    made.client.missing = {"Issuer", "Certificate", "ClusterIssuer"}
    return made


def touched(stage: Stage) -> list[str]:
    """Writes to the user's Secrets."""
    return [write for write in stage.client.writes if write.split()[-1].startswith("my-")]


PAIRS = [
    ("of an intermediate", SERVER_PAIR, CLIENT_PAIR, {}),
    ("of an intermediate, trusted by ca.crt", SERVER_PAIR, CLIENT_PAIR, {"clientTrust": "Root"}),
    ("that sign themselves", SELF_SERVER, SELF_CLIENT, {}),
    (
        "of a root, trusted by ca.crt",
        issue(ROOT, "hello", dns=NAME),
        issue(ROOT, "cnpg", dns=(), usages=(CLIENT,)),
        {"clientTrust": "Root"},
    ),
]


@pytest.mark.parametrize(
    ("server", "client", "tls"), [row[1:] for row in PAIRS], ids=[row[0] for row in PAIRS]
)
async def test_a_plugin_becomes_ready_with_pairs(
    stage: Stage, server: Pair, client: Pair, tls: dict[str, Any]
) -> None:
    bring(stage, "my-server", server)
    bring(stage, "my-client", client)
    stage.create(tls={**USER_SECRETS, **tls})
    await stage.settle(passes=6)
    written = len(stage.client.writes)
    await stage.settle(passes=2)

    assert stage.condition() == ("True", "Ready")
    assert stage.announced == "my-client"
    assert stage.secrets() == {"my-server", "my-client", "hello-trust"}
    assert len(stage.client.writes) == written
    assert touched(stage) == []


async def test_the_users_secrets_outlive_the_plugin(stage: Stage) -> None:
    bring(stage, "my-server", SERVER_PAIR)
    bring(stage, "my-client", CLIENT_PAIR)
    stage.create(tls=USER_SECRETS)
    await stage.settle(passes=6)
    stage.delete()
    await stage.settle(passes=2)

    assert ("CNPGPlugin", NAMESPACE, "hello") not in stage.client.objects
    assert stage.secrets() == {"my-server", "my-client"}
    assert touched(stage) == []


@dataclass(frozen=True)
class Bad:
    """One of the two Secrets, with a fault."""

    reason: str
    secret: str
    data: dict[str, bytes] | Pair | None


BAD = [
    ("no server", Bad("SecretMissing", "my-server", None)),
    ("no client", Bad("SecretMissing", "my-client", None)),
    ("nothing in it", Bad("SecretIncomplete", "my-server", {})),
    ("no key", Bad("SecretIncomplete", "my-client", {"tls.crt": SELF_CLIENT.leaf})),
    (
        "garbage",
        Bad("SecretIncomplete", "my-server", {"tls.crt": b"x", "tls.key": SELF_SERVER.key}),
    ),
    (
        "a key of another",
        Bad("KeyMismatch", "my-server", {"tls.crt": SELF_SERVER.leaf, "tls.key": SELF_CLIENT.key}),
    ),
    ("an end", Bad("Expired", "my-client", self_signed(usages=(CLIENT,), ends=-DAY / 48))),
    ("a beginning to come", Bad("NotYetValid", "my-server", self_signed("hello", starts=DAY))),
    ("another name", Bad("NameNotCovered", "my-server", self_signed("hello", dns=("other",)))),
    ("another use", Bad("WrongKeyUsage", "my-client", self_signed(usages=(SERVER,)))),
    (
        "another key",
        Bad("UnsupportedKey", "my-client", self_signed(usages=(CLIENT,), key="Ed25519")),
    ),
    (
        "an issuer that is not there",
        Bad("IncompatibleIssuer", "my-client", issue(ROOT, "cnpg", dns=(), usages=(CLIENT,))),
    ),
]


@pytest.mark.parametrize("bad", [row[1] for row in BAD], ids=[row[0] for row in BAD])
async def test_a_secret_is_refused_that_has(stage: Stage, bad: Bad) -> None:
    # A wrong use is reported before a wrong key.
    good = {"my-server": SELF_SERVER, "my-client": SELF_CLIENT}
    for name, content in {**good, bad.secret: bad.data}.items():
        if content is not None:
            bring(stage, name, content)
    stage.create(tls=USER_SECRETS)
    await stage.settle(passes=2)
    refused, said = stage.condition("CertificatesReady"), stage.message("CertificatesReady")
    published = ("Service", NAMESPACE, "hello") in stage.client.objects
    bring(stage, bad.secret, good[bad.secret])
    await stage.settle(passes=5)

    assert refused == ("False", bad.reason), said
    assert bad.secret in said
    assert not published
    assert stage.condition() == ("True", "Ready")
    assert touched(stage) == []


@pytest.mark.parametrize(
    ("labels", "owner"),
    [
        (
            {names.labels.MANAGED_BY: names.resource.OPERATOR, names.labels.PLUGIN: "other"},
            "the operator keeps it for CNPGPlugin other;",
        ),
        (
            {
                names.labels.MANAGED_BY: names.resource.OPERATOR,
                names.labels.CHAIN: names.children.OWN_ROOT,
            },
            "the operator keeps it;",
        ),
    ],
    ids=["of another plugin", "of all plugins"],
)
@pytest.mark.parametrize("secret", ["my-server", "my-client"])
async def test_a_key_of_others_is_not_used(
    stage: Stage, secret: str, labels: dict[str, str], owner: str
) -> None:
    for name, content in (("my-server", SELF_SERVER), ("my-client", SELF_CLIENT)):
        bring(stage, name, content, labels if name == secret else None)
    stage.create(tls=USER_SECRETS)
    await stage.settle(passes=2)

    assert stage.condition("Accepted") == ("False", "InvalidSpec")
    assert f"Secret {secret} in spec.tls.secrets.{secret[3:]} " in stage.message("Accepted")
    assert owner in stage.message("Accepted")
    assert stage.secrets() == {"my-server", "my-client"}
    assert touched(stage) == []


@pytest.mark.parametrize("name", sorted(names.cnpg.PRIVATE_SECRETS))
@pytest.mark.parametrize("role", ["server", "client"])
async def test_a_key_of_cloudnativepg_is_not_used(stage: Stage, name: str, role: str) -> None:
    bring(stage, "my-server", SELF_SERVER)
    bring(stage, "my-client", SELF_CLIENT)
    bring(stage, name, SELF_SERVER)
    stage.create(tls={**USER_SECRETS, "secrets": {**SECRETS, role: name}})
    await stage.settle(passes=2)

    assert stage.condition("Accepted") == ("False", "InvalidSpec")
    assert f"Secret {name} in spec.tls.secrets.{role} is private" in stage.message("Accepted")
    assert "it is CloudNativePG's own" in stage.message("Accepted")
    assert not any(write.endswith(name) for write in stage.client.writes)


async def test_a_foreign_trust_secret_is_left_alone(stage: Stage) -> None:
    bring(stage, "my-server", SELF_SERVER)
    bring(stage, "my-client", SELF_CLIENT)
    bring(stage, "hello-trust", {"tls.crt": b"foreign"})
    stage.create(tls=USER_SECRETS)
    await stage.settle(passes=3)

    assert stage.condition("CertificatesReady") == ("False", "ForeignSecret")
    assert "hello-trust" in stage.message("CertificatesReady")
    assert stage.client.read("hello-trust") == {"tls.crt": b"foreign"}


@pytest.mark.parametrize("refreshes", [True, False], ids=["at once", "after a minute"])
async def test_a_self_signed_server_is_replaced_without_a_failed_call(
    stage: Stage, *, refreshes: bool
) -> None:
    stage.kubelet.refreshes = refreshes
    bring(stage, "my-server", SELF_SERVER)
    bring(stage, "my-client", SELF_CLIENT)
    stage.create(tls=USER_SECRETS)
    await stage.settle(passes=6)
    renewed = self_signed("hello", dns=NAME)
    bring(stage, "my-server", renewed)
    stage.client.watch = stage.kubelet.complain
    await stage.pass_by(OVERLAP.total_seconds() - 2)
    between = stage.client.read("hello-trust")["tls.crt"]
    await stage.pass_by(2 * OVERLAP.total_seconds())

    assert between == renewed.leaf + SELF_SERVER.leaf
    assert stage.client.read("hello-trust")["tls.crt"] == renewed.leaf
    assert stage.condition() == ("True", "Ready")
    assert stage.kubelet.started == ["hello"]


OTHER_NAME = "plugins.example.org"


@pytest.mark.parametrize(
    ("version", "covered", "ready"),
    [
        ("1.26.1", (OTHER_NAME,), ("False", "NameNotCovered")),
        ("1.26.1", (OTHER_NAME, "hello"), ("True", "Ready")),
        ("1.26.3", (OTHER_NAME,), ("True", "Ready")),
    ],
)
async def test_the_name_is_verified_that_this_version_of_cloudnativepg_verifies(
    version: str, covered: tuple[str, ...], ready: tuple[str, str]
) -> None:
    stage = Stage(version)
    stage.client.missing = {"Issuer", "Certificate", "ClusterIssuer"}
    bring(stage, "my-server", issue(SUB, "server", dns=covered, usages=(SERVER,)))
    bring(stage, "my-client", CLIENT_PAIR)
    stage.create(tls={**USER_SECRETS, "serverName": OTHER_NAME})
    await stage.settle()

    assert stage.condition() == ready
