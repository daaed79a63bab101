"""Why CloudNativePG has to be restarted for a plugin, if it has: facts and versions, no timing.

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
"""How long a CloudNativePG of unknown version may take to show that it found a plugin. Right after
its own start it needs about 10 s (1.30.0)."""

CLOSED_POOL: Final = "closed pool"
"""What 1.24.0 to 1.24.3 and 1.25.0 to 1.25.1 say for ever after an error made them forget a plugin
whose closed connections they keep (internal/cnpi/plugin/repository/setup.go)."""


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
    """The revision that the status already calls registered."""
    now: datetime
    identity: Identity | None = None
    """What the plugin said of itself at the last handshake."""

    @property
    def is_known(self) -> bool:
        """Whether this revision was seen registered. A new leader reads it again by itself."""
        return self.registered_revision == self.announcement.revision

    @property
    def was_asked(self) -> bool:
        """Whether the restart for this revision was asked for and is under way."""
        return is_asked(self.name, self.announcement, self.cnpg)

    @property
    def waiting(self) -> timedelta:
        """How long CloudNativePG has had: since it was told last, or its leader's start."""
        since = self.announcement.told_at
        if self.cnpg.leader is not None:
            since = max(since, self.cnpg.leader.created)
        return self.now - since


def restart_reason(given: RegistrationInput) -> str | None:
    """Say why CloudNativePG must be restarted for this plugin, or None where it need not be."""
    if insists(given):
        return f"version {given.cnpg.version} goes on using connections that it has closed"
    if is_covered(given.name, given.announcement, given.cnpg):
        return None
    return first(NEEDS, given)


class Announced(Protocol):
    """Something that CloudNativePG's leader may have read."""

    @property
    def revision(self) -> str:
        """What was announced."""
        ...

    @property
    def announced_at(self) -> datetime:
        """When."""
        ...


def is_covered(name: str, announcement: Announced, cnpg: CNPGFacts) -> bool:
    """Whether CloudNativePG's leader started after the announcement, hence has read it.

    The leader's own annotations say so exactly; its age says so after a restart by another party.
    """
    leader = cnpg.leader
    if leader is None:
        return False
    if leader.restarted_for.get(name) == announcement.revision:
        return True
    return leader.created > announcement.announced_at


def is_asked(name: str, announcement: Announcement, cnpg: CNPGFacts) -> bool:
    """Whether a restart for this announcement was requested, and not reverted.

    The Deployment's pod template says so. Under OLM nothing can be written there; then the note
    that precedes every restart counts.
    """
    if cnpg.restarted_for.get(name) == announcement.revision:
        return True
    noted = cnpg.record.revisions.get(name) if cnpg.olm and cnpg.record else None
    return noted == announcement.revision


def insists(given: RegistrationInput) -> bool:
    """Whether a leader that did read the plugin has spoiled it since; once for an announcement."""
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
    """The user asks for it."""
    if given.is_known or given.policy is not RestartPolicy.ALWAYS:
        return None
    return "restartPolicy is Always and this revision is new to it"


def _keeps_the_connection(given: RegistrationInput) -> str | None:
    """What it dials has changed, but it goes on with what it read first (#7029)."""
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
    # Only a spec that changed counts: the plugin may say something else at any time.
    if not outdated or not given.announcement.replaces:
        return None
    return (
        f"version {given.cnpg.version} keeps what the plugin said before until it is restarted: "
        f"{list_names(outdated)}"
    )


def _does_not_find(given: RegistrationInput) -> str | None:
    """It is not known to find plugins by itself, and gave no sign of it."""
    version = parse_version(given.cnpg.version)
    finds = version is not None and discovers(version)
    overdue = given.now - given.announcement.announced_at >= DISCOVERY_GRACE
    if given.is_known or finds or not overdue or has_proof(given):
        return None
    return f"version {given.cnpg.version or '(unknown)'} gave no sign of finding the plugin"


def has_proof(given: RegistrationInput) -> bool:
    """Whether CloudNativePG said something of this announcement, or a Cluster reports it."""
    event = given.event
    said = event is not None and not event.warning and event.at >= given.announcement.told_at
    return said or any(cluster.plugin_status is not None for cluster in given.clusters)


NEEDS: Final = (
    _wanted_always,
    _keeps_the_connection,
    _keeps_the_metadata,
    _does_not_find,
)
"""In order: what the user wants, then what the version cannot do by itself."""
