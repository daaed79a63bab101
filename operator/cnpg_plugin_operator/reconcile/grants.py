"""Taking back what the chart's values no longer grant, from every resource, valid or not.

A plugin's other children stay while its resource is refused; rights do not. Cluster-wide bindings
have an owner besides, so that they go also when no ClusterRole is granted any more and the operator
may not even list them; see `desired.access`.
"""

import logging
from dataclasses import dataclass, field

from cnpg_plugin_operator import errors
from cnpg_plugin_operator.api.plugin import Resource
from cnpg_plugin_operator.reconcile.environment import Environment
from cnpg_plugin_operator.reconcile.stages import Progress
from cnpg_plugin_operator.reconcile.writes import RevokeAccount, Write, delete

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Revoking:
    """Looks once for each resource and process: grants change only with a restart."""

    _done: dict[tuple[str, str], str] = field(default_factory=dict)
    """Of each resource, by namespace and name, the uid that was looked after."""

    async def revoke(self, env: Environment, resource: Resource) -> None:
        """Delete bindings to roles, and end the use of accounts, that are not granted."""
        key = (resource.namespace, resource.name)
        if self._done.get(key) == resource.uid:
            return
        progress = Progress(env)
        reference = {"namespace": resource.namespace, "plugin": resource.name}
        try:
            await progress.make(*await _plan(env, resource))
        except (errors.ForbiddenError, errors.RejectedError) as error:
            # Only where rights or rules are the administrator's own: the next pass tries again.
            logger.warning("rights are not looked after: %s", error, extra=reference)
            return
        self._done[key] = resource.uid
        if progress.wrote:
            gone = ", ".join(progress.wrote)
            logger.info("no longer granted, taken back: %s", gone, extra=reference)

    def forget(self, namespace: str, name: str) -> None:
        """Drop what is known of a resource that is gone."""
        self._done.pop((namespace, name), None)


async def _plan(env: Environment, resource: Resource) -> list[Write]:
    """Plan what has to go: bindings first, then the use of an account."""
    grants = env.settings.grants
    found = await env.remover.find_revoked(resource, grants.roles, grants.cluster_roles)
    deployment = await env.remover.find_revoked_account(resource, grants.service_accounts)
    return [*delete(found), *([RevokeAccount(deployment)] if deployment is not None else [])]
