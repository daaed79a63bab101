"""The namespace's pass keeps the chain: for those who need it, and no longer than that."""

from typing import Any

import pytest

from cnpg_plugin_operator import errors, names
from cnpg_plugin_operator.api.spec import Provider
from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.decide.certificates.chain import CHAINS
from cnpg_plugin_operator.reconcile.failures import REPORT_AFTER
from tests.support.unit.stage.stage import Stage
from tests.support.unit.stage.states import USER_SECRETS, bring
from tests.support.unit.stage.world import NAMESPACE
from tests.unit.reconcile.test_failures import WORDS, failing
from tests.unit.reconcile.test_user_secrets import SELF_CLIENT, SELF_SERVER

PROVIDERS = ["CertManager", "SelfManaged"]
PARTS = {part for parts in CHAINS.values() for part in parts}


@pytest.fixture
def stage() -> Stage:
    return Stage()


def chain(stage: Stage) -> set[str]:
    """The parts of all chains; Secrets of cert-manager's Certificates are theirs."""
    return {f"{kind} {name}" for kind, _, name in stage.client.objects if (kind, name) in PARTS}


async def ready(stage: Stage, *plugins: str, **tls: Any) -> None:
    for name in plugins or ("hello",):
        stage.create(name, tls=tls)
        await stage.settle(name, passes=6)
        assert stage.condition("Ready", name) == ("True", "Ready")


def use_plugin(stage: Stage) -> None:
    spec = {"plugins": [{"name": "hello.example.org"}]}
    stage.client.put(kinds.CLUSTER, {"metadata": {"name": "db", "namespace": "app"}, "spec": spec})


# Who writes it, and when


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_no_pass_of_a_plugin_lists_or_writes_it(stage: Stage, provider: str) -> None:
    client = failing(stage)
    stage.create(tls={"provider": provider})
    await stage.run_pass((NAMESPACE,))
    client.failing = ("list", "Issuer")
    await stage.run_pass((NAMESPACE, "hello"))
    before, children = chain(stage), {k for k, _, _ in stage.client.objects}
    client.failing = None
    await stage.run_pass((NAMESPACE,))

    assert before == set()
    assert ("Certificate" in children) == (provider == "CertManager")
    assert chain(stage) != set()


async def test_the_plugin_is_woken_as_soon_as_its_authority_is_issued(stage: Stage) -> None:
    stage.create(tls={"provider": "SelfManaged"})
    await stage.visit()

    assert {"hello-server-tls", "hello-trust"} <= stage.secrets()
    assert stage.client.writes.count("CNPGPlugin hello/status") == 1


async def test_a_refused_resource_makes_none(stage: Stage) -> None:
    stage.create(clusterRoles=["admin"])
    await stage.settle(passes=3)

    assert stage.condition("Accepted")[0] == "False"
    assert chain(stage) == set()


async def test_what_is_missing_is_said_until_the_namespace_has_issued_it(stage: Stage) -> None:
    await ready(stage, provider="SelfManaged")
    stage.create("other", tls={"provider": "SelfManaged"})
    for kind, name in CHAINS[Provider.SELF_MANAGED]:
        del stage.client.objects[kind, NAMESPACE, name]
    await stage.run_pass((NAMESPACE, "other"))
    said = stage.condition("CertificatesReady", "other")
    await stage.settle("other", passes=5)

    assert said == ("Unknown", "Issuing")
    assert stage.condition("Ready", "other") == ("True", "Ready")


# Whom an error concerns


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (errors.ForbiddenError(WORDS), "ClusterError"),
        (errors.RejectedError(WORDS), "InvalidSpec"),
    ],
)
@pytest.mark.parametrize(
    ("provider", "request_refused"),
    [("CertManager", ("apply", "Issuer")), ("SelfManaged", ("create", "Secret"))],
)
async def test_a_refusal_is_told_by_those_who_need_the_chain(
    stage: Stage,
    provider: str,
    request_refused: tuple[str, str],
    error: Exception,
    reason: str,
) -> None:
    client = failing(stage)
    bring(stage, "my-server", SELF_SERVER)
    bring(stage, "my-client", SELF_CLIENT)
    await ready(stage, **USER_SECRETS)
    client.failing, client.error = request_refused, error
    for name in ("one", "two"):
        stage.create(name, tls={"provider": provider})
    for _ in range(REPORT_AFTER + 1):
        for name in ("one", "two", "hello"):
            await stage.settle(name, passes=1)
    refused = [stage.condition("CertificatesReady", name) for name in ("one", "two")]
    said, spared = stage.message("Ready", "two"), stage.condition()
    client.failing = None
    for name in ("one", "two"):
        await stage.settle(name, passes=6)

    assert refused == [("False", reason)] * 2
    assert WORDS in said
    assert spared == ("True", "Ready")
    for name in ("one", "two"):
        assert stage.condition("Ready", name) == ("True", "Ready")


async def test_a_deletion_says_why_the_chain_cannot_be_deleted(stage: Stage) -> None:
    client = failing(stage)
    await ready(stage)
    client.failing, client.error = ("delete", "Issuer"), errors.ForbiddenError(WORDS)
    stage.delete()
    await stage.settle(passes=REPORT_AFTER + 2)
    refused, said = stage.condition("Accepted"), stage.message()
    client.failing = None
    await stage.settle(passes=3)

    assert refused == ("False", "Deleting")
    assert WORDS in said
    assert ("CNPGPlugin", NAMESPACE, "hello") not in stage.client.objects


# How long it stays


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_deleted_plugin_that_clusters_use_keeps_it(stage: Stage, provider: str) -> None:
    await ready(stage, provider=provider)
    whole = chain(stage)
    use_plugin(stage)
    stage.delete()
    await stage.settle(passes=2)
    stage.reconciler = stage.operator()
    await stage.settle(passes=2)
    kept = chain(stage)
    del stage.client.objects["Cluster", "app", "db"]
    await stage.settle(passes=3)

    assert kept == whole != set()
    assert chain(stage) == set()
    assert ("CNPGPlugin", NAMESPACE, "hello") not in stage.client.objects


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("restarts", [True, False], ids=["while no operator ran", "while one ran"])
async def test_it_goes_with_a_resource_whose_finalizer_was_removed_by_hand(
    stage: Stage, provider: str, *, restarts: bool
) -> None:
    await ready(stage, provider=provider)
    del stage.client.objects["CNPGPlugin", NAMESPACE, "hello"]
    for secret in [name for name in stage.secrets() if name.startswith("hello")]:
        del stage.client.objects["Secret", NAMESPACE, secret]
    if restarts:
        stage.reconciler = stage.operator()
    else:
        await stage.run_pass((NAMESPACE, "hello"))
    await stage.run_pass((NAMESPACE,))

    assert chain(stage) == set()


async def test_the_chain_of_before_stays_while_another_plugin_becomes_ready(stage: Stage) -> None:
    """A change of provider may still be taken back."""
    await ready(stage, provider="SelfManaged")
    stage.kubelet.reloads = False
    stage.edit(tls={"provider": "CertManager"})
    await stage.settle(passes=5)
    await ready(stage, "other")

    assert stage.condition("Registered")[0] == "Unknown"
    assert {f"{kind} {name}" for kind, name in CHAINS[Provider.SELF_MANAGED]} <= chain(stage)


@pytest.mark.parametrize("label", [names.labels.MANAGED_BY, names.labels.CHAIN])
@pytest.mark.parametrize(
    ("provider", "part"),
    [(provider, part) for provider, parts in CHAINS.items() for part in parts],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else str(value),
)
async def test_a_part_that_has_lost_a_label_goes_too(
    stage: Stage, provider: Provider, part: tuple[str, str], label: str
) -> None:
    """It has no owner, so the garbage collector would leave it for ever."""
    await ready(stage, provider=provider)
    kind, name = part
    del stage.client.objects[kind, NAMESPACE, name]["metadata"]["labels"][label]
    stage.delete()
    await stage.settle(passes=4)

    assert chain(stage) == set()
    assert ("CNPGPlugin", NAMESPACE, "hello") not in stage.client.objects


async def test_a_part_of_another_owner_stays(stage: Stage) -> None:
    await ready(stage)
    issuer = stage.client.objects["Issuer", NAMESPACE, names.children.CHAIN_ROOT]
    issuer["metadata"] = {"name": names.children.CHAIN_ROOT, "namespace": NAMESPACE, "uid": "x"}
    stage.delete()
    await stage.settle(passes=4)

    assert chain(stage) == {f"Issuer {names.children.CHAIN_ROOT}"}


async def test_a_secret_that_only_has_the_label_stays(stage: Stage) -> None:
    labels = {names.labels.MANAGED_BY: names.resource.OPERATOR, names.labels.CHAIN: "any"}
    bring(stage, "anything", SELF_SERVER, labels)
    await stage.run_pass((NAMESPACE,))

    assert "anything" in stage.secrets()


# Interruption


@pytest.mark.parametrize("side", ["before", "after"])
@pytest.mark.parametrize(
    ("provider", "write"),
    [
        (each, n)
        for each, writes in (("CertManager", 14), ("SelfManaged", 7))
        for n in range(writes)
    ],
)
async def test_a_crash_around_any_write_of_a_deletion_leaves_nothing(
    provider: str, write: int, side: str
) -> None:
    stage = Stage()
    before = stage.client.objects.keys() - {("Pod", NAMESPACE, "cnpg-0")}
    await ready(stage, provider=provider)
    stage.client.fail_at = len(stage.client.writes) + write
    stage.client.fail_after = side == "after"
    stage.delete()
    for _ in range(8):
        await stage.visit()
        if stage.client.fail_at is None:
            stage.reconciler = stage.operator()
    left = {key for key in stage.client.objects.keys() - before if key[0] not in ("Pod", "Event")}

    assert stage.client.fail_at is None, "the deletion has fewer writes"
    assert chain(stage) == set()
    assert ("CNPGPlugin", NAMESPACE, "hello") not in left
    assert not [key for key in left if key[0] in ("Issuer", "Certificate", "Secret", "Service")]
