"""Reads the Secrets of a plugin: pairs, trusted certificates, authorities.

Nothing keeps a private key: a Secret with its keys is read each time.
"""

import asyncio

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.api.spec import Provider
from cnpg_plugin_operator.cluster import kinds, secrets
from cnpg_plugin_operator.cluster.cert_manager import is_behind
from cnpg_plugin_operator.cluster.client import Client
from cnpg_plugin_operator.cluster.ownership import Live
from cnpg_plugin_operator.cluster.secrets import Secret
from cnpg_plugin_operator.decide.facts.cnpg import Announcement


async def find_all(
    client: Client, plugin: Plugin, live: Live, announcement: Announcement | None
) -> dict[str, Secret | None]:
    """Read the Secrets of a plugin, including those that were announced last."""
    announced = announcement.annotations if announcement else {}
    presented = announced.get(names.cnpg.CLIENT_SECRET, plugin.client_secret)
    trusted = announced.get(names.cnpg.SERVER_SECRET, plugin.server_secret)
    wanted = {*plugin.secrets, presented, trusted}
    if plugin.provider is Provider.CERT_MANAGER and not plugin.has_own_authority:
        # cert-manager signs with it; the plugins trust the root.
        wanted.discard(names.children.CHAIN_INTERMEDIATE)
    signing = plugin.authorities if plugin.provider is Provider.SELF_MANAGED else ()
    reads = (_find(client, plugin, name, live, keys=name in signing) for name in wanted)
    return dict(zip(wanted, await asyncio.gather(*reads), strict=True))


async def _find(
    client: Client, plugin: Plugin, name: str, live: Live, *, keys: bool
) -> Secret | None:
    """Read a Secret of a plugin, at least as new as its Certificate."""
    secret = await find(client, plugin.namespace, name, keys=keys)
    if keys or not is_behind(secret, live.get((kinds.CERTIFICATE.kind, name))):
        return secret
    return await find(client, plugin.namespace, name, keys=True)


async def find(client: Client, namespace: str, name: str, *, keys: bool) -> Secret | None:
    """Read one Secret, or None where it does not exist; without `keys`, these may be missing."""
    if not keys:
        found = await client.find_secret(name, namespace)
        return secrets.read(*found) if found is not None else None
    body = await client.find(kinds.SECRET, name, namespace)
    return secrets.read(body) if body is not None else None
