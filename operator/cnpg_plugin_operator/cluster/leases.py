"""Leases that plugins hold: two plugins made from one template share a leader-election name.

Then only one of them ever serves, and the other waits without a word that anybody would see
(plugin-barman-cloud #395: `822e3f5c.cnpg.io`, copied into several plugins).
"""

from cnpg_plugin_operator import names
from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.cluster.addresses import label_selector
from cnpg_plugin_operator.cluster.client import Client


async def find_rival_leases(client: Client, namespace: str, plugin: str) -> list[tuple[str, str]]:
    """Find Leases that other plugins' pods hold: the Lease and the `CNPGPlugin` of its holder."""
    pods = await client.list(kinds.POD, namespace, labels=label_selector({}, names.LABEL_PLUGIN))
    owners = {
        body["metadata"]["name"]: body["metadata"]["labels"][names.LABEL_PLUGIN] for body in pods
    }
    found = []
    for lease in await client.list(kinds.LEASE, namespace):
        holder = str((lease.get("spec") or {}).get("holderIdentity") or "").partition("_")[0]
        if owners.get(holder, plugin) != plugin:
            found.append((lease["metadata"]["name"], owners[holder]))
    return sorted(found)
