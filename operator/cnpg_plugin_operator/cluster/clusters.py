"""CloudNativePG's Clusters: which use a plugin, what they report about it, which are busy.

Phases are compared as text: CloudNativePG has no other field for them (api/v1/cluster_types.go,
1.24.0 to 1.30.0).
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from cnpg_plugin_operator import errors, names
from cnpg_plugin_operator.api.times import read_time
from cnpg_plugin_operator.api.untrusted import mapping, objects
from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.cluster.client import Client
from cnpg_plugin_operator.decide.facts.cnpg import ClusterFacts, PluginStatusFacts

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


async def list_clusters(client: Client) -> list[dict[str, Any]]:
    """Read all Clusters of all namespaces; empty where CloudNativePG's kinds are not served."""
    try:
        return await client.list(kinds.CLUSTER)
    except errors.KindMissingError:
        return []


def read_clusters(
    bodies: Iterable[Mapping[str, Any]], plugin_name: str, name: str = ""
) -> tuple[ClusterFacts, ...]:
    """Read the Clusters that use a plugin; `name` is that of its resource."""
    found = (read_cluster(body, plugin_name, name) for body in bodies)
    return tuple(facts for facts in found if facts is not None)


def read_cluster(body: Mapping[str, Any], plugin_name: str, name: str = "") -> ClusterFacts | None:
    """Read a Cluster, or None where it does not use the plugin."""
    metadata, spec, status = body["metadata"], body.get("spec") or {}, body.get("status") or {}
    used = plugins_of(spec)
    if plugin_name not in used:
        return None
    reported = next(
        (p for p in objects(status.get("pluginStatus")) if p.get("name") == plugin_name), None
    )
    annotations = metadata.get("annotations") or {}
    return ClusterFacts(
        namespace=metadata["namespace"],
        name=metadata["name"],
        healthy=status.get("phase") == HEALTHY_PHASE,
        phase=": ".join(str(p) for p in (status.get("phase"), status.get("phaseReason")) if p),
        plugin_status=_read_plugin_status(reported) if reported else None,
        created=read_time(metadata.get("creationTimestamp")),
        nudged=str(annotations.get(names.annotations.nudge(name), "")),
        blocked=_is_blocked(status, used - {plugin_name}),
        up_to_date=not status.get("instances") or bool(status.get("readyInstances")),
    )


def _read_plugin_status(reported: Mapping[str, Any]) -> PluginStatusFacts:
    capabilities = reported.get("capabilities")
    return PluginStatusFacts(
        name=str(reported.get("name", "")),
        version=str(reported.get("version", "")),
        capabilities=tuple(map(str, capabilities if isinstance(capabilities, list) else ())),
    )


def _is_blocked(status: Mapping[str, Any], others: frozenset[str]) -> bool:
    """Whether a plugin blocks the reconciliation of a Cluster, and no other plugin is named."""
    if not str(status.get("phase") or "").startswith(BLOCKED_PHASES):
        return False
    reason = str(status.get("phaseReason") or "")
    return not any(other in reason for other in others)


def plugins_of(spec: Mapping[str, Any]) -> frozenset[str]:
    """Return the plugins that a Cluster uses.

    These are the enabled ones, and those that restore its external clusters.
    """
    used = [p for p in objects(spec.get("plugins")) if p.get("enabled", True)]
    restored = objects(spec.get("externalClusters"))
    used += [mapping(each["plugin"]) for each in restored if each.get("plugin")]
    return frozenset(str(p.get("name", "")) for p in used)


def name_busy(bodies: Iterable[Mapping[str, Any]], watched: tuple[str, ...] = ()) -> list[str]:
    """List the Clusters that are failing over, switching over or upgrading, with their phases.

    Clusters that CloudNativePG does not watch are left out. So are Clusters that a plugin blocks:
    they cannot continue by themselves, and a restart may be what they need.
    """
    return sorted(
        f"{body['metadata']['namespace']}/{body['metadata']['name']} ({doing})"
        for body in bodies
        if not watched or body["metadata"]["namespace"] in watched
        if (doing := _activity(body.get("status") or {}))
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
