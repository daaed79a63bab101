"""CloudNativePG's Clusters: which use a plugin, what they report about it, which are busy.

Phases are compared as text: CloudNativePG has no other field for them (api/v1/cluster_types.go,
1.24.0 to 1.30.0).
"""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from cnpg_plugin_operator import errors, names
from cnpg_plugin_operator.api.times import read_time
from cnpg_plugin_operator.api.untrusted import objects
from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.cluster.client import Client
from cnpg_plugin_operator.cluster.scope import Places
from cnpg_plugin_operator.decide.facts.cnpg import ClusterFacts, PluginStatusFacts, plugins_of

HEALTHY_PHASE: Final = "Cluster in healthy state"
"""`status.phase` of a Cluster that CloudNativePG has fully reconciled (1.24 to 1.30)."""

BUSY_PHASES: Final = frozenset(
    {
        "Failing over",
        "Switchover in progress",
        "Promoting to primary cluster",
        "Upgrading cluster",
        "Upgrading Postgres major version",
        "Online upgrade in progress",
        "Primary instance is being restarted in-place",
        "Primary instance is being restarted without a switchover",
    }
)
"""Phases of an operation that should not lose CloudNativePG's leader."""

BLOCKED_PHASES: Final = (
    "Unknown plugin",
    "Cluster cannot proceed to reconciliation due to an unknown plugin being required",
    "Cluster cannot proceed to reconciliation due to an error while interacting with plugins",
)
"""Prefixes of the phases in which a plugin blocks the reconciliation of a Cluster: 1.24, since
1.25, since 1.27."""

NUDGES: Final = names.annotations.nudge("")
"""Begins the annotations by which this operator has Clusters looked at."""


@dataclass(frozen=True, slots=True)
class ClusterRecord:
    """What decisions use of a Cluster, whichever plugin they are about: 1 KB instead of 7 to 40.

    Two records are equal where nothing that counts has changed. Of a Cluster without plugins only
    its activity counts.
    """

    namespace: str
    name: str
    plugins: tuple[str, ...] = ()
    """The plugins that it uses."""
    activity: str = ""
    """What it does that should not lose CloudNativePG's leader, or empty."""
    phase: str = ""
    reason: str = ""
    """`status.phaseReason`"""
    reported: tuple[PluginStatusFacts, ...] = ()
    """What it reports about the plugins that it uses."""
    created: datetime | None = None
    nudges: tuple[tuple[str, str], ...] = ()
    """The annotations by which this operator had it looked at."""
    up_to_date: bool = True


def project_cluster(body: Mapping[str, Any]) -> ClusterRecord:
    """Keep what counts of a Cluster; strings that many Clusters share are kept once."""
    metadata, spec, status = body["metadata"], body.get("spec") or {}, body.get("status") or {}
    namespace, name = sys.intern(metadata["namespace"]), metadata["name"]
    activity, used = sys.intern(_activity(status)), sorted(map(sys.intern, plugins_of(spec)))
    if not used:
        return ClusterRecord(namespace, name, activity=activity)
    reported = objects(status.get("pluginStatus"))
    annotations = metadata.get("annotations") or {}
    return ClusterRecord(
        namespace=namespace,
        name=name,
        plugins=tuple(used),
        activity=activity,
        phase=sys.intern(str(status.get("phase") or "")),
        reason=str(status.get("phaseReason") or ""),
        reported=tuple(_read_plugin_status(p) for p in reported if p.get("name") in used),
        created=read_time(metadata.get("creationTimestamp")),
        nudges=tuple(sorted(each for each in annotations.items() if each[0].startswith(NUDGES))),
        up_to_date=not status.get("instances") or bool(status.get("readyInstances")),
    )


def find_concerned(before: ClusterRecord | None, after: ClusterRecord | None) -> frozenset[str]:
    """Name the plugins to which a change of a Cluster matters."""
    if before is None or after is None or _without_reports(before) != _without_reports(after):
        return frozenset(name for each in (before, after) if each for name in each.plugins)
    return frozenset(each.name for each in {*before.reported} ^ {*after.reported})


def _without_reports(record: ClusterRecord) -> ClusterRecord:
    return replace(record, reported=())


def read_clusters(
    records: Iterable[ClusterRecord], plugin_name: str, name: str = ""
) -> tuple[ClusterFacts, ...]:
    """Read the Clusters that use a plugin; `name` is that of its resource."""
    return tuple(
        _read_cluster(record, plugin_name, name)
        for record in records
        if plugin_name in record.plugins
    )


async def list_clusters(
    client: Client, places: Places, plugin_name: str, name: str
) -> tuple[ClusterFacts, ...]:
    """List the Clusters that use a plugin; empty where CloudNativePG's kinds are not served."""
    found: list[ClusterFacts] = []
    try:
        for place in places:
            async for page in client.pages(kinds.CLUSTER, place):
                found += read_clusters(map(project_cluster, page.bodies), plugin_name, name)
    except errors.KindMissingError:
        return ()
    return tuple(found)


def _read_cluster(record: ClusterRecord, plugin_name: str, name: str) -> ClusterFacts:
    return ClusterFacts(
        namespace=record.namespace,
        name=record.name,
        healthy=record.phase == HEALTHY_PHASE,
        phase=": ".join(filter(None, (record.phase, record.reason))),
        plugin_status=next((each for each in record.reported if each.name == plugin_name), None),
        created=record.created,
        nudged=dict(record.nudges).get(names.annotations.nudge(name), ""),
        blocked=_is_blocked(record, plugin_name),
        up_to_date=record.up_to_date,
    )


def _read_plugin_status(reported: Mapping[str, Any]) -> PluginStatusFacts:
    capabilities = reported.get("capabilities")
    listed = capabilities if isinstance(capabilities, list) else ()
    return PluginStatusFacts(
        name=sys.intern(str(reported.get("name", ""))),
        version=sys.intern(str(reported.get("version", ""))),
        capabilities=tuple(sys.intern(str(each)) for each in listed),
    )


def _is_blocked(record: ClusterRecord, plugin_name: str) -> bool:
    """Whether a plugin blocks the reconciliation of a Cluster, and no other plugin is named."""
    if not record.phase.startswith(BLOCKED_PHASES):
        return False
    return not any(other in record.reason for other in record.plugins if other != plugin_name)


def name_busy(records: Iterable[ClusterRecord], watched: tuple[str, ...] = ()) -> list[str]:
    """List the Clusters that are failing over, switching over or upgrading, with their phases.

    Clusters that CloudNativePG does not watch are left out. So are Clusters that a plugin blocks:
    they cannot continue by themselves, and a restart may be what they need.
    """
    return sorted(
        f"{record.namespace}/{record.name} ({record.activity})"
        for record in records
        if record.activity and (not watched or record.namespace in watched)
    )


def _activity(status: Mapping[str, Any]) -> str:
    phase = str(status.get("phase") or "")
    current, target = status.get("currentPrimary"), status.get("targetPrimary")
    if phase.startswith(BLOCKED_PHASES):
        return ""
    if phase in BUSY_PHASES:
        return phase
    # During a failover the target is first "pending". Before the first primary there is no
    # current one to change from.
    moving = bool(current) and current != target
    return f"its primary changes from {current} to {target}" if moving else ""
