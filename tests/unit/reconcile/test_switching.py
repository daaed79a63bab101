"""Another provider, another issuer: no call fails, and nothing in use is deleted."""

import base64
from datetime import timedelta
from typing import Any

import pytest

from cnpg_plugin_operator import names
from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.decide.certificates.trust import OVERLAP
from tests.support.tls.certificates import CLIENT, authority, issue
from tests.support.unit.stage.stage import Stage
from tests.support.unit.stage.world import NAMESPACE

CERT_MANAGER: dict[str, Any] = {"provider": "CertManager"}
OWN: dict[str, Any] = {"provider": "SelfManaged"}
USER_SECRETS: dict[str, Any] = {
    "provider": "Secrets",
    "secrets": {"server": "my-server", "client": "my-client"},
}
MINE: dict[str, Any] = {"issuerRef": {"name": "mine"}}
ALONE: dict[str, Any] = {"issuerScope": "Plugin"}


@pytest.fixture
def stage() -> Stage:
    """A cluster with cert-manager, an issuer and Secrets of the user, and slow pods."""
    made = Stage()
    made.client.watch = made.kubelet.complain
    made.kubelet.refreshes, made.kubelet.lag = False, timedelta(seconds=30)
    prepare(made)
    return made


def prepare(stage: Stage) -> None:
    root = authority("their root")
    mine = stage.world.authorities["mine"] = authority("their intermediate", root)
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    metadata = {"name": "mine", "namespace": NAMESPACE}
    stage.client.put(kinds.ISSUER, {"metadata": metadata, "status": ready})
    pairs = {
        "my-server": issue(mine, "hello", dns=("hello",)),
        "my-client": issue(mine, "cnpg", dns=(), usages=(CLIENT,)),
    }
    for name, pair in pairs.items():
        data = {key: base64.b64encode(value).decode() for key, value in pair.secret.items()}
        metadata = {"name": name, "namespace": NAMESPACE}
        stage.client.put(kinds.SECRET, {"metadata": metadata, "data": data})


async def ready(stage: Stage, tls: dict[str, Any]) -> None:
    stage.create(tls=tls)
    await stage.settle(passes=5)
    assert stage.condition() == ("True", "Ready")


def switch(stage: Stage, tls: dict[str, Any]) -> None:
    """Replace `spec.tls`; omitted fields return to their defaults."""
    stage.edit(tls=tls)


async def wait(stage: Stage, seconds: int = 300) -> list[tuple[str, str]]:
    """Let time pass until the plugin is Ready; return what `Registered` reported meanwhile."""
    said: list[tuple[str, str]] = []
    previous = stage.announced
    for _ in range(seconds):
        await stage.visit()
        observed = stage.client.the(kinds.PLUGIN, "hello")["status"]["observedGeneration"]
        if observed == stage.client.the(kinds.PLUGIN, "hello")["metadata"]["generation"]:
            said.append(stage.condition("Registered"))
        assert stage.announced in stage.secrets()
        if stage.announced == previous:
            assert previous in stage.secrets()
        elif stage.condition()[0] == "True":
            break
        stage.turn()
    return said


SWITCHES = [
    ("from cert-manager to the operator", CERT_MANAGER, OWN, True),
    ("from the operator to cert-manager", OWN, CERT_MANAGER, True),
    ("from cert-manager's chain to an issuer", CERT_MANAGER, MINE, True),
    ("from an issuer to cert-manager's chain", MINE, CERT_MANAGER, True),
    ("from the operator to an issuer", OWN, MINE, True),
    ("from an intermediate of its own to another", {**OWN, **ALONE}, ALONE, True),
    ("from an intermediate of its own", {**OWN, **ALONE}, OWN, True),
    ("to an intermediate of its own, whose root is trusted already", OWN, {**OWN, **ALONE}, False),
    ("to one of cert-manager's, whose root is trusted already", CERT_MANAGER, ALONE, False),
]


@pytest.mark.parametrize(
    ("before", "after", "waits"), [row[1:] for row in SWITCHES], ids=[row[0] for row in SWITCHES]
)
async def test_no_call_fails(
    stage: Stage, before: dict[str, Any], after: dict[str, Any], *, waits: bool
) -> None:
    await ready(stage, before)
    previous, made = stage.announced, stage.secrets()
    switch(stage, after)
    said = await wait(stage)
    await stage.pass_by(60)

    assert (("Unknown", "AwaitingPods") in said) == waits
    assert stage.announced != previous
    assert previous in made
    assert previous not in stage.secrets()
    assert stage.condition() == ("True", "Ready")
    assert stage.kubelet.started == ["hello"]


async def test_a_secret_that_went_to_the_operator_and_back_looks_as_before(stage: Stage) -> None:
    await ready(stage, CERT_MANAGER)
    for tls in (OWN, CERT_MANAGER):
        switch(stage, tls)
        await wait(stage)
        metadata = stage.client.the(kinds.SECRET, "hello-server-tls")["metadata"]
        owned, labels = bool(metadata.get("ownerReferences")), set(metadata["labels"])
        assert owned == (names.annotations.UID in metadata["annotations"]) == (tls is OWN)
        assert (names.labels.NAME in labels) == (tls is OWN)
        assert labels >= {names.labels.MANAGED_BY, names.labels.PLUGIN}


@pytest.mark.parametrize(
    ("before", "after"), [row[1:3] for row in SWITCHES], ids=[row[0] for row in SWITCHES]
)
async def test_no_call_fails_where_the_pods_reload_before_the_operator_looks(
    stage: Stage, before: dict[str, Any], after: dict[str, Any]
) -> None:
    """A kubelet may deliver a certificate when it is issued, before the operator reads it."""
    stage.kubelet.lag = timedelta()
    stage.kubelet.follows = stage.kubelet.complain
    await ready(stage, before)
    previous = stage.announced
    switch(stage, after)
    await wait(stage)

    assert stage.announced != previous
    assert stage.condition() == ("True", "Ready")


async def test_the_previous_pair_is_announced_until_the_pods_accept_the_new_one(
    stage: Stage,
) -> None:
    await ready(stage, CERT_MANAGER)
    previous = stage.announced
    stage.kubelet.reloads = False
    switch(stage, OWN)
    seen = []
    for _ in range(60):
        await stage.visit()
        seen.append((stage.announced, stage.condition("Registered")))
        stage.turn()
    kept = stage.secrets()
    said = stage.message("Registered")
    stage.kubelet.reloads = True
    await wait(stage)

    assert set(seen[3:]) == {(previous, ("Unknown", "AwaitingPods"))}
    assert previous in kept
    assert previous in said
    assert stage.announced != previous
    assert previous not in stage.secrets()


@pytest.mark.parametrize("grace", [3, 8], ids="{} s".format)
@pytest.mark.parametrize(
    ("before", "after"), [(USER_SECRETS, OWN), (OWN, USER_SECRETS), (USER_SECRETS, CERT_MANAGER)]
)
async def test_no_call_fails_while_a_replaced_pod_still_receives_calls(
    stage: Stage, before: dict[str, Any], after: dict[str, Any], grace: int
) -> None:
    """It accepts only the last announced pair, and its successor answers the Service."""
    stage.kubelet.grace = timedelta(seconds=grace)
    await ready(stage, before)
    previous = stage.announced
    switch(stage, after)
    await wait(stage)

    assert stage.announced != previous
    assert stage.condition() == ("True", "Ready")


async def test_a_slowly_terminating_pod_delays_nothing(stage: Stage) -> None:
    stage.kubelet.grace = timedelta(hours=1)
    stage.client.watch = lambda: None
    await ready(stage, USER_SECRETS)
    previous = stage.announced
    switch(stage, OWN)
    await stage.pass_by(20)

    assert stage.announced != previous
    assert stage.condition() == ("True", "Ready")


async def test_switching_and_back_restores_the_initial_state(stage: Stage) -> None:
    await ready(stage, CERT_MANAGER)
    await stage.settle(passes=3)
    first, announced = stage.secrets(), stage.announced
    switch(stage, OWN)
    await wait(stage)
    between = stage.secrets()
    switch(stage, CERT_MANAGER)
    await wait(stage)
    await stage.pass_by(60)

    assert {names.children.OWN_ROOT, names.children.OWN_INTERMEDIATE} <= between
    assert names.children.CHAIN_ROOT not in between
    assert stage.secrets() == first
    assert stage.announced == announced
    assert stage.condition() == ("True", "Ready")


async def test_switching_back_halfway_fails_no_call(stage: Stage) -> None:
    await ready(stage, CERT_MANAGER)
    previous = stage.announced
    switch(stage, OWN)
    await stage.settle(passes=5)
    switch(stage, CERT_MANAGER)
    await stage.pass_by(80)

    assert stage.announced == previous
    assert stage.condition() == ("True", "Ready")
    assert not any("selfmanaged" in name for name in stage.secrets())


async def test_without_cert_manager_the_previous_pair_stays_in_use(stage: Stage) -> None:
    await ready(stage, OWN)
    previous = stage.announced
    stage.client.missing = {"Issuer", "Certificate", "ClusterIssuer"}
    switch(stage, CERT_MANAGER)
    await stage.settle(passes=20)
    refused = stage.condition("CertificatesReady")
    kept = stage.announced
    stage.client.missing = set()
    await wait(stage)

    assert refused == ("False", "CertManagerNotInstalled")
    assert kept == previous
    assert stage.announced != previous


async def test_a_switch_neither_writes_nor_deletes_the_users_secrets(stage: Stage) -> None:
    await ready(stage, USER_SECRETS)
    for tls in (OWN, USER_SECRETS, CERT_MANAGER, USER_SECRETS):
        switch(stage, tls)
        await stage.pass_by(90)
        assert stage.condition() == ("True", "Ready")

    assert {"my-server", "my-client"} <= stage.secrets()
    assert not any(write.split()[-1].startswith("my-") for write in stage.client.writes)
    assert stage.secrets() == {"my-server", "my-client", "hello-trust"}


async def test_a_previous_authority_is_trusted_for_a_while_and_then_no_longer(stage: Stage) -> None:
    await ready(stage, MINE)
    theirs = stage.world.authorities["mine"].leaf
    switch(stage, OWN)
    await wait(stage)
    between = stage.client.read("hello-trust")
    await stage.pass_by(3 * OVERLAP.total_seconds())
    in_the_end = stage.client.read("hello-trust")

    for key in ("tls.crt", "clients.crt"):
        assert theirs in between[key]
        assert theirs not in in_the_end[key]


# A crash before the next write leaves the same state.
@pytest.mark.parametrize("write", range(16))
@pytest.mark.parametrize("there", [True, False], ids=["to the operator", "to cert-manager"])
async def test_a_crash_after_any_write_of_a_switch_does_not_change_the_result(
    write: int, *, there: bool
) -> None:
    stage = Stage()
    stage.client.watch = stage.kubelet.complain
    before, after = (CERT_MANAGER, OWN) if there else (OWN, CERT_MANAGER)
    await ready(stage, before)
    previous = stage.announced
    stage.client.fail_at, stage.client.fail_after = len(stage.client.writes) + write, True
    switch(stage, after)
    await stage.crash(8)
    await stage.settle(passes=3)

    chain = (names.children.OWN_ROOT, names.children.OWN_INTERMEDIATE)
    wanted = chain if there else (names.children.CHAIN_ROOT, names.children.CHAIN_INTERMEDIATE)
    assert stage.condition() == ("True", "Ready")
    assert stage.announced != previous
    assert stage.secrets() == {*wanted, "hello-server-tls", stage.announced, "hello-trust"}
    kinds_left = {kind for kind, _, _ in stage.client.objects}
    assert ("Certificate" in kinds_left) == (not there)
