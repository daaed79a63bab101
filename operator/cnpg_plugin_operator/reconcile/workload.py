"""Available: what a pass plans for the plugin's pods, and how it judges them.

A change that reaches CloudNativePG waits for approval, is reported, or is simply made.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

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


def plan_availability(given: WorkloadInput) -> Plan:
    """Judge the pods."""
    # Its controller reacts to any change of it, even of an annotation, within a moment.
    looks = () if given.facts.up_to_date else (given.now + MOMENT,)
    return Plan(decide_workload(given), looks=looks)
