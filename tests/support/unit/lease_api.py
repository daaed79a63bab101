"""An API server that serves one Lease and nothing else, for operator processes that compete."""

import asyncio
import json
from typing import Any, Final

from aiohttp import web

LEASES: Final = "/apis/coordination.k8s.io/v1/namespaces/operators/leases"
LEASE: Final = f"{LEASES}/plugins"


class LeaseAPI:
    """Writes succeed on condition of the version, as the real ones do."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.cut: set[str] = set()
        """The identities whose writes are never answered."""
        self.unanswered = 0
        """How many writes got no answer."""
        self.holders: list[str] = []
        """The holders in their order; a released Lease counts as empty."""
        self.renewals = 0
        """How often a holder wrote the Lease."""
        self._version = 0
        self._changed = asyncio.Condition()
        self._ended = asyncio.Event()

    @property
    def holder(self) -> str:
        """The present holder."""
        return str(self.lease["spec"].get("holderIdentity", "")) if self.lease else ""

    async def store(self, body: dict[str, Any] | None) -> None:
        """Change the Lease, as anyone with the right may."""
        self._version += 1
        if body is not None:
            body["metadata"]["resourceVersion"] = str(self._version)
        self.lease = body
        if self.holders[-1:] != [self.holder]:
            self.holders.append(self.holder)
        async with self._changed:
            self._changed.notify_all()

    def build(self) -> web.Application:
        """Build the application."""
        app = web.Application()
        app.router.add_get(LEASE, self._read)
        app.router.add_get(LEASES, self._watch)
        app.router.add_post(LEASES, self._write)
        app.router.add_put(LEASE, self._write)
        app.on_shutdown.append(self._end)
        return app

    async def _end(self, _: web.Application) -> None:
        self._ended.set()
        async with self._changed:
            self._changed.notify_all()

    async def _read(self, _: web.Request) -> web.Response:
        return web.json_response(self.lease) if self.lease else _refuse(404)

    async def _write(self, request: web.Request) -> web.Response:
        body = await request.json()
        if body["spec"]["holderIdentity"] in self.cut:
            self.unanswered += 1
            await self._ended.wait()
        creates = request.method == "POST"
        if creates != (self.lease is None):
            return _refuse(409 if creates else 404)
        version = body["metadata"].get("resourceVersion")
        if self.lease and version != self.lease["metadata"]["resourceVersion"]:
            return _refuse(409)
        self.renewals += bool(body["spec"]["holderIdentity"])
        await self.store(body)
        return web.json_response(self.lease)

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        sent: dict[str, Any] | None = None
        while not self._ended.is_set():
            if self.lease != sent:
                kind, shown = ("DELETED", sent) if self.lease is None else ("MODIFIED", self.lease)
                sent = self.lease
                await response.write(json.dumps({"type": kind, "object": shown}).encode() + b"\n")
            async with self._changed:
                await self._changed.wait()
        return response


def _refuse(status: int) -> web.Response:
    answer = {
        "kind": "Status",
        "message": "refused",
        "code": status,
        "details": {"name": "plugins"},
    }
    return web.json_response(answer, status=status)
