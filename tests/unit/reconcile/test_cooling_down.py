"""CloudNativePG is not rolled twice within five minutes, except to unblock it."""

import pytest

from cnpg_plugin_operator.decide.registration.restart import Pace
from tests.support.unit.stage.hosting import HostingStage

BAD = "example.org/bad:1"


class PatientStage(HostingStage):
    """An operator with the pauses that it has by default."""

    pace: Pace = Pace()


@pytest.fixture
def stage() -> PatientStage:
    return PatientStage()


async def test_a_second_change_of_a_sidecar_waits_and_is_reported(stage: PatientStage) -> None:
    stage.create()
    await stage.until()
    stage.edit(args=["other"])
    await stage.pass_by(200)

    assert stage.applies == 1
    assert stage.state() == ("Unknown", "SidecarPending")
    assert "CloudNativePG was last rolled at" in stage.message()
    await stage.pass_by(120)
    assert stage.applies == 2
    assert stage.state() == ("True", "Ready")


async def test_a_new_process_knows_the_last_roll(stage: PatientStage) -> None:
    stage.create()
    await stage.until()
    stage.reconciler = stage.operator()
    stage.edit(args=["other"])
    await stage.pass_by(200)

    assert stage.applies == 1


async def test_removing_the_last_sidecar_counts_as_a_roll(stage: PatientStage) -> None:
    stage.create()
    await stage.until()
    await stage.pass_by(300)
    stage.delete()
    await stage.pass_by(30)
    assert stage.sidecars == {}
    stage.create("other")
    await stage.pass_by(200, "other")

    assert stage.sidecars == {}
    await stage.pass_by(120, "other")
    assert stage.sidecars.keys() == {"other"}


async def test_a_blocking_sidecar_is_removed_at_once(stage: PatientStage) -> None:
    stage.world.crashing.add(BAD)
    stage.create(image=BAD)
    await stage.pass_by(120)

    assert stage.applies == 2
    assert stage.sidecars == {}


async def test_nothing_waits_without_a_pod(stage: PatientStage) -> None:
    stage.create()
    await stage.until()
    stage.world.live["spec"]["replicas"] = 0
    stage.turn(1)
    stage.edit(args=["other"])
    await stage.pass_by(30)

    assert stage.applies == 2
