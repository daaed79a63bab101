"""Whether Clusters report the plugin's current identity, and what to do where they do not.

CloudNativePG keeps the name, version and capabilities of a plugin as long as its gRPC channel
reconnects (internal/cnpi/plugin/connection, all versions; plugin-barman-cloud #584), and writes
them to a Cluster only when it reconciles that Cluster. A touched Service makes it rebuild the
channel; an annotated Cluster makes it reconcile.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from cnpg_plugin_operator.decide.facts.cnpg import (
    Announcement,
    ClusterFacts,
    PluginStatusFacts,
)
from cnpg_plugin_operator.decide.facts.cnpg_versions import follows_rollouts, parse_version
from cnpg_plugin_operator.decide.facts.plugin import Identity

STALE_GRACE: Final = timedelta(seconds=30)
"""How long after an announcement a Cluster may still show the previous state: CloudNativePG 1.30.0
requeues a Cluster with a failing plugin every 10 s."""

REBUILD_TIME: Final = timedelta(seconds=5)
"""How long CloudNativePG may take to rebuild its connection before Clusters are nudged."""

ANOTHER_IDENTITY: Final = "Clusters show another version: "
"""Prefix of the reason of a touch for a changed identity."""

NAMED_CLUSTERS: Final = 3
"""Maximum number of Clusters that a message names."""


def is_current(shown: PluginStatusFacts, identity: Identity | None) -> bool:
    """Whether a Cluster shows the version and the capabilities of the last handshake.

    CloudNativePG writes a capability that it does not know as its number.
    """
    if identity is None:
        return True
    known = {c.removeprefix("TYPE_") for c in shown.capabilities if not c.isdigit()}
    numbers = sum(c.isdigit() for c in shown.capabilities)
    missing = set(identity.capabilities) - known
    agree = known <= set(identity.capabilities) and len(missing) == numbers
    return shown.version == identity.version and agree


def find_outdated(
    clusters: Iterable[ClusterFacts], identity: Identity | None
) -> tuple[ClusterFacts, ...]:
    """Return the Clusters that show another identity than the plugin's."""
    return tuple(
        cluster
        for cluster in clusters
        if cluster.plugin_status is not None and not is_current(cluster.plugin_status, identity)
    )


def describe_report(clusters: Iterable[ClusterFacts], identity: Identity | None) -> str:
    """Name a Cluster that shows the identity of the last handshake; empty where none does.

    CloudNativePG has then really called that plugin.
    """
    for cluster in clusters:
        shown = cluster.plugin_status
        if shown is not None and is_current(shown, identity):
            where = f"{cluster.namespace}/{cluster.name}"
            return f"Cluster {where} reports version {shown.version} of the plugin."
    return ""


def describe_blocked(clusters: Iterable[ClusterFacts]) -> str:
    """Name the Clusters that are not reconciled because of the plugin; empty for none."""
    blocked = [cluster for cluster in clusters if cluster.blocked]
    if not blocked:
        return ""
    return f" Not reconciled because of it: {list_names(blocked)} ({blocked[0].phase.rstrip('.')})."


def choose_nudged(
    clusters: Iterable[ClusterFacts],
    identity: Identity | None,
    announcement: Announcement,
    version: str,
    now: datetime,
) -> tuple[ClusterFacts, ...]:
    """Return the Clusters to annotate, each once per announcement, so that CNPG reconciles them.

    Where CloudNativePG follows a plugin's rollout by itself, these are the ones that still lag;
    elsewhere all that are older, because a new image may inject something else into their pods.
    """
    waited, known = now - announcement.last_announced_at, parse_version(version)
    if waited < REBUILD_TIME:
        return ()
    follows = known is not None and follows_rollouts(known)
    users = tuple(clusters)
    lagging = find_outdated(users, identity)
    return tuple(
        cluster
        for cluster in users
        if cluster.nudged != nudge_token(announcement) and _was_there(cluster, announcement)
        if (waited >= STALE_GRACE and cluster in lagging) or (not follows and not cluster.blocked)
    )


def nudge_token(announcement: Announcement) -> str:
    """Identify an announcement, as far as Clusters may show another identity after it."""
    touch = announcement.touch
    if touch is None or not touch.reason.startswith(ANOTHER_IDENTITY):
        return announcement.revision
    return f"{announcement.revision}-{touch.reason.removeprefix(ANOTHER_IDENTITY)}"


def _was_there(cluster: ClusterFacts, announcement: Announcement) -> bool:
    """Whether a Cluster used the plugin before its present announcement."""
    created = cluster.created
    return (
        cluster.plugin_status is not None
        and created is not None
        and created < announcement.last_announced_at
    )


def list_names(clusters: Iterable[ClusterFacts]) -> str:
    """Name the first few Clusters."""
    named = [f"{cluster.namespace}/{cluster.name}" for cluster in clusters]
    more = len(named) - NAMED_CLUSTERS
    return ", ".join(named[:NAMED_CLUSTERS]) + (f" and {more} more" if more > 0 else "")
