"""Available: what a pass does about the plugin's pods beside applying the Deployment.

A change on its way to CloudNativePG is held, told of, or simply made; and a plugin that runs may
not listen because another one holds the Lease that it waits for.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from cnpg_plugin_operator.api.conditions import Reason, Verdict
from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.cluster.snapshot import Snapshot
from cnpg_plugin_operator.decide.workload.upgrade import (
    UpgradeInput,
    announce_upgrade,
    decide_upgrade,
)
from cnpg_plugin_operator.desired.objects import Object
from cnpg_plugin_operator.reconcile.environment import Environment

EVENT_REASON: Final = "UpgradingPlugin"
"""Reason of the Event that precedes a change which may roll databases."""


def weigh_upgrade(
    plugin: Plugin,
    status: Mapping[str, Any],
    seen: Snapshot,
    wanted: Object,
    *,
    published: bool,
) -> tuple[Verdict | None, str]:
    """Give the verdict that holds the change, if any does, and what to tell of one that is made.

    Without its Service the plugin cannot be reached at all: then nothing is held.
    """
    told = (status.get("plugin") or {}).get("capabilities") or ()
    given = UpgradeInput(
        plugin=plugin,
        wanted=wanted,
        live=seen.live.get(("Deployment", plugin.name)),
        published=published,
        clusters=seen.clusters,
        capabilities=frozenset(told),
        approval=seen.approval,
    )
    held = decide_upgrade(given)
    return held, "" if held else announce_upgrade(given)


async def explain_silence(env: Environment, plugin: Plugin, verdict: Verdict) -> Verdict:
    """Name the Leases of other plugins where this one runs but serves nothing."""
    if verdict.reason is not Reason.NOT_LISTENING:
        return verdict
    rivals = await env.reader.rival_leases(plugin)
    if not rivals:
        return verdict
    named = ", ".join(f"Lease {lease} (held by CNPGPlugin {owner})" for lease, owner in rivals)
    return replace(
        verdict,
        message=f"{verdict.message} Plugins made from one template often share their leader "
        f"election's Lease, and only its holder listens: {named}.",
    )
