"""The fault proxy: each operator of the campaign talks to the API server through one of these.

It ends TLS on both sides, so that it can answer in the API server's place and change what a watch
says. It knows no plan: `Disturber` says what happens to a request. Requests for the resources of
all namespaces get those of the lane: operators side by side do not see each other's.
"""

import contextlib
import ssl
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

import aiohttp
from aiohttp import web
from yarl import URL

from tests.campaign.admin import SERVER
from tests.campaign.calls import Call, read_call

_HOP: Final = frozenset({"host", "connection", "transfer-encoding", "content-length"})
"""Headers of one connection."""

_EVERYWHERE: Final = "/apis/cnpgplugin.dev/v1beta1/cnpgplugins"
_LARGEST: Final = 64 * 1024 * 1024

Answer = web.StreamResponse
Forward = Callable[[], Awaitable[web.Response]]
"""Sends the request to the API server; gives its answer, which the operator has not got yet."""

Say = Callable[[bytes], Awaitable[None]]
"""Sends the operator one line of a watch."""


class CutError(Exception):
    """The connection ends here, without another word."""


class Disturber:
    """Says what happens to requests; this one disturbs nothing."""

    async def answer(self, call: Call, request: web.Request, forward: Forward) -> Answer | None:
        """Answer a request that is no watch; None lets the API server do it.

        Raises `CutError` to reset the connection.
        """

    async def begin(self, call: Call) -> web.Response | None:
        """Answer the start of a watch; None lets the API server do it."""

    async def event(self, call: Call, line: bytes, say: Say) -> None:
        """Pass on one event of a watch. Raises `CutError` to end the connection."""
        await say(line)


class Proxy:
    """Listens at a port of its own."""

    def __init__(
        self,
        namespace: str,
        served: ssl.SSLContext,
        trust: ssl.SSLContext,
        server: str = SERVER,
    ) -> None:
        self._namespace, self._server = namespace, server
        self._served, self._trust = served, trust
        self.disturber = Disturber()
        self.calls: list[Call] = []
        self._counts: Counter[str] = Counter()
        self.port = 0

    async def start(self, host: str, port: int = 0) -> None:
        """Listen; where no port is given, at any."""
        connector = aiohttp.TCPConnector(ssl=self._trust, limit=0)
        limit = aiohttp.ClientTimeout(total=None)
        self._session = aiohttp.ClientSession(
            connector=connector, timeout=limit, auto_decompress=False
        )
        application = web.Application(client_max_size=_LARGEST)
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(
            application, handler_cancellation=True, access_log=None, shutdown_timeout=0.1
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port, ssl_context=self._served)
        await site.start()
        [address] = self._runner.addresses
        self.port = address[1]

    async def stop(self) -> None:
        """End every connection."""
        await self._runner.cleanup()
        await self._session.close()

    def cut(self) -> None:
        """End every connection, as if the API server had died; new ones are possible."""
        server = self._runner.server
        for connection in list(server.connections) if server is not None else []:
            if connection.transport is not None:
                connection.transport.abort()

    def begin(self) -> None:
        """Count positions from here on."""
        self.calls = []
        self._counts.clear()

    async def _handle(self, request: web.Request) -> Answer:
        body = await request.read()
        path = request.raw_path.partition("?")[0]
        call = read_call(time.monotonic(), request.method, path, request.query_string, body)
        self._counts[call.kind] += 1
        call.position = f"{call.kind}-{self._counts[call.kind]}"
        self.calls.append(call)
        try:
            if call.verb == "watch":
                return await self._watch(call, request, body)

            async def forward() -> web.Response:
                return await self._forward(call, request, body)

            answer = await self.disturber.answer(call, request, forward) or await forward()
        except (CutError, aiohttp.ClientError):
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
        call.code = answer.status
        return answer

    def _target(self, request: web.Request) -> URL:
        path = request.raw_path
        if path.partition("?")[0] == _EVERYWHERE:
            own = _EVERYWHERE.replace("/cnpgplugins", f"/namespaces/{self._namespace}/cnpgplugins")
            path = path.replace(_EVERYWHERE, own, 1)
        return URL(self._server + path, encoded=True)

    def _ask(self, request: web.Request, body: bytes) -> aiohttp.client._RequestContextManager:
        headers = {k: v for k, v in request.headers.items() if k.lower() not in _HOP}
        return self._session.request(
            request.method, self._target(request), headers=headers, data=body or None
        )

    async def _forward(self, call: Call, request: web.Request, body: bytes) -> web.Response:
        async with self._ask(request, body) as answer:
            content = await answer.read()
            headers = {k: v for k, v in answer.headers.items() if k.lower() not in _HOP}
            return web.Response(status=answer.status, body=content, headers=headers)

    async def _watch(self, call: Call, request: web.Request, body: bytes) -> Answer:
        if (refused := await self.disturber.begin(call)) is not None:
            call.code = refused.status
            return refused
        async with self._ask(request, body) as answer:
            response = web.StreamResponse(status=answer.status)
            response.content_type = "application/json"
            call.code = answer.status
            await response.prepare(request)
            with contextlib.suppress(ConnectionResetError):
                while line := await answer.content.readuntil(b"\n", max_size=_LARGEST):
                    await self.disturber.event(call, line, response.write)
            return response
