"""A change of a plugin's pods on its way to CloudNativePG: held, told of, or simply made."""

from collections.abc import Mapping
from typing import Any, Final

from cnpg_plugin_operator.api.conditions import Verdict
from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.cluster.gather import Snapshot
from cnpg_plugin_operator.decide.upgrading import UpgradeInput, announce_upgrade, decide_upgrade
from cnpg_plugin_operator.desired.objects import Object

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
