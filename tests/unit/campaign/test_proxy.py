"""The campaign's fault proxy between a client and a server, all with real TLS."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.campaign.faults import WATCH_FAULTS, Away, Killing, OneRequest, Rotated
from tests.campaign.proxy import Disturber, Proxy
from tests.support.tls.certificates import addresses, authority, issue

HOST = "127.0.0.1"
SERVICES = "/api/v1/namespaces/lane/services"
EVERYWHERE = "/apis/cnpgplugin.dev/v1beta1/cnpgplugins"


@dataclass
class Server:
    """An API server that answers everything, and says what it was asked."""

    asked: list[str] = field(default_factory=list)
    events: asyncio.Queue[dict[str, Any]] = field(default_factory=asyncio.Queue)
    port: int = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        await request.read()
        self.asked.append(f"{request.method} {request.raw_path}")
        if "watch" not in request.query:
            return web.json_response({"items": []})
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(json.dumps(await self.events.get()).encode() + b"\n")


@dataclass
class Way:
    """From a client through the proxy to the server."""

    server: Server
    proxy: Proxy
    session: aiohttp.ClientSession

    async def ask(self, method: str, path: str, **parts: Any) -> int:
        """Send a request; 0 for none that was answered."""
        url = f"https://{HOST}:{self.proxy.port}{path}"
        try:
            async with self.session.request(method, url, **parts) as answer:
                await answer.read()
                return answer.status
        except (aiohttp.ClientError, TimeoutError):
            return 0

    def watch(self) -> Any:
        """Begin to watch."""
        return self.session.get(f"https://{HOST}:{self.proxy.port}{SERVICES}?watch=1")


@pytest.fixture
async def way(tmp_path: Path) -> AsyncIterator[Way]:
    root = authority("root")
    pair = issue(root, HOST, dns=(), extra=(addresses(HOST),))
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    certificate.write_bytes(pair.chain)
    key.write_bytes(pair.key)
    served = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    served.load_cert_chain(certificate, key)
    trust = ssl.create_default_context(cadata=root.leaf.decode())
    server = Server()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, HOST, 0, ssl_context=served).start()
    [address] = runner.addresses
    proxy = Proxy("lane", served, trust, f"https://{HOST}:{address[1]}")
    await proxy.start(HOST)
    limit = aiohttp.ClientTimeout(total=5)
    connector = aiohttp.TCPConnector(ssl=trust)
    async with aiohttp.ClientSession(connector=connector, timeout=limit) as session:
        yield Way(server, proxy, session)
    await proxy.stop()
    await runner.cleanup()


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("what", ["409", "429", "503", "reset"])
async def test_one_request_fails_before_or_after_it_is_done(
    way: Way, what: str, *, after: bool
) -> None:
    fault = OneRequest("patch-services-p-2", what, after)
    way.proxy.disturber = fault
    codes = [await way.ask("PATCH", f"{SERVICES}/p", json={}) for _ in range(3)]
    assert codes == [200, int(what) if what.isdecimal() else 0, 200]
    assert len(way.server.asked) == 2 + after
    assert fault.reached.is_set()


async def test_a_request_that_times_out_is_done_or_not(way: Way) -> None:
    way.proxy.disturber = OneRequest("delete-services-p-1", "timeout", after=True)
    limit = aiohttp.ClientTimeout(total=0.2)
    assert await way.ask("DELETE", f"{SERVICES}/p", timeout=limit) == 0
    assert way.server.asked == [f"DELETE {SERVICES}/p"]


async def test_positions_count_requests_of_one_kind(way: Way) -> None:
    await way.ask("PATCH", f"{SERVICES}/p/status?x=1", json={})
    await way.ask("GET", f"{SERVICES}?limit=1")
    await way.ask("POST", "/api/v1/namespaces/lane/events", json={"reason": "Ready"})
    await way.ask("GET", f"{SERVICES}?limit=1")
    positions = [call.position for call in way.proxy.calls]
    assert positions == [
        "patch-services.status-p-1",
        "list-services-1",
        "create-events-Ready-1",
        "list-services-2",
    ]
    assert [call.code for call in way.proxy.calls] == [200] * 4


async def test_resources_of_all_namespaces_are_those_of_the_lane(way: Way) -> None:
    await way.ask("GET", f"{EVERYWHERE}?limit=500")
    expected = EVERYWHERE.replace("/cnpgplugins", "/namespaces/lane/cnpgplugins")
    assert way.server.asked == [f"GET {expected}?limit=500"]


async def test_a_killed_operator_gets_no_answer(way: Way) -> None:
    killed: list[str] = []
    way.proxy.disturber = Killing("patch-services-p-1", True, lambda: killed.append("killed"))
    assert await way.ask("PATCH", f"{SERVICES}/p", json={}) == 0
    assert killed == ["killed"]
    assert len(way.server.asked) == 1


async def test_only_the_stale_token_is_refused(way: Way) -> None:
    way.proxy.disturber = Rotated("old")
    for token, code in (("old", 401), ("new", 200)):
        headers = {"Authorization": f"Bearer {token}"}
        assert await way.ask("GET", SERVICES, headers=headers) == code


def event(name: str, kind: str = "MODIFIED") -> dict[str, Any]:
    return {"type": kind, "object": {"metadata": {"name": name}}}


async def read(answer: aiohttp.ClientResponse, count: int) -> list[str]:
    """The types of so many events; fewer where the connection ends."""
    kinds: list[str] = []
    try:
        while len(kinds) < count and (line := await answer.content.readline()):
            kinds.append(json.loads(line)["type"])
    except aiohttp.ClientError:
        kinds.append("cut")
    return kinds


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("duplicated", ["MODIFIED", "MODIFIED"]),
        ("410", ["ERROR", "cut"]),
        ("silent", ["cut"]),
        ("refused", ["cut"]),
    ],
)
async def test_a_disturbed_watch(way: Way, fault: str, expected: list[str]) -> None:
    way.proxy.disturber = WATCH_FAULTS[fault]("services")
    async with way.watch() as answer:
        way.server.events.put_nowait(event("p"))
        assert await read(answer, len(expected)) == expected


async def test_a_half_open_watch_says_nothing_more(way: Way) -> None:
    async with way.watch() as answer:
        way.server.events.put_nowait(event("p"))
        assert await read(answer, 1) == ["MODIFIED"]
        way.proxy.disturber = fault = WATCH_FAULTS["half-open"]("services")
        way.server.events.put_nowait(event("p"))
        await fault.reached.wait()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await answer.content.readline()


async def test_an_api_server_that_is_away(way: Way) -> None:
    assert await way.ask("GET", SERVICES) == 200
    way.proxy.disturber = Away()
    way.proxy.cut()
    assert await way.ask("GET", SERVICES) == 0
    way.proxy.disturber = Disturber()
    assert await way.ask("GET", SERVICES) == 200
