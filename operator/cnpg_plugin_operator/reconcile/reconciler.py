"""The entry point to both kinds of passes."""

from collections.abc import Callable

from cnpg_plugin_operator.reconcile.environment import Environment
from cnpg_plugin_operator.reconcile.namespace import NamespaceReconciler
from cnpg_plugin_operator.reconcile.plugin import PluginReconciler
from cnpg_plugin_operator.reconcile.shared import Key, Shared
from cnpg_plugin_operator.reconcile.stages import Requeue


class Reconciler:
    """Runs the pass of a key; the caller serializes the passes of a key."""

    def __init__(self, env: Environment) -> None:
        self._shared = Shared()
        self._plugins = PluginReconciler(env, self._shared)
        self._namespaces = NamespaceReconciler(env, self._shared)

    def wakes(self, wake: Callable[[Key], None]) -> None:
        """Set how a pass wakes others: of its namespace, or of the plugins in it."""
        self._shared.wake = wake

    async def reconcile(self, key: Key) -> Requeue:
        """Run one pass; the result contains an error that no status can report."""
        if len(key) == 1:
            return await self._namespaces.reconcile(key[0])
        namespace, name = key
        return await self._plugins.reconcile(namespace, name)
