"""Electors beside each other, over real requests: hand-over, loss, and what the fence lets through.

Their clocks are the test's: one elector can be an hour ahead, or seem to have been paused.
"""

import asyncio
import copy
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from cnpg_plugin_operator import errors
from cnpg_plugin_operator.cluster.client import Client
from cnpg_plugin_operator.cluster.fence import Fence, boot_time
from cnpg_plugin_operator.cluster.kinds import EVENT
from cnpg_plugin_operator.cluster.lease import OperatorLease
from cnpg_plugin_operator.decide.leadership import Candidate, LeaseTimes
from cnpg_plugin_operator.telemetry import Readiness
from cnpg_plugin_operator.watch.leadership import Elector
from tests.support.unit.lease_api import LeaseAPI
from tests.support.unit.watched_api import KUBECONFIG

TIMES = LeaseTimes(timedelta(seconds=2), timedelta(seconds=1), timedelta(seconds=0.25))
EVENT_BODY = {"metadata": {"namespace": "operators", "name": "x"}}


class Clock:
    """The real one, and what the test adds to it."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return boot_time() + self.ahead


class Competitor:
    """A running elector, and a client for the work that it allows."""

    def __init__(self, identity: str, lease_client: Client, kubeconfig: str) -> None:
        self.identity, self.kubeconfig = identity, kubeconfig
        self.clock, self.readiness = Clock(), Readiness()
        self.readiness.gain()
        lease = OperatorLease(lease_client, "operators", "plugins")
        self.elector = Elector(lease, Candidate(identity, TIMES), self.readiness, self.clock)
        self.running = asyncio.create_task(self.elector.run())
        self.following = asyncio.create_task(self.elector.follow())

    async def leads(self) -> None:
        async with asyncio.timeout(10):
            await self.elector.leading.wait()

    async def lost(self) -> str:
        async with asyncio.timeout(10):
            return await self.running

    async def end(self) -> None:
        for task in (self.running, self.following):
            task.cancel()
        await asyncio.gather(self.running, self.following, return_exceptions=True)


RELEASED: dict[str, Any] = {
    "metadata": {"name": "plugins", "namespace": "operators"},
    "spec": {"leaseDurationSeconds": 1, "acquireTime": "before"},
}


class Arena:
    """An API server, and what competes for its Lease."""

    def __init__(self, api: LeaseAPI, kubeconfig: str) -> None:
        self.api, self.kubeconfig = api, kubeconfig
        self.clients: list[Client] = []
        self.competitors: list[Competitor] = []

    async def add(self, identity: str) -> Competitor:
        client = await Client.connect(self.kubeconfig)
        self.clients.append(client)
        added = Competitor(identity, client, self.kubeconfig)
        self.competitors.append(added)
        return added


@pytest.fixture
async def arena(tmp_path: Path) -> AsyncIterator[Arena]:
    api = LeaseAPI()
    await api.store(copy.deepcopy(RELEASED))
    api.holders.clear()
    async with serve(api.build()) as server:
        path = tmp_path / "kubeconfig"
        path.write_text(KUBECONFIG.format(server=server))
        made = Arena(api, str(path))
        yield made
        for competitor in made.competitors:
            await competitor.end()
        for client in made.clients:
            await client.close()


@asynccontextmanager
async def serve(app: web.Application) -> AsyncIterator[str]:
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what changes knows no Event
            await asyncio.sleep(0.01)


async def test_a_free_lease_costs_two_requests(arena: Arena) -> None:
    first = await arena.add("a_1")
    await first.leads()
    assert arena.api.holders == ["a_1"]
    assert not first.readiness.lack


async def test_who_creates_the_lease_leads_only_once_no_other_process_can(arena: Arena) -> None:
    first = await arena.add("a_1")
    await first.leads()
    await first.end()
    await arena.api.store(None)
    second = await arena.add("b_2")
    await until(lambda: arena.api.holder == "b_2")
    assert not second.elector.leading.is_set()
    with pytest.raises(errors.LeadershipLostError):
        second.elector.fence.admit()
    first.elector.fence.admit()
    await second.leads()
    with pytest.raises(errors.LeadershipLostError):
        first.elector.fence.admit()
    second.elector.fence.admit()


async def test_a_standby_is_ready_and_waits(arena: Arena) -> None:
    await (await arena.add("a_1")).leads()
    second = await arena.add("b_2")
    await until(lambda: not second.readiness.lack)
    assert not second.elector.leading.is_set()


async def test_a_released_lease_is_taken_at_once(arena: Arena) -> None:
    first = await arena.add("a_1")
    await first.leads()
    second = await arena.add("b_2")
    await until(lambda: not second.readiness.lack)
    await first.end()
    began = asyncio.get_running_loop().time()
    await first.elector.release()
    await second.leads()
    assert asyncio.get_running_loop().time() - began < TIMES.lease / 2
    assert arena.api.holders == ["a_1", "", "b_2"]


async def test_a_lease_is_released_although_a_renewal_that_was_cut_off_has_changed_it(
    arena: Arena,
) -> None:
    first = await arena.add("a_1")
    await first.leads()
    await first.end()
    lease: Any = arena.api.lease
    await arena.api.store({**lease, "spec": {**lease["spec"], "renewTime": "later"}})
    await first.elector.release()
    assert arena.api.holders == ["a_1", ""]


async def test_the_lease_of_another_holder_is_not_released(arena: Arena) -> None:
    first = await arena.add("a_1")
    await first.leads()
    await first.end()
    lease: Any = arena.api.lease
    await arena.api.store({**lease, "spec": {**lease["spec"], "holderIdentity": "b_2"}})
    await first.elector.release()
    assert arena.api.holders == ["a_1", "b_2"]


async def test_a_restarted_container_takes_its_own_lease_at_once(arena: Arena) -> None:
    first = await arena.add("a_1")
    await first.leads()
    await first.end()
    began = asyncio.get_running_loop().time()
    await (await arena.add("a_1")).leads()
    assert asyncio.get_running_loop().time() - began < TIMES.lease / 2
    assert arena.api.holders == ["a_1"]


async def test_a_lease_that_is_not_renewed_is_taken_after_its_duration(arena: Arena) -> None:
    first = await arena.add("a_1")
    await first.leads()
    second = await arena.add("b_2")
    await until(lambda: not second.readiness.lack)
    await first.end()
    ended = asyncio.get_running_loop().time()
    await second.leads()
    assert asyncio.get_running_loop().time() - ended > TIMES.lease / 2


async def test_a_leader_that_gets_no_answer_stops_before_another_one_leads(arena: Arena) -> None:
    first, second = await arena.add("a_1"), await arena.add("b_2")
    await until(lambda: first.elector.leading.is_set() or second.elector.leading.is_set())
    leader, other = (first, second) if first.elector.leading.is_set() else (second, first)
    arena.api.cut.add(leader.identity)
    assert "renewed" in await leader.lost()
    with pytest.raises(errors.LeadershipLostError):
        leader.elector.fence.admit()
    assert not other.elector.leading.is_set()
    await other.leads()


async def test_a_request_without_an_answer_leaves_time_for_another_one(arena: Arena) -> None:
    leader = await arena.add("a_1")
    await leader.leads()
    arena.api.cut.add(leader.identity)
    await until(lambda: arena.api.unanswered)
    arena.api.cut.clear()
    renewals = arena.api.renewals
    await until(lambda: arena.api.renewals > renewals)
    assert not leader.running.done()
    assert arena.api.holders == ["a_1"]


@pytest.mark.parametrize("hours", [-1, 1])
async def test_the_hour_of_a_clock_does_not_matter(arena: Arena, hours: int) -> None:
    await (await arena.add("a_1")).leads()
    second = await arena.add("b_2")
    await until(lambda: not second.readiness.lack)
    lease: Any = arena.api.lease
    moved = datetime.now(UTC) + timedelta(hours=hours)
    spec = {**lease["spec"], "renewTime": moved.strftime("%Y-%m-%dT%H:%M:%S.%fZ")}
    await arena.api.store({**lease, "spec": spec})
    await until(
        lambda: arena.api.lease and arena.api.lease["spec"]["renewTime"] != spec["renewTime"]
    )
    assert not second.elector.leading.is_set()
    assert arena.api.holders == ["a_1"]


async def test_a_stranger_ends_a_leadership(arena: Arena) -> None:
    first = await arena.add("a_1")
    await first.leads()
    lease: Any = arena.api.lease
    await arena.api.store({**lease, "spec": {**lease["spec"], "holderIdentity": "stranger"}})
    assert await first.lost() == "stranger has taken the Lease"


async def test_a_deleted_lease_is_created_again_by_its_holder(arena: Arena) -> None:
    first = await arena.add("a_1")
    await first.leads()
    second = await arena.add("b_2")
    await until(lambda: not second.readiness.lack)
    await arena.api.store(None)
    await until(lambda: arena.api.holder)
    assert arena.api.holder == "a_1"
    assert not second.elector.leading.is_set()


async def test_other_fields_of_the_lease_survive(arena: Arena) -> None:
    metadata = {"name": "plugins", "namespace": "operators", "labels": {"a": "b"}}
    await arena.api.store({"metadata": metadata, "spec": {**RELEASED["spec"], "strategy": "Other"}})
    await (await arena.add("a_1")).leads()
    lease: Any = arena.api.lease
    assert lease["metadata"]["labels"] == {"a": "b"}
    assert lease["spec"]["strategy"] == "Other"


async def test_a_process_that_was_paused_writes_nothing(arena: Arena) -> None:
    first = await arena.add("a_1")
    await first.leads()
    client = await Client.connect(arena.kubeconfig, fence=first.elector.fence)
    arena.clients.append(client)
    with pytest.raises(errors.ClusterError):
        await client.create(EVENT, EVENT_BODY)  # the server knows no Events
    first.clock.ahead = 60.0
    with pytest.raises(errors.LeadershipLostError):
        await client.create(EVENT, EVENT_BODY)
    assert "renewed" in await first.lost()


async def test_a_request_that_waited_for_its_connection_is_not_sent(arena: Arena) -> None:
    readings = iter([0.0, 60.0])
    fence = Fence(TIMES, lambda: next(readings))
    fence.extend(0.0)
    client = await Client.connect(arena.kubeconfig, fence=fence)
    arena.clients.append(client)
    with pytest.raises(errors.LeadershipLostError):
        await client.create(EVENT, EVENT_BODY)
    assert next(readings, None) is None, "it was asked before, and with the connection"
    with pytest.raises(errors.KindMissingError):
        await client.list(EVENT, "operators")  # reads go on


def test_a_write_takes_no_longer_than_others_keep_away() -> None:
    now = 100.0
    fence = Fence(LeaseTimes(), lambda: now)
    fence.extend(95.0)
    assert fence.admit() == 10.0
    now = 104.9
    assert fence.admit() == pytest.approx(5.1)
    now = 105.0
    with pytest.raises(errors.LeadershipLostError):
        fence.admit()


def test_a_closed_fence_admits_nothing() -> None:
    fence = Fence(LeaseTimes(), lambda: 100.0)
    fence.extend(100.0)
    fence.close()
    with pytest.raises(errors.LeadershipLostError):
        fence.admit()
