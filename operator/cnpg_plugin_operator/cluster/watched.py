"""A client that sends no request for what watches have already shown.

An object that a watch knows is not read again. One that it does not know is read, unless the watch
shows all objects of the kind. What this operator writes is known at once: the next pass sees it. A
watch may be a moment late, so an answer may be as well: whatever is written because of it is
applied server-side, or on condition that the object has not changed.
"""

import asyncio
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Protocol

from cnpg_plugin_operator import errors
from cnpg_plugin_operator.cluster.client import Client
from cnpg_plugin_operator.cluster.kinds import SECRET, Kind
from cnpg_plugin_operator.decide.facts.plugin import PairFacts

SERVED: Final = 15.0
"""Seconds for which passes do not ask again for the kinds of an API group. The watches ask more
often, and wake all plugins where the answer changes."""


class WatchedObjects(Protocol):
    """What watches and writes have shown: the port to the fact store."""

    def find(self, kind: Kind, namespace: str | None, name: str) -> dict[str, Any] | None:
        """Give an object, which the caller may change; None where it is not known."""
        ...

    def find_secret(
        self, namespace: str, name: str
    ) -> tuple[dict[str, Any], PairFacts | None] | None:
        """Give what is public of a Secret; None where it is not known."""
        ...

    def lacks(self, kind: Kind, namespace: str | None, name: str) -> bool:
        """Whether it is known that there is no such object."""
        ...

    def select(
        self, kind: Kind, namespace: str | None, labels: str | None
    ) -> list[dict[str, Any]] | None:
        """Give all objects that a selector matches, to be only read; None where any is unknown."""
        ...

    def take(self, kind: Kind, body: Mapping[str, Any]) -> None:
        """Learn how an object is since a write of it."""
        ...

    def forget(self, kind: Kind, namespace: str | None, name: str) -> None:
        """Learn that the deletion of an object was requested: how it is now is not known."""
        ...


class WatchedClient(Client):
    """Reads what is known from `watched`, everything else from the API server."""

    watched: WatchedObjects
    """Is set once, before the first request."""
    _served: Mapping[str, tuple[float, frozenset[str]]] = MappingProxyType({})
    """When each API group was asked for, and the plurals that it serves."""

    async def find(
        self, kind: Kind, name: str, namespace: str | None = None
    ) -> dict[str, Any] | None:
        """Give one object as it is known, or read it."""
        known = self.watched.find(kind, namespace, name)
        if known is not None or self.watched.lacks(kind, namespace, name):
            return known
        return await super().find(kind, name, namespace)

    async def find_secret(
        self, name: str, namespace: str
    ) -> tuple[dict[str, Any], PairFacts | None] | None:
        """Give what is public of a Secret as it is known, or read it."""
        known = self.watched.find_secret(namespace, name)
        if known is not None or self.watched.lacks(SECRET, namespace, name):
            return known
        return await super().find_secret(name, namespace)

    async def list(
        self,
        kind: Kind,
        namespace: str | None = None,
        *,
        labels: str | None = None,
        fields: str | None = None,
        confirmed: bool = False,
    ) -> list[dict[str, Any]]:
        """Give all objects as they are known, unless the list has to be `confirmed`."""
        if not confirmed and fields is None:
            known = self.watched.select(kind, namespace, labels)
            if known is not None:
                return known
        return await super().list(kind, namespace, labels=labels, fields=fields)

    async def served(self, api_version: str) -> frozenset[str]:
        """Give the plurals of an API group as they were a moment ago, or read them."""
        at, plurals = self._served.get(api_version, (-math.inf, frozenset[str]()))
        if at + SERVED <= asyncio.get_running_loop().time():
            return await self.serves_now(api_version)
        return plurals

    async def serves_now(self, api_version: str) -> frozenset[str]:
        """Read the plurals of an API group, for all who ask in the next moments."""
        now = asyncio.get_running_loop().time()
        plurals = await super().served(api_version)
        self._served = {**self._served, api_version: (now, plurals)}
        return plurals

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
        """Apply server-side, and know the result.

        An object that a watch lacks is created only after a read: others may have been faster.
        Where the kind is no longer served, the next pass looks at once for what is.
        """
        namespace, name = body["metadata"].get("namespace"), body["metadata"]["name"]
        try:
            if self.watched.lacks(kind, namespace, name):
                await self._refuse_existing(kind, name, namespace)
            written = await super().apply(
                kind, body, manager=manager, subresource=subresource, force=force, dry_run=dry_run
            )
        except errors.KindMissingError:
            self._served = {k: v for k, v in self._served.items() if k != kind.api_version}
            raise
        if not dry_run:
            self.watched.take(kind, written)
        return written

    async def _refuse_existing(self, kind: Kind, name: str, namespace: str | None) -> None:
        if await super().find(kind, name, namespace) is not None:
            raise errors.ConflictError(f"{kind.kind} {namespace}/{name} was created meanwhile")

    async def create(self, kind: Kind, body: Mapping[str, Any]) -> dict[str, Any]:
        """Create an object, and know the result."""
        written = await super().create(kind, body)
        self.watched.take(kind, written)
        return written

    async def merge_patch(
        self, kind: Kind, name: str, namespace: str | None, patch: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Patch, and know the result."""
        written = await super().merge_patch(kind, name, namespace, patch)
        self.watched.take(kind, written)
        return written

    async def delete(
        self, kind: Kind, name: str, namespace: str | None, *, uid: str | None = None
    ) -> None:
        """Delete an object; until its watch tells how it went, it is not known."""
        await super().delete(kind, name, namespace, uid=uid)
        self.watched.forget(kind, namespace, name)
