"""Passes in which the operator is the certificate authority: what it creates, renews and keeps."""

import base64
import logging
from datetime import timedelta
from typing import Any

import pytest

from cnpg_plugin_operator import names
from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.decide.certificates.renewal import PROPAGATION
from cnpg_plugin_operator.decide.certificates.trust import OVERLAP
from tests.support.unit.stage.stage import Stage
from tests.support.unit.stage.world import NAMESPACE

OWN = {"provider": "SelfManaged"}
ALONE = {**OWN, "issuerScope": "Plugin"}
CERT_MANAGER = {"Issuer", "Certificate", "ClusterIssuer"}
SHARED = {names.children.OWN_ROOT, names.children.OWN_INTERMEDIATE}
DAY = 86400.0


@pytest.fixture
def stage() -> Stage:
    """A cluster without cert-manager, whose CloudNativePG must never fail to call a plugin."""
    made = Stage()
    made.client.missing = set(CERT_MANAGER)
    made.client.watch = made.kubelet.complain
    return made


async def settled(stage: Stage, *plugins: str, **tls: Any) -> dict[str, str]:
    """Create plugins and let them become Ready; return what their Secrets present."""
    for name in plugins or ("hello",):
        stage.create(name, tls={**OWN, **tls})
        await stage.settle(name, passes=5)
        assert stage.condition("Ready", name) == ("True", "Ready")
    # The pods have followed, and previous certificates are gone.
    stage.clock.pass_by(OVERLAP.total_seconds())
    for name in plugins or ("hello",):
        await stage.settle(name, passes=2)
    stage.client.writes.clear()
    return stage.leaves()


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    assert before.keys() == after.keys()
    return {name for name, leaf in after.items() if leaf != before[name]}


def secrets_written(stage: Stage) -> list[str]:
    return sorted(write for write in stage.client.writes if "Secret" in write)


async def test_a_plugin_becomes_ready_without_cert_manager(stage: Stage) -> None:
    stage.create(tls=OWN)
    await stage.settle(passes=5)

    assert stage.condition() == ("True", "Ready")
    client = stage.announced
    assert stage.secrets() == {*SHARED, "hello-server-tls", client, "hello-trust"}
    certificates = stage.client.the(kinds.PLUGIN, "hello")["status"]["certificates"]
    assert {role: found["secretName"] for role, found in certificates.items()} == {
        "server": "hello-server-tls",
        "client": client,
    }
    assert all("renewalTime" in found for found in certificates.values())


async def test_everything_is_created_in_two_passes(stage: Stage) -> None:
    stage.create(tls=OWN)
    await stage.settle(passes=2)

    assert len(stage.client.writes) <= 13
    assert secrets_written(stage) == sorted(f"Secret {name}" for name in stage.secrets())


@pytest.mark.parametrize("tls", [{}, {"issuerScope": "Plugin"}, {"clientTrust": "Root"}])
async def test_a_quiet_pass_writes_nothing(stage: Stage, tls: dict[str, Any]) -> None:
    await settled(stage, **tls)
    after = await stage.run_pass((NAMESPACE, "hello"))
    stage.reconciler = stage.operator()
    await stage.settle(passes=2)

    assert stage.client.writes == []
    assert after is not None
    assert after > 500


async def test_two_simultaneous_plugins_create_the_chain_once(
    stage: Stage,
) -> None:
    for name in ("one", "two"):
        stage.create(name, tls=OWN)
    await stage.visit_all("one", "two")
    for _ in range(6):
        stage.turn()
        await stage.visit_all("one", "two")

    for name in SHARED:
        assert stage.client.writes.count(f"Secret {name}") == 1
    assert stage.condition("Ready", "one") == stage.condition("Ready", "two") == ("True", "Ready")


async def test_a_second_plugin_uses_the_chain_of_the_first(stage: Stage) -> None:
    await settled(stage, "one")
    await settled(stage, "two")

    assert SHARED.isdisjoint(write.removeprefix("Secret ") for write in stage.client.writes)


@pytest.mark.parametrize("last", ["one", "two"])
async def test_the_chain_is_deleted_with_the_last_plugin(stage: Stage, last: str) -> None:
    await settled(stage, "one", "two")
    first = "two" if last == "one" else "one"
    stage.delete(first)
    await stage.settle(first, passes=2)
    kept = stage.secrets()
    stage.delete(last)
    await stage.settle(last, passes=2)

    assert kept >= SHARED
    assert not any(name.startswith(first) for name in kept)
    assert stage.secrets() == set()


@pytest.mark.parametrize(
    ("tls", "stays"),
    [
        ({"issuerRef": {"name": "mine"}}, False),
        ({"provider": "CertManager"}, False),
        ({"provider": "Secrets", "secrets": {"server": "a", "client": "b"}}, False),
        (ALONE, True),
        (OWN, True),
    ],
    ids=["an issuer", "cert-manager", "Secrets", "an intermediate of its own", "the chain"],
)
async def test_another_plugin_keeps_the_chain_only_where_it_uses_it(
    stage: Stage, tls: dict[str, Any], *, stays: bool
) -> None:
    await settled(stage)
    stage.create("other", tls=tls)
    stage.delete()
    await stage.settle(passes=2)

    assert stage.secrets().issuperset(SHARED) == stays


async def test_a_plugins_own_intermediate_is_deleted_with_it(stage: Stage) -> None:
    await settled(stage, issuerScope="Plugin")
    made = stage.secrets()
    stage.delete()
    await stage.settle(passes=2)

    assert "hello-plugin-ca" in made
    assert names.children.OWN_ROOT in made
    assert names.children.OWN_INTERMEDIATE not in made
    assert stage.secrets() == set()


# Renewal


@pytest.mark.parametrize("tls", [{}, {"issuerScope": "Plugin"}, {"clientTrust": "Root"}])
async def test_a_request_renews_each_pair_once_and_nothing_else(
    stage: Stage, tls: dict[str, Any]
) -> None:
    before = await settled(stage, **tls)
    client = stage.announced
    stage.ask_to_renew()
    await stage.settle(passes=3)
    stage.clock.pass_by(60)
    await stage.settle(passes=3)

    assert changed(before, stage.leaves()) == {"hello-server-tls", client}
    assert secrets_written(stage) == sorted([f"Secret {client}", "Secret hello-server-tls"])
    others = [w for w in stage.client.writes if not w.startswith("Secret")]
    told = "Event CertificatesRenewed"
    assert others == ["patch Pod hello-1", "CNPGPlugin hello/status", told]
    assert stage.kubelet.started == ["hello"]


async def test_two_requests_renew_twice(stage: Stage) -> None:
    await settled(stage)
    for _ in range(2):
        stage.ask_to_renew()
        await stage.settle(passes=3, seconds=60)

    assert stage.client.writes.count("Secret hello-server-tls") == 2


async def test_a_request_without_a_time_is_ignored(stage: Stage) -> None:
    await settled(stage)
    annotations = stage.client.the(kinds.PLUGIN, "hello")["metadata"].setdefault("annotations", {})
    annotations[names.annotations.RENEW] = "now, please"
    await stage.settle(passes=3)

    assert stage.client.writes == []


async def test_a_request_in_the_near_future_is_met_when_it_is_due(stage: Stage) -> None:
    await settled(stage)
    annotations = stage.client.the(kinds.PLUGIN, "hello")["metadata"].setdefault("annotations", {})
    asked = stage.clock() + timedelta(seconds=30)
    annotations[names.annotations.RENEW] = asked.isoformat()
    after = await stage.visit()

    assert after is not None
    assert after <= 30


async def test_a_certificate_is_renewed_before_it_expires(
    stage: Stage,
) -> None:
    before = await settled(stage, duration="3h", renewBefore="1h")
    client = stage.announced
    await stage.pass_by(6000)
    early = stage.leaves()
    await stage.pass_by(1800)

    assert early == before
    assert changed(before, stage.leaves()) == {"hello-server-tls", client}
    assert stage.condition() == ("True", "Ready")


@pytest.mark.parametrize("scope", ["Namespace", "Plugin"])
async def test_a_renewed_root_renews_everything_that_it_signed(stage: Stage, scope: str) -> None:
    before = await settled(stage, issuerScope=scope)
    stage.ask_to_renew(kinds.SECRET, names.children.OWN_ROOT)
    await stage.pass_by(30)
    soon = stage.leaves()
    await stage.pass_by(4 * PROPAGATION.total_seconds())

    assert changed(before, soon) == {names.children.OWN_ROOT}
    assert changed(before, stage.leaves()) == before.keys()
    for name in before:
        assert stage.client.writes.count(f"Secret {name}") == 1
    assert stage.kubelet.started == ["hello"]
    assert stage.condition() == ("True", "Ready")


@pytest.mark.parametrize(
    ("scope", "intermediate"),
    [("Namespace", names.children.OWN_INTERMEDIATE), ("Plugin", "hello-plugin-ca")],
)
async def test_a_renewed_intermediate_renews_the_pairs(
    stage: Stage, scope: str, intermediate: str
) -> None:
    before = await settled(stage, issuerScope=scope)
    stage.ask_to_renew(kinds.SECRET, intermediate)
    await stage.pass_by(4 * PROPAGATION.total_seconds())

    assert changed(before, stage.leaves()) == before.keys() - {names.children.OWN_ROOT}
    for name in before.keys() - {names.children.OWN_ROOT}:
        assert stage.client.writes.count(f"Secret {name}") == 1
    assert stage.condition() == ("True", "Ready")


@pytest.mark.parametrize(
    ("scope", "intermediate"),
    [("Namespace", names.children.OWN_INTERMEDIATE), ("Plugin", "hello-plugin-ca")],
)
async def test_a_previous_intermediate_is_trusted_for_a_while(
    stage: Stage, scope: str, intermediate: str
) -> None:
    await settled(stage, issuerScope=scope)
    previous = stage.client.read(intermediate)["tls.crt"]
    stage.ask_to_renew(kinds.SECRET, intermediate)
    await stage.pass_by(OVERLAP.total_seconds() - 1)
    between = stage.client.read("hello-trust")
    await stage.pass_by(2 * OVERLAP.total_seconds())
    in_the_end = stage.client.read("hello-trust")

    for key in ("tls.crt", "clients.crt"):
        assert previous in between[key]
        assert previous not in in_the_end[key]


async def test_two_plugins_follow_a_renewed_root(stage: Stage) -> None:
    before = await settled(stage, "one", "two")
    stage.ask_to_renew(kinds.SECRET, names.children.OWN_ROOT)
    await stage.pass_by(4 * PROPAGATION.total_seconds(), "one", "two")

    assert changed(before, stage.leaves()) == before.keys()
    for name in SHARED:
        assert stage.client.writes.count(f"Secret {name}") == 1


# Damaged and foreign Secrets


@pytest.mark.parametrize(
    ("secret", "key"),
    [
        ("hello-server-tls", "tls.key"),
        ("hello-server-tls", "tls.crt"),
        ("client", "tls.crt"),
        (names.children.OWN_INTERMEDIATE, "tls.key"),
        (names.children.OWN_ROOT, "tls.crt"),
        ("hello-trust", "tls.crt"),
        ("hello-trust", "clients.crt"),
    ],
)
@pytest.mark.parametrize("content", [b"", b"garbage"], ids=["empty", "garbage"])
async def test_a_damaged_secret_is_issued_again(
    stage: Stage, secret: str, key: str, content: bytes
) -> None:
    await settled(stage)
    stage.client.watch = lambda: None
    name = stage.announced if secret == "client" else secret
    data = stage.client.the(kinds.SECRET, name)["data"]
    data[key] = base64.b64encode(content).decode()
    await stage.pass_by(4 * PROPAGATION.total_seconds())

    assert stage.condition() == ("True", "Ready")
    stage.kubelet.complain()


@pytest.mark.parametrize("lost", [None, b"garbage"], ids=["removed", "garbage"])
async def test_a_root_that_is_no_longer_in_its_own_trust_is_added_again(
    stage: Stage, lost: bytes | None
) -> None:
    before = await settled(stage)
    root = stage.client.the(kinds.SECRET, names.children.OWN_ROOT)
    trusted = dict(root["data"])
    del root["data"]["ca.crt"]
    if lost is not None:
        root["data"]["ca.crt"] = base64.b64encode(lost).decode()
    stage.client.put(kinds.SECRET, root)
    await stage.settle(passes=4)

    assert stage.client.the(kinds.SECRET, names.children.OWN_ROOT)["data"] == trusted
    assert stage.leaves() == before, "no certificate is issued again"
    assert len(secrets_written(stage)) == 1


@pytest.mark.parametrize("lost", [None, b"garbage"], ids=["removed", "garbage"])
@pytest.mark.parametrize("secret", ["hello-server-tls", "client"])
async def test_a_pair_that_lost_its_root_is_issued_again_without_a_failed_call(
    stage: Stage, secret: str, lost: bytes | None
) -> None:
    await settled(stage)
    name = stage.announced if secret == "client" else secret
    pair = stage.client.the(kinds.SECRET, name)
    trusted = pair["data"].pop("ca.crt")
    if lost is not None:
        pair["data"]["ca.crt"] = base64.b64encode(lost).decode()
    stage.client.put(kinds.SECRET, pair)
    await stage.pass_by(4 * PROPAGATION.total_seconds())

    assert stage.client.the(kinds.SECRET, name)["data"]["ca.crt"] == trusted
    assert secrets_written(stage) == [f"Secret {name}"]
    assert stage.condition() == ("True", "Ready")


@pytest.mark.parametrize("secret", ["hello-server-tls", "hello-trust", "client", *sorted(SHARED)])
async def test_a_deleted_secret_is_issued_again(stage: Stage, secret: str) -> None:
    await settled(stage)
    stage.client.watch = lambda: None
    name = stage.announced if secret == "client" else secret
    del stage.client.objects["Secret", NAMESPACE, name]
    await stage.pass_by(4 * PROPAGATION.total_seconds())

    assert stage.condition() == ("True", "Ready")
    assert name in stage.secrets()
    stage.kubelet.complain()


@pytest.mark.parametrize("secret", ["hello-server-tls", "hello-trust", "client", *sorted(SHARED)])
async def test_a_foreign_secret_is_refused_and_left_alone(stage: Stage, secret: str) -> None:
    stage.create(tls=OWN)
    await stage.settle(passes=5)
    name = stage.announced if secret == "client" else secret
    foreign = {"metadata": {"name": name, "namespace": NAMESPACE}, "data": {"a": "Yg=="}}
    fresh = Stage()
    fresh.client.put(kinds.SECRET, foreign)
    fresh.create(tls=OWN)
    await fresh.settle(passes=2)
    refused = fresh.condition("CertificatesReady")
    left = fresh.client.the(kinds.SECRET, name)["data"]
    said = fresh.message()
    del fresh.client.objects["Secret", NAMESPACE, name]
    await fresh.settle(passes=5)

    assert refused == ("False", "ForeignSecret")
    assert name in said
    assert left == foreign["data"]
    assert fresh.condition() == ("True", "Ready")


# Secrecy and interruption


def keys(stage: Stage) -> list[str]:
    """Lines of all private keys, as written in PEM and in the API."""
    found = []
    for name in stage.secrets():
        key = stage.client.read(name).get("tls.key", b"")
        found += [line for line in key.decode().splitlines() if len(line) > 40]
        found += [base64.b64encode(key).decode()[40:80]] if key else []
    return found


async def test_no_private_key_leaves_its_secret(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await settled(stage)
    seen = keys(stage)
    stage.ask_to_renew()
    stage.client.fail_at = 1
    await stage.pass_by(120)
    stage.ask_to_renew(kinds.SECRET, names.children.OWN_ROOT)
    await stage.pass_by(4 * PROPAGATION.total_seconds())
    data = stage.client.the(kinds.SECRET, "hello-server-tls")["data"]
    data["tls.crt"] = stage.client.the(kinds.SECRET, names.children.OWN_ROOT)["data"]["tls.crt"]
    stage.client.watch = lambda: None
    await stage.pass_by(10)
    seen += keys(stage)
    public_text = caplog.text + stage.public_text() + str(stage.client.read("hello-trust"))

    assert len(seen) > 10
    assert "PRIVATE KEY" not in public_text
    assert not any(key in public_text for key in seen)


# A crash before the next write leaves the same state.
@pytest.mark.parametrize("write", range(11))
async def test_a_crash_after_any_write_does_not_change_the_result(stage: Stage, write: int) -> None:
    stage.create(tls=OWN)
    stage.client.fail_at, stage.client.fail_after = write, True
    await stage.crash(6)
    await stage.settle(passes=2)

    assert stage.client.fail_at is None, "there are fewer writes"
    assert stage.condition() == ("True", "Ready")
    assert stage.secrets() == {*SHARED, "hello-server-tls", stage.announced, "hello-trust"}
    assert len(stage.client.writes) <= 15
    for secret in stage.secrets():
        assert stage.client.writes.count(f"Secret {secret}") == 1


@pytest.mark.parametrize("write", range(6))
async def test_a_crash_after_any_write_of_a_renewed_root_renews_nothing_twice(
    stage: Stage, write: int
) -> None:
    before = await settled(stage)
    stage.ask_to_renew(kinds.SECRET, names.children.OWN_ROOT)
    stage.client.fail_at, stage.client.fail_after = write, True
    while stage.client.fail_at is not None:
        await stage.pass_by(10)
    stage.reconciler = stage.operator()
    await stage.pass_by(4 * PROPAGATION.total_seconds())

    assert changed(before, stage.leaves()) == before.keys()
    for name in before:
        assert stage.client.writes.count(f"Secret {name}") == 1
    assert stage.condition() == ("True", "Ready")
