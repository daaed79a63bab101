"""A plugin takes over from an installation without the operator: CloudNativePG never loses it."""

from typing import Any

import pytest

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.conditions import Reason
from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.decide.facts.plugin import HandshakeOutcome
from tests.support.unit.stage.previous import PLUGIN, CloudNativePG, LeaderOnly, install
from tests.support.unit.stage.stage import Stage
from tests.support.unit.stage.world import NAMESPACE

BESIDE, IN_PLACE = "previous", "hello"
"""The previous Service, while the plugin's own is called `hello`."""

OWN_SECRETS: dict[str, Any] = {
    "provider": "Secrets",
    "secrets": {"server": "previous-server", "client": "previous-client"},
}
"""Its server's certificate is for the previous Service only."""
LEFT = {
    ("Deployment", "previous"),
    ("ServiceAccount", "previous"),
    ("RoleBinding", "previous"),
    ("Certificate", "previous-client"),
    ("Certificate", "previous-server"),
    ("Issuer", "previous-issuer"),
    ("Secret", "previous-client"),
    ("Secret", "previous-server"),
}
"""What is left of the previous installation, its Service aside."""


def begin(service: str, **spec: Any) -> tuple[Stage, CloudNativePG]:
    """An installation that CloudNativePG uses, and a resource that takes it over."""
    stage = Stage()
    install(stage, service)
    cnpg = CloudNativePG(stage)
    stage.create(takeOver={"serviceName": service}, **spec)
    return stage, cnpg


def left(stage: Stage) -> set[tuple[str, str]]:
    status = stage.client.the(kinds.PLUGIN, "hello")["status"]
    return {(e["kind"], e["name"]) for e in status.get("takeOver", {}).get("objects", [])}


def label(stage: Stage, service: str) -> str | None:
    found: str | None = stage.service(service)["labels"].get(names.cnpg.PLUGIN_NAME)
    return found


def has(stage: Stage, kind: str, name: str) -> bool:
    return (kind, NAMESPACE, name) in stage.client.objects


@pytest.mark.parametrize("tls", [{}, OWN_SECRETS], ids=["own pairs", "the same pairs"])
@pytest.mark.parametrize("service", [BESIDE, IN_PLACE])
async def test_a_plugin_takes_over_without_a_failed_call(service: str, tls: dict[str, Any]) -> None:
    stage, cnpg = begin(service, tls=tls and {**tls, "serverName": service})
    await stage.settle(passes=30)

    assert stage.condition() == ("True", "Ready")
    assert cnpg.entry == "hello"
    assert label(stage, "hello") == PLUGIN
    announced = stage.service()["annotations"]
    assert announced[names.cnpg.CLIENT_SECRET] == ("previous-client" if tls else "hello-client-tls")
    assert stage.client.the(kinds.SERVICE, "hello")["spec"]["selector"] == {
        names.labels.PLUGIN: "hello"
    }
    assert not has(stage, "Service", "hello-candidate")
    assert stage.client.the(kinds.DEPLOYMENT, "previous")["spec"]["replicas"] == 1


@pytest.mark.parametrize("service", [BESIDE, IN_PLACE])
async def test_what_is_left_is_listed_with_the_command_until_it_is_gone(service: str) -> None:
    stage, cnpg = begin(service)
    await stage.settle(passes=30)
    wanted = LEFT | ({("Service", "previous")} if service == BESIDE else set())
    assert left(stage) == wanted
    message = stage.message("Registered")
    assert f"kubectl delete -n {NAMESPACE} " in message
    assert all(f"{kind.lower()}/{name}" in message for kind, name in wanted)
    assert [e["message"] for e in stage.client.events if e["reason"] == "PreviousInstallationLeft"]

    for kind, name in wanted:
        body = stage.client.objects.pop((kind, NAMESPACE, name))
        body["metadata"].pop("finalizers", None)
        cnpg.look()
        await stage.visit()
        assert (kind, name) not in left(stage)
    assert cnpg.entry == "hello", "the end of the previous Service ends no entry"
    assert "takeOver" not in stage.client.the(kinds.PLUGIN, "hello")["status"]
    assert "kubectl delete" not in stage.message("Registered")
    assert stage.condition() == ("True", "Ready")


async def test_the_same_secrets_are_not_left() -> None:
    stage, _ = begin(BESIDE, tls={**OWN_SECRETS, "serverName": BESIDE})
    await stage.settle(passes=20)

    kept = {"Secret", "Certificate", "Issuer"}
    assert left(stage) == {("Service", "previous"), *(e for e in LEFT if e[0] not in kept)}


@pytest.mark.parametrize("service", [BESIDE, IN_PLACE])
async def test_without_the_field_nothing_is_touched_and_the_message_names_it(service: str) -> None:
    stage = Stage()
    install(stage, service)
    cnpg = CloudNativePG(stage)
    stage.create()
    await stage.settle(passes=3)

    assert stage.condition("Accepted") == ("False", "NameConflict")
    assert f"set spec.takeOver.serviceName to {service}" in stage.message("Accepted")
    assert cnpg.entry == service
    assert not has(stage, "Deployment", "hello")


@pytest.mark.parametrize("service", [BESIDE, IN_PLACE])
async def test_a_plugin_that_is_not_proven_takes_nothing_over(service: str) -> None:
    stage, cnpg = begin(service)
    stage.handshaker.outcome = HandshakeOutcome(Reason.IDENTITY_MISMATCH, "another name")
    await stage.settle(passes=10)

    assert stage.condition() == ("False", "IdentityMismatch")
    assert cnpg.entry == service
    assert label(stage, service) == PLUGIN
    assert stage.client.the(kinds.SERVICE, service)["spec"]["selector"] == {"app": "previous"}


# A crash before the next write leaves the same state.
@pytest.mark.parametrize(
    ("service", "write"),
    [(each, n) for each, writes in ((BESIDE, 18), (IN_PLACE, 20)) for n in range(writes)],
)
async def test_a_crash_after_any_write_does_not_change_the_result(service: str, write: int) -> None:
    stage, cnpg = begin(service)
    stage.client.fail_at, stage.client.fail_after = write, True
    await stage.crash(20)
    await stage.settle(passes=3)

    assert stage.client.fail_at is None, "there are fewer writes"
    assert stage.condition() == ("True", "Ready")
    assert cnpg.entry == "hello"
    assert left(stage) == LEFT | ({("Service", "previous")} if service == BESIDE else set())
    assert not has(stage, "Service", "hello-candidate")
    assert stage.announced == "hello-client-tls"


async def test_a_service_that_its_manager_labels_again_is_taken_over_again() -> None:
    stage, cnpg = begin(BESIDE)
    await stage.settle(passes=20)
    stage.client.the(kinds.SERVICE, "previous")["metadata"]["labels"][names.cnpg.PLUGIN_NAME] = (
        PLUGIN
    )
    stage.client._touch(stage.client.the(kinds.SERVICE, "previous"))
    cnpg.look()
    assert cnpg.entry == "previous"
    await stage.settle(passes=6)

    assert cnpg.entry == "hello"
    assert label(stage, "previous") == names.cnpg.retired("hello")
    assert stage.condition() == ("True", "Ready")


async def test_a_deleted_resource_leaves_the_previous_installation_as_it_is() -> None:
    stage, cnpg = begin(IN_PLACE)
    await stage.settle(passes=2)
    assert has(stage, "Deployment", "hello")
    stage.delete()
    await stage.settle(passes=4)

    assert not has(stage, "CNPGPlugin", "hello")
    assert not has(stage, "Service", "hello-candidate")
    assert cnpg.entry == "hello"
    assert stage.client.the(kinds.SERVICE, "hello")["spec"]["selector"] == {"app": "previous"}


def replicas(stage: Stage, name: str) -> int:
    return int(stage.client.the(kinds.DEPLOYMENT, name)["spec"]["replicas"])


def begin_leading(service: str, **spec: Any) -> tuple[Stage, CloudNativePG, LeaderOnly]:
    stage, cnpg = begin(service, **spec)
    return stage, cnpg, LeaderOnly(stage)


@pytest.mark.parametrize("service", [BESIDE, IN_PLACE])
async def test_the_previous_leader_is_scaled_down_once_the_new_pods_wait_for_its_lease(
    service: str,
) -> None:
    stage, cnpg, _ = begin_leading(service)
    await stage.settle(passes=8)
    assert replicas(stage, "previous") == 1, "the pods have not run for long enough"
    await stage.settle(passes=30)

    assert replicas(stage, "previous") == 0
    assert stage.condition() == ("True", "Ready")
    assert cnpg.entry == "hello"
    assert stage.announced == "hello-client-tls"
    [told] = [e for e in stage.client.events if e["reason"] == "ScalingPreviousDeployment"]
    assert "hold Lease 822e3f5c.cnpg.io" in told["message"]


async def test_a_leader_that_must_not_be_scaled_is_named() -> None:
    stage, cnpg, _ = begin_leading(BESIDE)
    stage.edit(takeOver={"serviceName": BESIDE, "scaleDown": "Never"})
    await stage.settle(passes=20)

    assert stage.condition() == ("False", "NotListening")
    assert "Pods of Deployment previous, which CloudNativePG uses, hold Lease" in stage.message()
    assert replicas(stage, "previous") == 1
    assert cnpg.entry == BESIDE
    stage.client.the(kinds.DEPLOYMENT, "previous")["spec"]["replicas"] = 0
    await stage.settle(passes=6)
    assert stage.condition() == ("True", "Ready")


@pytest.mark.parametrize("service", [BESIDE, IN_PLACE])
async def test_the_previous_leader_comes_back_if_the_plugin_does_not_serve(service: str) -> None:
    stage, cnpg, leading = begin_leading(service)
    leading.broken = True
    await stage.settle(passes=20)
    assert replicas(stage, "previous") == 0
    assert stage.condition() == ("Unknown", "RolloutInProgress")
    await stage.settle(passes=30, seconds=3)

    assert stage.condition() == ("False", "TakeOverFailed")
    assert replicas(stage, "previous") == 1
    assert replicas(stage, "hello") == 0
    assert cnpg.entry == service
    leading.broken = False
    stage.edit(args=["operator"])
    await stage.settle(passes=40)
    assert stage.condition() == ("True", "Ready")
    assert (replicas(stage, "previous"), replicas(stage, "hello")) == (0, 1)


@pytest.mark.parametrize(
    ("broken", "write"),
    [(each, n) for each, writes in ((False, 20), (True, 21)) for n in range(10, writes)],
)
async def test_a_crash_after_any_write_of_a_scaling_does_not_change_the_result(
    write: int, *, broken: bool
) -> None:
    stage, cnpg, leading = begin_leading(BESIDE)
    leading.broken = broken
    stage.client.fail_at, stage.client.fail_after = write, True
    await stage.crash(40, seconds=3)

    wanted = ("False", "TakeOverFailed") if broken else ("True", "Ready")
    assert stage.client.fail_at is None, "there are fewer writes"
    assert stage.condition() == wanted
    assert (replicas(stage, "previous"), replicas(stage, "hello")) == ((1, 0) if broken else (0, 1))
    assert cnpg.entry == (BESIDE if broken else "hello")


async def test_a_resource_that_is_deleted_in_between_scales_the_previous_leader_up_again() -> None:
    stage, cnpg, leading = begin_leading(BESIDE)
    leading.broken = True
    await stage.settle(passes=20)
    assert replicas(stage, "previous") == 0
    stage.delete()
    await stage.settle(passes=6)

    assert not has(stage, "CNPGPlugin", "hello")
    assert replicas(stage, "previous") == 1
    assert cnpg.entry == BESIDE


async def test_an_adopted_service_keeps_the_name_of_its_port() -> None:
    stage, _ = begin(IN_PLACE)
    ports = stage.client.the(kinds.SERVICE, "hello")["spec"]["ports"]
    ports[0]["name"] = "plugin"
    await stage.settle(passes=30)

    assert stage.condition() == ("True", "Ready")
    [port] = stage.client.the(kinds.SERVICE, "hello")["spec"]["ports"]
    assert (port["name"], port["targetPort"]) == ("plugin", 9090)
