"""Revokes what the chart's values no longer grant, from every resource, valid or not.

A plugin's other children stay while its resource is refused; rights do not. Cluster-wide bindings
also have an owner, so that they are removed even when no ClusterRole is granted any more and the
operator may not even list them; see `desired.access`.
"""

import logging
from dataclasses import dataclass, field

from cnpg_plugin_operator import errors
from cnpg_plugin_operator.api.plugin import Resource
from cnpg_plugin_operator.reconcile.environment import Environment
from cnpg_plugin_operator.reconcile.pruning import delete
from cnpg_plugin_operator.reconcile.stages import Progress
from cnpg_plugin_operator.reconcile.writes import RevokeAccount, Write

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Revoking:
    """Checks each resource once per process: grants change only with a restart."""

    _done: dict[tuple[str, str], str] = field(default_factory=dict)
    """By namespace and name of each resource, the uid that was checked."""

    async def revoke(self, env: Environment, resource: Resource) -> None:
        """Delete bindings to roles that are not granted, and end the use of such accounts."""
        key = (resource.namespace, resource.name)
        if self._done.get(key) == resource.uid:
            return
        progress = Progress(env)
        reference = {"namespace": resource.namespace, "plugin": resource.name}
        try:
            await progress.make(*await _plan(env, resource))
        except (errors.ForbiddenError, errors.RejectedError) as error:
            # Only where the administrator manages rights or rules; the next pass tries again.
            logger.warning("granted rights could not be checked: %s", error, extra=reference)
            return
        self._done[key] = resource.uid
        if progress.wrote:
            gone = ", ".join(progress.wrote)
            logger.info("no longer granted, revoked: %s", gone, extra=reference)

    def forget(self, namespace: str, name: str) -> None:
        """Drop the state of a resource that is gone."""
        self._done.pop((namespace, name), None)


async def _plan(env: Environment, resource: Resource) -> list[Write]:
    """Plan what has to go: bindings first, then the use of an account."""
    grants = env.settings.grants
    found = await env.remover.find_revoked(resource, grants.roles, grants.cluster_roles)
    deployment = await env.remover.find_revoked_account(resource, grants.service_accounts)
    return [*delete(found), *([RevokeAccount(deployment)] if deployment is not None else [])]
