"""A fixed sample of the campaign: twelve faults at once, each at a write of another plugin.

All plugins belong to one lane, and are compared with one that nothing disturbs. `make campaign`
runs each plan by itself, and hundreds of them. No request times out here: that takes 20 s.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp import web

from tests.campaign.admin import Admin
from tests.campaign.calls import Call
from tests.campaign.faults import OneRequest
from tests.campaign.lane import Lane
from tests.campaign.observer import observing
from tests.campaign.oracle import State, differences, judge_leftovers, snapshot
from tests.campaign.proxy import Answer, Disturber, Forward
from tests.cluster import Cluster
from tests.cluster.network import call_inside
from tests.support.e2e.api import PLUGINS
from tests.support.e2e.plugins import is_ready
from tests.support.resources import plugin
from tests.support.wait import PATIENCE

FAULTS: Final = (
    ("patch-cnpgplugins-{}-1", "500", False),
    ("patch-cnpgplugins-{}-1", "reset", True),
    ("patch-certificates-{}-server-tls-1", "409", True),
    ("patch-certificates-{}-client-tls-1", "422", False),
    ("patch-secrets-{}-trust-1", "503", True),
    ("patch-secrets-{}-trust-1", "403", False),
    ("patch-deployments-{}-1", "429", False),
    ("patch-deployments-{}-1", "reset", True),
    ("patch-services-{}-1", "404", True),
    ("patch-services-{}-2", "409", True),
    ("patch-services-{}-2", "reset", False),
    ("patch-cnpgplugins.status-{}-1", "500", True),
)
"""Position, fault, and whether it is done all the same."""

LANE: Final = 50
SILENCE: Final = 5.0
UNDISTURBED: Final = "plan-undisturbed"


@dataclass
class Several(Disturber):
    """All faults, each once."""

    faults: dict[str, OneRequest] = field(
        default_factory=lambda: {
            f"plan-{number:02}": OneRequest(position.format(f"plan-{number:02}"), what, after)
            for number, (position, what, after) in enumerate(FAULTS)
        }
    )

    async def answer(self, call: Call, request: web.Request, forward: Forward) -> Answer | None:
        for fault in self.faults.values():
            if call.position == fault.position and not fault.reached.is_set():
                return await fault.answer(call, request, forward)
        return None


def of(name: str, state: State) -> Mapping[str, Any]:
    """What there is of one plugin, under a name that all share."""
    chosen = {key: body for key, body in state.items() if name in key}
    return {key.replace(name, "NAME"): rename(body, name) for key, body in chosen.items()}


def rename(value: Any, name: str) -> Any:
    match value:
        case dict():
            return {key: rename(each, name) for key, each in value.items()}
        case list():
            return [rename(each, name) for each in value]
        case str():
            return value.replace(name, "NAME")
        case _:
            return value


async def perform(cluster: Cluster, work: Path) -> list[str]:
    """Run everything; give what the oracle says."""
    async with Admin(cluster.layout.pki) as admin:
        lane = Lane(cluster, admin, LANE, work)
        try:
            await lane.build()
            return await disturb(lane)
        finally:
            await lane.stop()
            await lane.remove()


async def disturb(lane: Lane) -> list[str]:
    empty = await snapshot(lane.admin, lane.namespace)
    path, faults = lane.path("cnpgplugins", PLUGINS), Several()
    lane.proxy.begin()
    lane.proxy.disturber = faults
    names = [*faults.faults, UNDISTURBED]
    async with observing(lane) as seen:
        for name in names:
            await lane.admin.create(path, plugin(name, lane.namespace))

        async def is_calm() -> bool:
            ready = sum(map(is_ready, await lane.admin.list(path)))
            last = max((call.at for call in lane.calls if call.writes), default=time.monotonic())
            return ready == len(names) and time.monotonic() - last > SILENCE

        await lane.until(is_calm, "all are Ready, then silence", within=120 * PATIENCE)
        state = await snapshot(lane.admin, lane.namespace)
    found = [*seen.faults(may_interrupt=False, rolls=range(1))]
    found += [
        f"{name} was not disturbed" for name, f in faults.faults.items() if not f.reached.is_set()
    ]
    expected = of(UNDISTURBED, state)
    for name in faults.faults:
        found += [f"{name}: {each}" for each in differences(expected, of(name, state))]
    for name in names:
        await lane.admin.delete(f"{path}/{name}")

    left: list[str] = []

    async def is_gone() -> bool:
        nonlocal left
        left = [*judge_leftovers(empty, await snapshot(lane.admin, lane.namespace))]
        return not left

    try:
        await lane.until(is_gone, "all are deleted", within=90 * PATIENCE, pause=1)
    except TimeoutError as error:
        found += [str(error), *left]
    return found


@pytest.mark.timeout(600)
def test_faults_at_writes_change_nothing_in_the_end(cluster: Cluster, tmp_path: Path) -> None:
    violations = call_inside(cluster.layout.netns, lambda: asyncio.run(perform(cluster, tmp_path)))
    assert not violations, "\n".join(violations)
