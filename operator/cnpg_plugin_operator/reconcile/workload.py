"""Available: what a pass plans for the plugin's pods, and how it judges them.

A change that reaches CloudNativePG waits for approval, is reported, or is simply made; and a
running plugin may not listen because another one holds the Lease that it waits for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from cnpg_plugin_operator.api.conditions import Reason
from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.cluster.snapshot import Snapshot
from cnpg_plugin_operator.decide.workload.upgrade import (
    UpgradeInput,
    announce_upgrade,
    decide_upgrade,
)
from cnpg_plugin_operator.decide.workload.workload import WorkloadInput, decide_workload
from cnpg_plugin_operator.desired.objects import Object
from cnpg_plugin_operator.reconcile.stages import Plan
from cnpg_plugin_operator.reconcile.writes import Apply, RecordEvent

EVENT_REASON: Final = "UpgradingPlugin"
"""Reason of the Event about a change which may roll databases."""

MOMENT: Final = timedelta(seconds=0.5)
"""Time within which the cluster's own controllers react to a change."""


def read_upgrade(
    plugin: Plugin, status: Mapping[str, Any], seen: Snapshot, wanted: Object, *, published: bool
) -> UpgradeInput:
    """Give the facts that decide whether the plugin's pods may change now."""
    reported = (status.get("plugin") or {}).get("capabilities") or ()
    return UpgradeInput(
        plugin=plugin,
        wanted=wanted,
        live=seen.live.get(("Deployment", plugin.name)),
        published=published,
        clusters=seen.clusters,
        capabilities=frozenset(reported),
        approval=seen.approval,
    )


def plan_workload(given: UpgradeInput, objects: Sequence[Object]) -> Plan:
    """Plan the objects that the plugin runs as, the Deployment last, unless the change is held.

    Without its Service the plugin cannot be reached at all; then no change is blocked.
    """
    blocking = decide_upgrade(given)
    if blocking is not None:
        return Plan(blocking)
    telling = announce_upgrade(given)
    reported = (RecordEvent(given.plugin, EVENT_REASON, telling),) if telling else ()
    return Plan(writes=(*map(Apply, objects), Apply(dict(given.wanted)), *reported))


def plan_availability(given: WorkloadInput, rivals: Sequence[tuple[str, str]]) -> Plan:
    """Judge the pods.

    `rivals` are the Leases that pods of other plugins hold, where this one does not listen.
    """
    verdict = decide_workload(given)
    if rivals:
        named = ", ".join(f"Lease {lease} (held by CNPGPlugin {owner})" for lease, owner in rivals)
        message = (
            f"{verdict.message} Plugins made from one template often share their leader "
            f"election's Lease, and only its holder listens: {named}."
        )
        verdict = replace(verdict, message=message)
    # Its controller reacts to any change of it, even of an annotation, within a moment.
    return Plan(verdict, looks=() if given.facts.up_to_date else (given.now + MOMENT,))


def is_silent(given: WorkloadInput) -> bool:
    """Whether the plugin runs and serves nothing."""
    return decide_workload(given).reason is Reason.NOT_LISTENING
