"""Another provider, another issuer: no call fails, and nothing in use is taken away."""

import base64
from datetime import timedelta
from typing import Any

import pytest

from cnpg_plugin_operator import names
from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.decide.certificates.trust import OVERLAP
from tests.support.tls.certificates import CLIENT, authority, issue
from tests.unit.reconcile.stage import Stage
from tests.unit.reconcile.world import NAMESPACE

CERT_MANAGER: dict[str, Any] = {"provider": "CertManager"}
OWN: dict[str, Any] = {"provider": "SelfManaged"}
BROUGHT: dict[str, Any] = {
    "provider": "Secrets",
    "secrets": {"server": "my-server", "client": "my-client"},
}
MINE: dict[str, Any] = {"issuerRef": {"name": "mine"}}
ALONE: dict[str, Any] = {"issuerScope": "Plugin"}


@pytest.fixture
def stage() -> Stage:
    """A cluster with cert-manager, an issuer and Secrets of the user's, and slow pods."""
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
    """Replace `spec.tls`; what is left out goes back to its default."""
    stage.edit(tls=tls)


async def wait(stage: Stage, seconds: int = 300) -> list[tuple[str, str]]:
    """Let time go by until the plugin is Ready; give what `Registered` said meanwhile."""
    said: list[tuple[str, str]] = []
    former = stage.announced
    for _ in range(seconds):
        await stage.visit()
        observed = stage.client.the(kinds.PLUGIN, "hello")["status"]["observedGeneration"]
        if observed == stage.client.the(kinds.PLUGIN, "hello")["metadata"]["generation"]:
            said.append(stage.condition("Registered"))
        assert stage.announced in stage.secrets()
        if stage.announced == former:
            assert former in stage.secrets()
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
    former, made = stage.announced, stage.secrets()
    switch(stage, after)
    said = await wait(stage)
    await stage.pass_by(60)

    assert (("Unknown", "AwaitingPods") in said) == waits
    assert stage.announced != former
    assert former in made
    assert former not in stage.secrets()
    assert stage.condition() == ("True", "Ready")
    assert stage.kubelet.started == ["hello"]


@pytest.mark.parametrize(
    ("before", "after"), [row[1:3] for row in SWITCHES], ids=[row[0] for row in SWITCHES]
)
async def test_no_call_fails_where_the_pods_follow_before_the_operator_does(
    stage: Stage, before: dict[str, Any], after: dict[str, Any]
) -> None:
    """A kubelet may bring a certificate the moment it is issued; the operator is told later."""
    stage.kubelet.lag = timedelta()
    stage.kubelet.follows = stage.kubelet.complain
    await ready(stage, before)
    former = stage.announced
    switch(stage, after)
    await wait(stage)

    assert stage.announced != former
    assert stage.condition() == ("True", "Ready")


async def test_the_former_pair_is_announced_until_the_pods_accept_the_new_one(
    stage: Stage,
) -> None:
    await ready(stage, CERT_MANAGER)
    former = stage.announced
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

    assert set(seen[3:]) == {(former, ("Unknown", "AwaitingPods"))}
    assert former in kept
    assert former in said
    assert stage.announced != former
    assert former not in stage.secrets()


@pytest.mark.parametrize("grace", [3, 8], ids="{} s".format)
@pytest.mark.parametrize(
    ("before", "after"), [(BROUGHT, OWN), (OWN, BROUGHT), (BROUGHT, CERT_MANAGER)]
)
async def test_no_call_fails_while_a_replaced_pod_still_receives_some(
    stage: Stage, before: dict[str, Any], after: dict[str, Any], grace: int
) -> None:
    """It accepts only what CloudNativePG was told last, and its successor answers the Service."""
    stage.kubelet.grace = timedelta(seconds=grace)
    await ready(stage, before)
    former = stage.announced
    switch(stage, after)
    await wait(stage)

    assert stage.announced != former
    assert stage.condition() == ("True", "Ready")


async def test_a_pod_that_ends_for_long_holds_nothing_back(stage: Stage) -> None:
    stage.kubelet.grace = timedelta(hours=1)
    stage.client.watch = lambda: None
    await ready(stage, BROUGHT)
    former = stage.announced
    switch(stage, OWN)
    await stage.pass_by(20)

    assert stage.announced != former
    assert stage.condition() == ("True", "Ready")


async def test_there_and_back_again_ends_where_it_began(stage: Stage) -> None:
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


async def test_a_change_of_mind_half_way_harms_nobody(stage: Stage) -> None:
    await ready(stage, CERT_MANAGER)
    former = stage.announced
    switch(stage, OWN)
    await stage.settle(passes=5)
    switch(stage, CERT_MANAGER)
    await stage.pass_by(80)

    assert stage.announced == former
    assert stage.condition() == ("True", "Ready")
    assert not any("selfmanaged" in name for name in stage.secrets())


async def test_without_cert_manager_the_former_pair_stays_in_use(stage: Stage) -> None:
    await ready(stage, OWN)
    former = stage.announced
    stage.client.missing = {"Issuer", "Certificate", "ClusterIssuer"}
    switch(stage, CERT_MANAGER)
    await stage.settle(passes=20)
    refused = stage.condition("CertificatesReady")
    kept = stage.announced
    stage.client.missing = set()
    await wait(stage)

    assert refused == ("False", "CertManagerNotInstalled")
    assert kept == former
    assert stage.announced != former


async def test_the_users_secrets_are_neither_written_nor_deleted_on_the_way(stage: Stage) -> None:
    await ready(stage, BROUGHT)
    for tls in (OWN, BROUGHT, CERT_MANAGER, BROUGHT):
        switch(stage, tls)
        await stage.pass_by(90)
        assert stage.condition() == ("True", "Ready")

    assert {"my-server", "my-client"} <= stage.secrets()
    assert not any(write.split()[-1].startswith("my-") for write in stage.client.writes)
    assert stage.secrets() == {"my-server", "my-client", "hello-trust"}


async def test_a_former_authority_is_trusted_for_a_while_and_then_no_longer(stage: Stage) -> None:
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


# What a crash before the next write leaves behind is the same.
@pytest.mark.parametrize("write", range(16))
@pytest.mark.parametrize("there", [True, False], ids=["to the operator", "to cert-manager"])
async def test_a_crash_after_any_write_of_a_switch_ends_where_no_crash_does(
    write: int, *, there: bool
) -> None:
    stage = Stage()
    stage.client.watch = stage.kubelet.complain
    before, after = (CERT_MANAGER, OWN) if there else (OWN, CERT_MANAGER)
    await ready(stage, before)
    former = stage.announced
    stage.client.fail_at, stage.client.fail_after = len(stage.client.writes) + write, True
    switch(stage, after)
    for _ in range(8):
        await stage.settle(passes=1)
        if stage.client.fail_at is None:
            stage.reconciler = stage.operator()
    await stage.settle(passes=3)

    chain = (names.children.OWN_ROOT, names.children.OWN_INTERMEDIATE)
    wanted = chain if there else (names.children.CHAIN_ROOT, names.children.CHAIN_INTERMEDIATE)
    assert stage.condition() == ("True", "Ready")
    assert stage.announced != former
    assert stage.secrets() == {*wanted, "hello-server-tls", stage.announced, "hello-trust"}
    kinds_left = {kind for kind, _, _ in stage.client.objects}
    assert ("Certificate" in kinds_left) == (not there)
