"""An API server that can be listed and watched, for the real kopf; it records kopf's requests."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from aiohttp import web

KUBECONFIG: Final = """
apiVersion: v1
kind: Config
current-context: test
contexts: [{{name: test, context: {{cluster: test, user: test}}}}]
clusters: [{{name: test, cluster: {{server: "{server}"}}}}]
users: [{{name: test, user: {{token: none}}}}]
"""


class WatchedAPI:
    """Collections by their paths; all others are empty."""

    def __init__(self) -> None:
        self.objects: dict[str, list[dict[str, Any]]] = {}
        self.refused: dict[str, int] = {}
        """Paths that are answered with this status."""
        self.listed: list[str] = []
        self.selectors: dict[str, str] = {}
        self._watches: dict[str, asyncio.Queue[dict[str, Any] | None]] = {}
        self._changed = asyncio.Condition()

    @property
    def watched(self) -> set[str]:
        """The collections that are watched now."""
        return set(self._watches)

    def send(self, path: str, kind: str, body: dict[str, Any]) -> None:
        """Send an event to a watch."""
        self._watches[path].put_nowait({"type": kind, "object": body})

    @asynccontextmanager
    async def serve(self, prefix: str = "") -> AsyncIterator[str]:
        """Serve below a path, as proxies of many clusters do; return the server's address."""
        app = web.Application()
        app.router.add_get(prefix + "/{path:.*}", self._answer)
        # Cancelled as soon as the client disconnects, so that an ended watch no longer counts.
        runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True
        )
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            host, port = runner.addresses[0]
            yield f"http://{host}:{port}{prefix}"
        finally:
            for queue in self._watches.values():
                queue.put_nowait(None)
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path = "/" + request.match_info["path"]
        if status := self.refused.get(path):
            refusal = {"kind": "Status", "message": f"{path} is refused", "code": status}
            return web.json_response(refusal, status=status)
        if path in DISCOVERY:
            return web.json_response(DISCOVERY[path])
        self.selectors[path] = request.query.get("labelSelector", "")
        if "watch" in request.query:
            return await self._watch(path, request)
        self.listed.append(path)
        body = {"kind": "AnyList", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}}
        return web.json_response({**body, "items": self.objects.get(path, [])})

    async def _watch(self, path: str, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        queue = self._watches[path] = asyncio.Queue()
        try:
            while event := await queue.get():
                await response.write(json.dumps(event).encode() + b"\n")
        finally:
            if self._watches.get(path) is queue:
                del self._watches[path]
        return response


def _resource(name: str, kind: str) -> dict[str, Any]:
    return {"name": name, "singularName": "", "kind": kind, "namespaced": False, "verbs": ["list"]}


DISCOVERY: Final[dict[str, dict[str, Any]]] = {
    "/api": {"versions": ["v1"]},
    "/api/v1": {"resources": [_resource("namespaces", "Namespace")]},
    "/apis": {"groups": []},
}
"""Everything that kopf itself requests; the program asks for the rest."""
