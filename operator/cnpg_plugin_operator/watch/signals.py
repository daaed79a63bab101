"""Watches whose events only wake passes: that of the Lease of CloudNativePG's leader. No kopf.

A Lease is renewed every two seconds; nothing of it is kept here. So nothing is listed either: what
was there before, or happens while a watch is down, is found by the passes, which also run without
an event.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from cnpg_plugin_operator import errors, names
from cnpg_plugin_operator.cluster.addresses import field_selector
from cnpg_plugin_operator.cluster.client import Client
from cnpg_plugin_operator.cluster.kinds import LEASE
from cnpg_plugin_operator.telemetry import Readiness
from cnpg_plugin_operator.watch.feeds import REOPENING, Watch
from cnpg_plugin_operator.watch.loops import spread

SECONDS: Final = 60
"""Length of a watch: a longer silence could not be told from a broken connection."""


LEADER: Final = field_selector({"metadata.name": names.cnpg.LEASE})
"""The Lease whose holder uses the plugins. By this field, a right to one name is enough."""


class Signal(Watch):
    """Watches the Lease of one namespace, and passes it on whenever it changes."""

    def __init__(
        self,
        client: Client,
        namespace: str,
        readiness: Readiness,
        take: Callable[[Mapping[str, Any]], None],
    ) -> None:
        super().__init__(client, LEASE.path(namespace), readiness)
        self._namespace, self._take = namespace, take
        self._version = ""
        """From where the next watch goes on; empty to begin with what changes from then on."""

    async def _try(self) -> float:
        """Watch once."""
        if not self._version:
            self._version = await self._client.newest(LEASE, self._namespace)
        try:
            async with self._client.follow(
                LEASE, self._version, SECONDS, namespace=self._namespace, fields=LEADER
            ) as events:
                self._gain()
                async for event in events:
                    self._version = event["object"]["metadata"]["resourceVersion"]
                    if event["type"] != "BOOKMARK":
                        self._take(event["object"])
        except errors.ExpiredError:
            # Nothing happened for long: then the version is too old, which is no failure.
            self._version = ""
        return spread(*REOPENING)


def build_signals(
    client: Client,
    namespaces: Collection[str],
    readiness: Readiness,
    take: Callable[[Mapping[str, Any]], None],
) -> list[Signal]:
    """Build the watches of all managed namespaces."""
    return [Signal(client, namespace, readiness, take) for namespace in namespaces]


def count(namespaces: Collection[str]) -> int:
    """Say how many watches these are."""
    return len(namespaces)
