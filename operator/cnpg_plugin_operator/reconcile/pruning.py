"""Deletes objects that are no longer desired, once nothing uses them any more."""

from collections.abc import Collection
from dataclasses import dataclass, field

from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.desired.objects import Object
from cnpg_plugin_operator.reconcile.environment import Environment
from cnpg_plugin_operator.reconcile.stages import NOTHING, Plan
from cnpg_plugin_operator.reconcile.writes import delete


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
