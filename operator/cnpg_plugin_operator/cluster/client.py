"""The verbs that this program needs of the API server, with its own exceptions.

Objects are plain dictionaries, which keeps server-side apply exact.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import aiohttp

from cnpg_plugin_operator import errors
from cnpg_plugin_operator.api.untrusted import mapping
from cnpg_plugin_operator.cluster.answers import read_events, well_formed
from cnpg_plugin_operator.cluster.connection import REQUEST_TIMEOUT, Connection
from cnpg_plugin_operator.cluster.kinds import SECRET, Kind
from cnpg_plugin_operator.decide.facts.plugin import PairFacts

PAGE: Final = 100
"""Objects per page of a long list. With 2,000 Clusters of 7 KB, a start takes 103 MB at most; with
pages of 500, 136 MB."""

RECURSION_LIMIT: Final = 12_000
"""For `sys.setrecursionlimit`: the API server stores JSON of up to 10,000 levels; Python's default
of 1,000 could not even read it."""

SILENCE: Final = 90.0
"""Seconds after which a silent watch counts as broken: the API server sends a bookmark a minute."""


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list. All pages of a list show the same moment."""

    version: str
    """The resourceVersion of the list."""
    bodies: tuple[dict[str, Any], ...]
    token: str = ""
    """Asks for the next part; empty for the last one."""


class Client(Connection):
    """Reads and writes objects, each with one request."""

    async def get(self, kind: Kind, name: str, namespace: str | None = None) -> dict[str, Any]:
        """Read one object. Raises `NotFoundError`, or `KindMissingError` for an unknown kind."""
        return well_formed(await self._request("get", kind, namespace, name))

    async def find(
        self, kind: Kind, name: str, namespace: str | None = None
    ) -> dict[str, Any] | None:
        """Read one object, or None where it does not exist or the name is invalid."""
        try:
            return await self.get(kind, name, namespace)
        except (errors.NotFoundError, errors.InvalidNameError):
            return None

    async def find_secret(
        self, name: str, namespace: str
    ) -> tuple[dict[str, Any], PairFacts | None] | None:
        """Read a Secret. A `WatchedClient` gives what is public of it, and what its pair is."""
        body = await self.find(SECRET, name, namespace)
        return (body, None) if body is not None else None

    async def list(
        self,
        kind: Kind,
        namespace: str | None = None,
        *,
        labels: str | None = None,
        fields: str | None = None,
        confirmed: bool = False,  # noqa: ARG002 - every list is, but of a `WatchedClient`
    ) -> list[dict[str, Any]]:
        """Read all objects that the selectors match, in one response."""
        query = {"labelSelector": labels, "fieldSelector": fields}
        listing = await self._request("get", kind, namespace, query=query)
        return [well_formed(body) for body in listing.get("items") or []]

    async def pages(
        self,
        kind: Kind,
        namespace: str | None = None,
        labels: str | None = None,
        fields: str | None = None,
    ) -> AsyncIterator[Page]:
        """Read all objects of one or all namespaces page by page.

        Raises `ExpiredError` where the API server no longer knows the moment of the first page.
        """
        page = await self._page(kind, namespace, "", labels, fields)
        while True:
            yield page
            token = page.token
            # The page before must not stay in memory while the next one is read.
            del page
            if not token:
                return
            page = await self._page(kind, namespace, token, labels, fields)

    async def _page(
        self,
        kind: Kind,
        namespace: str | None,
        token: str,
        labels: str | None,
        fields: str | None,
    ) -> Page:
        query = {
            "limit": str(PAGE),
            "continue": token or None,
            "labelSelector": labels,
            "fieldSelector": fields,
        }
        listing = await self._request("get", kind, namespace, query=query)
        metadata = mapping(listing.get("metadata"))
        return Page(
            str(metadata.get("resourceVersion") or ""),
            tuple(well_formed(body) for body in listing.get("items") or ()),
            str(metadata.get("continue") or ""),
        )

    async def newest(self, kind: Kind, namespace: str) -> str:
        """Read the present version of a collection, from where it can be watched."""
        listing = await self._request("get", kind, namespace, query={"limit": "1"})
        return str(mapping(listing.get("metadata")).get("resourceVersion") or "")

    @asynccontextmanager
    async def follow(
        self,
        kind: Kind,
        version: str,
        seconds: int,
        *,
        namespace: str | None = None,
        fields: str | None = None,
    ) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        """Watch one namespace, or all, after a version for some seconds.

        Gives the events, and bookmarks. Iterating raises `UnavailableError` where the connection
        breaks, and `ExpiredError` where the API server no longer knows what came after the version.
        """
        target = f"watch of {kind.plural}"
        query = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(seconds),
            "fieldSelector": fields,
        }
        response = await self._exchange(
            "get",
            kind.path(namespace),
            target,
            _keep_open,
            query=query,
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=REQUEST_TIMEOUT, sock_read=SILENCE
            ),
        )
        try:
            yield read_events(response, target)
        finally:
            response.close()

    async def apply(
        self,
        kind: Kind,
        body: Mapping[str, Any],
        *,
        manager: str,
        subresource: str | None = None,
        force: bool = True,
        dry_run: bool = False,
    ) -> dict[str, Any]:
        """Apply server-side, strictly: an unknown field is an error that names it.

        Raises `ConflictError` where another manager owns a field and `force` is off. A dry run
        runs admission and changes nothing.
        """
        metadata = body["metadata"]
        return await self._request(
            "patch",
            kind,
            metadata.get("namespace"),
            metadata["name"],
            subresource=subresource,
            body={"apiVersion": kind.api_version, "kind": kind.kind, **body},
            content_type="application/apply-patch+yaml",
            query={
                "fieldManager": manager,
                "force": "true" if force else "false",
                "fieldValidation": "Strict",
                "dryRun": "All" if dry_run else None,
            },
        )

    async def merge_patch(
        self, kind: Kind, name: str, namespace: str | None, patch: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Patch by JSON merge; `metadata.resourceVersion` in the patch makes it conditional."""
        return await self._request(
            "patch",
            kind,
            namespace,
            name,
            body=patch,
            content_type="application/merge-patch+json",
        )

    async def create(self, kind: Kind, body: Mapping[str, Any]) -> dict[str, Any]:
        """Create an object that only this program names, such as an Event, or a review."""
        return await self._request("post", kind, body["metadata"].get("namespace"), body=body)

    async def replace(self, kind: Kind, body: Mapping[str, Any]) -> dict[str, Any]:
        """Replace an object, unless its resourceVersion is another one: `ConflictError`."""
        metadata = body["metadata"]
        return await self._request("put", kind, metadata["namespace"], metadata["name"], body=body)

    async def delete(
        self, kind: Kind, name: str, namespace: str | None, *, uid: str | None = None
    ) -> None:
        """Delete an object and its dependents; a missing object is fine.

        With a uid, another object that was created under the same name stays. A single wrong answer
        leaves nothing behind: raises `UnavailableError` where a missing object is still there.
        """
        options: dict[str, Any] = {"propagationPolicy": "Background"}
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        try:
            await self._request("delete", kind, namespace, name, body=options)
        except errors.NotFoundError as error:
            if await self._stays(kind, name, namespace, uid):
                raise errors.UnavailableError(f"{error}, but it is still there") from error

    async def _stays(self, kind: Kind, name: str, namespace: str | None, uid: str | None) -> bool:
        """Whether an object is there, and its deletion was not requested."""
        try:
            metadata = (await self.get(kind, name, namespace))["metadata"]
        except errors.NotFoundError:
            return False
        return "deletionTimestamp" not in metadata and uid in (None, metadata["uid"])

    async def served(self, api_version: str) -> frozenset[str]:
        """Read the plurals of the kinds that an API group serves; empty where it does not exist."""
        try:
            answer = await self._send("get", f"/apis/{api_version}", f"API group {api_version}")
        except (errors.NotFoundError, errors.KindMissingError):
            return frozenset()
        return frozenset(resource["name"] for resource in answer.get("resources") or [])

    async def version(self) -> str:
        """Read the API server's version, such as `v1.34.0`."""
        return str((await self._send("get", "/version", "the version")).get("gitVersion", ""))

    async def _request(
        self,
        method: str,
        kind: Kind,
        namespace: str | None,
        name: str | None = None,
        *,
        subresource: str | None = None,
        **parts: Any,  # noqa: ANN401 - of the request
    ) -> dict[str, Any]:
        path = kind.path(namespace, name, subresource)
        target = f"{kind.kind} {namespace + '/' if namespace else ''}{name or ''}".strip()
        return await self._send(method, path, target, **parts)

    async def _send(
        self,
        method: str,
        path: str,
        target: str,
        **parts: Any,  # noqa: ANN401 - of the request
    ) -> dict[str, Any]:
        """Send one request; `target` describes its object in messages."""
        return await self._exchange(method, path, target, _read_json, **parts)


async def list_served(
    client: Client,
    kind: Kind,
    namespace: str | None,
    labels: str | None = None,
    *,
    confirmed: bool = False,
) -> list[dict[str, Any]]:
    """List objects of a kind; none where the cluster does not serve it."""
    try:
        return await client.list(kind, namespace, labels=labels, confirmed=confirmed)
    except errors.KindMissingError:
        return []


async def _read_json(response: aiohttp.ClientResponse) -> dict[str, Any]:
    body: dict[str, Any] = await response.json()
    return body


async def _keep_open(response: aiohttp.ClientResponse) -> aiohttp.ClientResponse:
    return response
