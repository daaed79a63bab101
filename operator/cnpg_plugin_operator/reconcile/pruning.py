"""Deletes objects that are no longer desired, once nothing uses them any more."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.cluster.kinds import CHILD, Kind
from cnpg_plugin_operator.decide.facts.plugin import ForeignObject
from cnpg_plugin_operator.desired.objects import Object
from cnpg_plugin_operator.reconcile.environment import Environment
from cnpg_plugin_operator.reconcile.stages import NOTHING, Plan
from cnpg_plugin_operator.reconcile.writes import Delete


def delete(found: Iterable[tuple[Kind, Mapping[str, Any]]]) -> tuple[Delete, ...]:
    """Plan to delete these objects, in their order; what is being deleted is left out."""
    return tuple(
        Delete(kind, metadata.get("namespace") or "", metadata["name"], metadata["uid"])
        for kind, metadata in ((kind, body["metadata"]) for kind, body in found)
        if not metadata.get("deletionTimestamp")
    )


async def plan_remnants(
    env: Environment, plugin: Plugin, found: Iterable[ForeignObject], now: datetime
) -> Plan:
    """Plan to delete what an earlier resource of the same name has left in the way.

    The next pass is due at once: the end of another's object wakes none.
    """
    remnants = [each for each in found if each.remnant and not each.deleting]
    if not remnants or not await env.remover.is_current(plugin):
        return NOTHING
    writes = (Delete(CHILD[each.kind], plugin.namespace, each.name, each.uid) for each in remnants)
    return Plan(writes=tuple(writes), looks=(now,))


@dataclass(slots=True)
class Pruning:
    """Prunes once per generation and process: nothing else changes the desired objects."""

    _done: dict[tuple[str, str], tuple[str, int]] = field(default_factory=dict)
    """By namespace and name of each resource, the uid and generation that was pruned for."""

    async def plan(
        self, env: Environment, plugin: Plugin, desired: list[Object], secrets: Collection[str]
    ) -> Plan:
        """Plan what goes, for a plugin that CloudNativePG uses as it is wanted."""
        key, seen = (plugin.namespace, plugin.name), (plugin.uid, plugin.generation)
        if self._done.get(key) == seen:
            return NOTHING
        found = await env.remover.find_unwanted(plugin, desired, secrets)
        if not found:
            self._done[key] = seen
        return Plan(writes=delete(found))

    def forget(self, namespace: str, name: str) -> None:
        """Drop the state of a resource that is gone."""
        self._done.pop((namespace, name), None)
