"""Reads the ClusterRoles with which the operator's chart grants the binding of others by name."""

from collections.abc import Iterable

from cnpg_plugin_operator import errors, names
from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.cluster.client import Client
from cnpg_plugin_operator.desired.objects import Object


async def find_grants(client: Client, prefix: str, roles: Iterable[str]) -> dict[str, Object]:
    """Return references to the chart's ClusterRoles that allow binding these, as owners.

    Empty where the chart creates none. Raises `ForbiddenError` where one is missing: without an
    owner, a binding would outlive its grant.
    """
    if not prefix:
        return {}
    return {role: await _refer(client, names.children.grant(prefix, role), role) for role in roles}


async def _refer(client: Client, name: str, role: str) -> Object:
    kind = kinds.CLUSTER_ROLE
    body = await client.find(kind, name)
    if body is None:
        raise errors.ForbiddenError(
            f"ClusterRole {name}, by which the operator's chart grants {role}, does not exist: "
            "upgrade the chart's release to create it"
        )
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "name": name,
        "uid": body["metadata"]["uid"],
        "blockOwnerDeletion": False,
    }
