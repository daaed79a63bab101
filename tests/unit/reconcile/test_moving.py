"""A plugin moves into CloudNativePG's pod: it is always reachable in exactly one way."""

from typing import Any

import pytest

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.times import format_time
from cnpg_plugin_operator.cluster import kinds
from tests.support.unit.stage.hosting import MISSING, HostingStage
from tests.support.unit.stage.world import NAMESPACE

PLUGIN = "hello.example.org"
BAD = "example.org/bad:1"


@pytest.fixture
async def stage() -> HostingStage:
    """A plugin that is Standalone and Ready."""
    made = HostingStage()
    made.create(mode="Standalone")
    await made.settle()
    assert made.state() == ("True", "Ready")
    return made


def service(stage: HostingStage) -> dict[str, Any] | None:
    found: dict[str, Any] | None = stage.client.objects.get(("Service", NAMESPACE, "hello"))
    return found


def is_seen(stage: HostingStage) -> bool:
    """Whether CloudNativePG would find the plugin through its Service."""
    found = service(stage)
    return found is not None and names.cnpg.PLUGIN_NAME in found["metadata"]["labels"]


def leading(stage: HostingStage) -> dict[str, Any] | None:
    holder = stage.client.the(kinds.LEASE, names.cnpg.LEASE)["spec"].get("holderIdentity", "")
    name = holder.partition("_")[0]
    found: dict[str, Any] | None = stage.client.objects.get(("Pod", NAMESPACE, name))
    return found


class Registry:
    """What each of CloudNativePG's leaders knows."""

    def __init__(self, stage: HostingStage) -> None:
        self.stage, self.known, self.leader = stage, "", ""
        self.lost: list[str] = []
        stage.client.watch = self.look

    def look(self) -> None:
        """A new leader reads sockets, then Services; a present leader sees each change."""
        pod = leading(self.stage)
        if pod is None:
            return
        name = pod["metadata"]["name"]
        if name != self.leader:
            annotations = pod["metadata"]["annotations"]
            self.leader = name
            self.known = (
                "socket" if "hello" in str(annotations.get(names.annotations.SIDECARS)) else ""
            )
        if is_seen(self.stage):
            self.known = "service"
        elif self.known == "service" and service(self.stage) is None:
            self.known = ""
        if not self.known:
            self.lost.append(f"{name} at {format_time(self.stage.clock())}")


async def move(stage: HostingStage, registry: Registry, seconds: float = 120) -> None:
    """Let time pass, and let CloudNativePG read everything."""
    for _ in range(int(seconds)):
        await stage.visit()
        registry.look()
        stage.turn(1)
        registry.look()


async def test_the_previous_leader_keeps_the_service_and_the_new_one_never_sees_it(
    stage: HostingStage,
) -> None:
    registry = Registry(stage)
    stage.edit(mode="Sidecar")
    await move(stage, registry, 60)

    assert registry.lost == []
    assert registry.known == "socket"
    assert service(stage) is None
    assert stage.state() == ("True", "Ready")
    assert stage.applies == 1, "one roll is enough"


# A crash before the next write leaves the same state.
@pytest.mark.parametrize("write", range(10))
async def test_a_crash_after_any_write_of_a_mode_change_loses_nothing(
    stage: HostingStage, write: int
) -> None:
    registry = Registry(stage)
    stage.client.fail_at, stage.client.fail_after = len(stage.client.writes) + write, True
    stage.edit(mode="Sidecar")
    for _ in range(60):
        armed = stage.client.fail_at is not None
        await move(stage, registry, 1)
        if armed and stage.client.fail_at is None:
            stage.reconciler = stage.operator()
    await move(stage, registry, 60)

    assert registry.lost == []
    assert service(stage) is None
    assert stage.state() == ("True", "Ready")


async def test_a_plugin_that_never_answered_moves_with_one_roll() -> None:
    """Its Service never had the label, so there was no record of who has seen it."""
    stage = HostingStage()
    stage.create(mode="Standalone")
    await stage.settle(passes=2)
    assert service(stage) is not None
    assert not is_seen(stage)
    stage.edit(mode="Sidecar")
    await stage.until()

    assert service(stage) is None
    assert stage.applies == 1


@pytest.mark.parametrize("seconds", [4, 8, 12, 16])
async def test_a_lost_record_of_who_saw_the_service_costs_one_roll_at_most(
    stage: HostingStage, seconds: int
) -> None:
    registry = Registry(stage)
    stage.edit(mode="Sidecar")
    await move(stage, registry, seconds)
    if found := service(stage):
        found["metadata"]["annotations"].pop(names.annotations.SEEN_BY, None)
    await move(stage, registry, 60)

    assert registry.lost == []
    assert service(stage) is None
    assert stage.state() == ("True", "Ready")
    assert stage.applies <= 2


async def test_a_service_that_another_client_labels_again_is_named_until_the_label_is_gone(
    stage: HostingStage,
) -> None:
    registry = Registry(stage)
    stage.edit(mode="Sidecar")
    for _ in range(60):
        await move(stage, registry, 1)
        if found := service(stage):
            found["metadata"]["labels"][names.cnpg.PLUGIN_NAME] = PLUGIN
    # Its passes follow each other every five seconds, and the status may not stay behind.
    assert stage.state() == ("Unknown", "AwaitingRegistration")
    assert "still reaches the plugin through Service hello" in stage.message()
    assert stage.applies == 2, "a second restart would not help"

    for key in (names.cnpg.PLUGIN_NAME, names.cnpg.PLUGIN_DOCUMENTED):
        stage.client.the(kinds.SERVICE, "hello")["metadata"]["labels"].pop(key, None)
    await move(stage, registry, 10)
    stage.template.setdefault("metadata", {})["annotations"]["kubectl.kubernetes.io/restarted"] = ""
    stage.world.live["metadata"]["generation"] += 1
    await move(stage, registry, 30)
    assert stage.state() == ("True", "Ready")
    assert service(stage) is None
    assert registry.lost == []


async def test_a_finalizer_that_cloudnativepg_would_never_remove_goes_with_the_service(
    stage: HostingStage,
) -> None:
    stage.client.the(kinds.SERVICE, "hello")["metadata"]["finalizers"] = [
        names.cnpg.SERVICE_FINALIZER
    ]
    stage.edit(mode="Sidecar")
    await stage.until()

    assert service(stage) is None


async def test_a_service_with_another_name_is_removed_in_the_same_way(stage: HostingStage) -> None:
    other = HostingStage()
    other.create(mode="Standalone", service={"name": "elsewhere"})
    await other.settle()
    assert other.state() == ("True", "Ready")
    hidden = []

    def look() -> None:
        found = other.client.objects.get(("Service", NAMESPACE, "elsewhere"))
        if found is not None and other.sidecars:
            hidden.append(names.cnpg.PLUGIN_NAME not in found["metadata"]["labels"])

    other.client.watch = look
    other.edit(mode="Sidecar", service={})
    await other.until()

    assert hidden
    assert all(hidden)
    assert ("Service", NAMESPACE, "elsewhere") not in other.client.objects


async def test_the_label_is_restored_when_the_sidecar_is_removed(stage: HostingStage) -> None:
    stage.world.crashing.add(BAD)
    stage.edit(mode="Sidecar", image=BAD)
    await stage.pass_by(30)
    assert stage.sidecars
    assert not is_seen(stage)
    await stage.pass_by(120)

    assert stage.sidecars == {}
    assert is_seen(stage)
    assert ("Deployment", NAMESPACE, "hello") in stage.client.objects


async def test_the_label_is_restored_while_the_socket_is_missing_and_removed_for_the_restart(
    stage: HostingStage,
) -> None:
    registry = Registry(stage)
    stage.world.outcomes[PLUGIN] = MISSING
    stage.edit(mode="Sidecar")
    await move(stage, registry, 40)
    assert stage.state() == ("False", "SocketMissing")
    assert is_seen(stage), "CloudNativePG keeps using the Service"

    del stage.world.outcomes[PLUGIN]
    stage.world.restart_sidecar("hello")
    await move(stage, registry, 120)
    assert stage.state() == ("True", "Ready")
    assert service(stage) is None
    assert registry.known == "socket"
    assert registry.lost == []


async def test_a_leader_that_saw_the_label_is_replaced_once(stage: HostingStage) -> None:
    registry = Registry(stage)
    stage.edit(mode="Sidecar")
    for _ in range(60):
        await move(stage, registry, 1)
        live = service(stage)
        if stage.sidecars and live is not None and registry.leader == "cnpg-1":
            # Another tool, while the new pod starts.
            live["metadata"]["labels"][names.cnpg.PLUGIN_NAME] = PLUGIN
            stage.turn(1)
            stage.turn(1)
            break
    await move(stage, registry, 200)

    assert service(stage) is None
    assert registry.known == "socket"
    assert stage.state() == ("True", "Ready")
    assert names.annotations.RESTARTED_FOR in stage.template["metadata"]["annotations"]


async def test_reverting_the_mode_before_the_roll_leaves_the_service_unchanged(
    stage: HostingStage,
) -> None:
    stage.edit(mode="Sidecar")
    await stage.visit()
    stage.edit(mode="Standalone")
    await stage.pass_by(30)

    assert is_seen(stage)
    assert stage.applies == 0
    assert stage.state() == ("True", "Ready")


async def test_a_deleted_resource_whose_service_is_hidden_leaves_nothing_behind(
    stage: HostingStage,
) -> None:
    found = stage.client.the(kinds.SERVICE, "hello")["metadata"]
    found["finalizers"] = [names.cnpg.SERVICE_FINALIZER]
    for label in (names.cnpg.PLUGIN_NAME, names.cnpg.PLUGIN_DOCUMENTED):
        del found["labels"][label]
    stage.delete()
    await stage.pass_by(30)

    assert ("Service", NAMESPACE, "hello") not in stage.client.objects
