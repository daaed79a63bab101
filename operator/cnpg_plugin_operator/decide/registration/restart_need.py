"""Whether and why CloudNativePG has to restart for a plugin: facts and versions, no timing.

Sources: CloudNativePG's tags 1.24.0 to 1.30.0, internal/controller/plugin_controller.go and
internal/cnpi/plugin/repository; pull requests #5106, #7029.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

from cnpg_plugin_operator.api.spec import RestartPolicy
from cnpg_plugin_operator.decide import first
from cnpg_plugin_operator.decide.facts.cnpg import (
    Announcement,
    ClusterFacts,
    CNPGEvent,
    CNPGFacts,
)
from cnpg_plugin_operator.decide.facts.cnpg_versions import discovers, parse_version, reregisters
from cnpg_plugin_operator.decide.facts.plugin import Identity
from cnpg_plugin_operator.decide.registration.cluster_reports import (
    STALE_GRACE,
    find_outdated,
    list_names,
)

DISCOVERY_GRACE: Final = timedelta(seconds=30)
"""How long a CloudNativePG of unknown version may take to report a plugin. Right after its own
start it needs about 10 s (1.30.0)."""

CLOSED_POOL: Final = "closed pool"
"""The error that 1.24.0 to 1.24.3 and 1.25.0 to 1.25.1 repeat forever after they dropped a plugin
but kept its closed connections (internal/cnpi/plugin/repository/setup.go)."""


@dataclass(frozen=True, slots=True)
class RegistrationInput:
    """What is known of one announced plugin."""

    name: str
    """Name of the `CNPGPlugin`."""
    service: str
    """Name of its Service."""
    policy: RestartPolicy
    announcement: Announcement
    cnpg: CNPGFacts
    event: CNPGEvent | None
    """CloudNativePG's newest Event on the Service."""
    clusters: tuple[ClusterFacts, ...]
    """The Clusters that use the plugin."""
    registered_revision: str
    """The revision that the status already reports as registered."""
    now: datetime
    identity: Identity | None = None
    """The plugin's identity at the last handshake."""

    @property
    def is_known(self) -> bool:
        """Whether this revision was registered before. A new leader reads it again by itself."""
        return self.registered_revision == self.announcement.revision

    @property
    def was_requested(self) -> bool:
        """Whether the restart for this revision was requested and is in progress."""
        return is_requested(self.name, self.announcement, self.cnpg)

    @property
    def waiting(self) -> timedelta:
        """How long CloudNativePG has had since the announcement, or since its leader's start."""
        since = self.announcement.last_announced_at
        if self.cnpg.leader is not None:
            since = max(since, self.cnpg.leader.created)
        return self.now - since


def restart_reason(given: RegistrationInput) -> str | None:
    """Return why CloudNativePG must restart for this plugin; None where it need not."""
    if is_lost(given):
        return f"version {given.cnpg.version} keeps using connections that it has closed"
    if is_covered(given.name, given.announcement, given.cnpg):
        return None
    return first(NEEDS, given)


class Announced(Protocol):
    """An announcement that CloudNativePG's leader may have read."""

    @property
    def revision(self) -> str:
        """The announced revision."""
        ...

    @property
    def announced_at(self) -> datetime:
        """When."""
        ...


def is_covered(name: str, announcement: Announced, cnpg: CNPGFacts) -> bool:
    """Whether CloudNativePG's leader started after the announcement, and so has read it.

    The leader's own annotations show it exactly; after a restart by another party its age does.
    """
    leader = cnpg.leader
    if leader is None:
        return False
    if leader.restarted_for.get(name) == announcement.revision:
        return True
    return leader.created > announcement.announced_at


def is_requested(name: str, announcement: Announcement, cnpg: CNPGFacts) -> bool:
    """Whether a restart for this announcement was requested, and not reverted.

    The Deployment's pod template shows it. Under OLM nothing can be written there; then the record
    that precedes every restart counts.
    """
    if cnpg.restarted_for.get(name) == announcement.revision:
        return True
    recorded = cnpg.record.revisions.get(name) if cnpg.olm and cnpg.record else None
    return recorded == announcement.revision


def is_lost(given: RegistrationInput) -> bool:
    """Whether a leader that has read the plugin no longer uses it; once per announcement."""
    version = parse_version(given.cnpg.version)
    if version is None or reregisters(version) or given.waiting < STALE_GRACE:
        return False
    leader = given.cnpg.leader
    started_for = leader.restarted_for if leader else {}
    disturbed = bool(given.announcement.disturbed)
    broken = any(
        c.blocked and (CLOSED_POOL in c.phase or (disturbed and c.up_to_date))
        for c in given.clusters
    )
    return broken and started_for.get(given.name) != given.announcement.revision


def _wanted_always(given: RegistrationInput) -> str | None:
    """The user requests it."""
    if given.is_known or given.policy is not RestartPolicy.ALWAYS:
        return None
    return "cnpg.restartPolicy is Always and this revision is new to it"


def _keeps_the_connection(given: RegistrationInput) -> str | None:
    """The endpoint has changed, but this version keeps using the one that it read first (#7029)."""
    version = parse_version(given.cnpg.version)
    if given.is_known or version is None or reregisters(version):
        return None
    if given.announcement.changed_at is None:
        return None
    return (
        f"version {given.cnpg.version} keeps the previous connection of a registered plugin until "
        "it is restarted"
    )


def _keeps_the_metadata(given: RegistrationInput) -> str | None:
    """Clusters still show the previous plugin, and no touch of the Service helps."""
    version = parse_version(given.cnpg.version)
    if version is None or reregisters(version) or given.waiting < STALE_GRACE:
        return None
    outdated = find_outdated(given.clusters, given.identity)
    # Only a changed spec counts, because the plugin may change its answers at any time.
    if not outdated or not given.announcement.replaces:
        return None
    return (
        f"version {given.cnpg.version} keeps the plugin's previous answers until it is restarted: "
        f"{list_names(outdated)}"
    )


def _does_not_find(given: RegistrationInput) -> str | None:
    """This version is not known to find plugins by itself, and has not reported any."""
    version = parse_version(given.cnpg.version)
    finds = version is not None and discovers(version)
    overdue = given.now - given.announcement.announced_at >= DISCOVERY_GRACE
    if given.is_known or finds or not overdue or has_proof(given):
        return None
    return f"version {given.cnpg.version or '(unknown)'} has not reported that it found the plugin"


def has_proof(given: RegistrationInput) -> bool:
    """Whether CloudNativePG reported this announcement, in an Event or in a Cluster."""
    event = given.event
    said = (
        event is not None and not event.warning and event.at >= given.announcement.last_announced_at
    )
    return said or any(cluster.plugin_status is not None for cluster in given.clusters)


NEEDS: Final = (
    _wanted_always,
    _keeps_the_connection,
    _keeps_the_metadata,
    _does_not_find,
)
"""In this order: what the user requests, then what the version cannot do by itself."""
