"""The test cluster's API server for many lanes at once: as the administrator, and asynchronous.

It never goes through the fault proxy: what the oracle sees is what there is.
"""

import json
import ssl
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Final, Self

import aiohttp

from tests.support.e2e.api import ApiError

Object = dict[str, Any]

SERVER: Final = "https://127.0.0.1:6443"

MERGE: Final = "application/merge-patch+json"
APPLY: Final = "application/apply-patch+yaml"
JSON_PATCH: Final = "application/json-patch+json"

_SECONDS: Final = aiohttp.ClientTimeout(total=60)


def credentials(pki: Path) -> ssl.SSLContext:
    """Trust the API server, as the administrator."""
    context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
    context.load_cert_chain(pki / "admin.crt", pki / "admin.key")
    return context


class Admin:
    """Requests of the administrator; `session` is for what needs more."""

    def __init__(self, pki: Path) -> None:
        connector = aiohttp.TCPConnector(ssl=credentials(pki), limit=0)
        self.session = aiohttp.ClientSession(connector=connector, timeout=_SECONDS)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.session.close()

    async def find(self, path: str) -> Object | None:
        """Read an object, or None where there is none."""
        try:
            return await self._ask("GET", path)
        except ApiError as error:
            if error.status != 404:
                raise
            return None

    async def get(self, path: str) -> Object:
        """Read an object that exists."""
        return await self._ask("GET", path)

    async def list(self, path: str) -> list[Object]:
        """Read a collection; an empty list where its kind is not served."""
        found = await self.find(path)
        items: list[Object] = (found or {}).get("items", [])
        return items

    async def create(self, path: str, body: Mapping[str, Any]) -> Object:
        """Create an object in a collection, or whatever the path creates."""
        return await self._ask("POST", path, body)

    async def patch(self, path: str, change: object, content_type: str = MERGE) -> Object:
        """Change an object."""
        return await self._ask("PATCH", path, change, content_type)

    async def apply(self, path: str, body: Mapping[str, Any]) -> Object:
        """Apply an object server-side."""
        query = "?fieldManager=campaign&force=true"
        return await self._ask("PATCH", path + query, body, APPLY)

    async def delete(self, path: str) -> None:
        """Delete an object, which need not exist."""
        try:
            await self._ask("DELETE", path)
        except ApiError as error:
            if error.status != 404:
                raise

    async def watch(self, path: str) -> AsyncIterator[tuple[str, Object]]:
        """Give each state of the objects of a collection, from now on and for ever.

        Raises `ApiError` where the API server refuses to watch it.
        """
        limit = aiohttp.ClientTimeout(total=None)
        while True:
            async with self.session.get(f"{SERVER}{path}?watch=1", timeout=limit) as answer:
                await _demand_success(answer)
                while line := await answer.content.readuntil(b"\n"):
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        break
                    yield event["type"], event["object"]

    async def _ask(
        self, method: str, path: str, body: object = None, content_type: str = "application/json"
    ) -> Object:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": content_type}
        url = f"{SERVER}{path}"
        async with self.session.request(method, url, data=data, headers=headers) as answer:
            await _demand_success(answer)
            found: Object = json.loads(await answer.read())
            return found


async def _demand_success(answer: aiohttp.ClientResponse) -> None:
    if answer.status >= 400:
        text = await answer.read()
        raise ApiError(answer.status, text.decode(errors="replace")[:2000])
