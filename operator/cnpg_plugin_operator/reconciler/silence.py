"""Why a plugin that runs may not listen: another one may hold the Lease that it waits for."""

from dataclasses import replace

from cnpg_plugin_operator.api.conditions import Reason, Verdict
from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.reconciler.tools import Tools


async def explain_silence(tools: Tools, plugin: Plugin, verdict: Verdict) -> Verdict:
    """Name the Leases of other plugins where this one runs but serves nothing."""
    if verdict.reason is not Reason.NOT_LISTENING:
        return verdict
    rivals = await tools.gatherer.rival_leases(plugin)
    if not rivals:
        return verdict
    named = ", ".join(f"Lease {lease} (held by CNPGPlugin {owner})" for lease, owner in rivals)
    return replace(
        verdict,
        message=f"{verdict.message} Plugins made from one template often share their leader "
        f"election's Lease, and only its holder listens: {named}.",
    )
