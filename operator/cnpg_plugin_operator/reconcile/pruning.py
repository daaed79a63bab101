"""Deleting what is no longer wanted, once nothing uses it any more."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from cnpg_plugin_operator import errors, names
from cnpg_plugin_operator.api.plugin import Plugin, parse_plugin
from cnpg_plugin_operator.api.spec import Provider
from cnpg_plugin_operator.desired.objects import Object
from cnpg_plugin_operator.reconcile.environment import Environment

CHAINS: Final[Mapping[Provider, frozenset[str]]] = {
    Provider.CERT_MANAGER: frozenset(
        {
            names.children.CHAIN_SELF_SIGNED,
            names.children.CHAIN_ROOT,
            names.children.CHAIN_INTERMEDIATE,
        }
    ),
    Provider.SELF_MANAGED: frozenset({names.children.OWN_ROOT, names.children.OWN_INTERMEDIATE}),
}
"""The parts of the chains that plugins of a namespace share."""

ALL_CHAINS: Final = frozenset().union(*CHAINS.values())


@dataclass(slots=True)
class Pruning:
    """Prunes once for each generation and process: nothing else changes what is wanted."""

    _done: dict[tuple[str, str], tuple[str, int]] = field(default_factory=dict)
    """Of each resource, by namespace and name, the uid and generation that was pruned for."""

    async def prune(
        self, env: Environment, plugin: Plugin, desired: list[Object], secrets: Collection[str]
    ) -> list[str]:
        """Prune for a plugin that CloudNativePG uses as it is wanted; name what went."""
        key, seen = (plugin.namespace, plugin.name), (plugin.uid, plugin.generation)
        if self._done.get(key) == seen:
            return []
        gone = await env.remover.prune(plugin, desired, secrets)
        used = await chains_in_use(env, plugin.namespace)
        gone += await env.remover.prune_chains(plugin, used)
        self._done[key] = seen
        return gone

    def forget(self, namespace: str, name: str) -> None:
        """Drop what is known of a resource that is gone."""
        self._done.pop((namespace, name), None)


async def chains_in_use(env: Environment, namespace: str, leaving: str = "") -> frozenset[str]:
    """Name the parts of the namespace's certificate chains that its plugins use.

    `leaving` is the uid of a resource that does not count. One that is suspended or cannot be read
    may use any chain.
    """
    used: set[str] = set()
    for body in await env.reader.siblings(namespace):
        metadata = body["metadata"]
        if metadata["uid"] == leaving or metadata.get("deletionTimestamp"):
            continue
        try:
            plugin = parse_plugin(body, env.settings.tls_provider)
        except errors.InvalidSpecError:
            return ALL_CHAINS
        if plugin.spec.suspend:
            return ALL_CHAINS
        if plugin.shares_chain and not plugin.is_sidecar:
            used |= CHAINS.get(plugin.provider, frozenset())
    return frozenset(used)
