"""How CloudNativePG is told of a plugin, whether it knows, and whether it must be restarted.

The cheapest action that works: nothing, a touch of our own Service (CloudNativePG rebuilds its
connection), or a restart. Everything is decided from what the cluster holds: an operator that was
killed at any point neither forgets an announcement nor repeats a restart.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.conditions import Reason, Verdict, no, unknown, yes
from cnpg_plugin_operator.api.spec import RestartPolicy
from cnpg_plugin_operator.decide.expiry import format_time
from cnpg_plugin_operator.decide.facts import (
    Announcement,
    ClusterFacts,
    CNPGEvent,
    CNPGFacts,
)
from cnpg_plugin_operator.decide.versions import (
    discovers,
    parse_version,
    reports_events,
    reregisters,
)

DISCOVERY_GRACE: Final = timedelta(seconds=30)
"""How long a CloudNativePG of unknown version may take to show that it found a plugin. Right after
its own start it needs about 10 s (1.30.0)."""


def announce(
    live: Announcement | None,
    endpoint: Mapping[str, str],
    *,
    endpoint_hash: str,
    revision: str,
    now: datetime,
) -> Mapping[str, str]:
    """Give the annotations of the Service.

    `endpoint` is what CloudNativePG reads. The times stay what they are while the revision is the
    announced one.
    """
    announced_at, changed_at = now, None
    if live is not None:
        announced_at = live.announced_at if live.revision == revision else now
        changed_at = live.changed_at if live.endpoint == endpoint_hash else now
    annotations = {
        **endpoint,
        names.ANNOTATION_REVISION: revision,
        names.ANNOTATION_ENDPOINT: endpoint_hash,
        names.ANNOTATION_ANNOUNCED_AT: format_time(announced_at),
    }
    if changed_at is not None:
        annotations[names.ANNOTATION_CHANGED_AT] = format_time(changed_at)
    return annotations


def keep_announcing(
    live: Announcement, endpoint: Mapping[str, str], endpoint_hash: str
) -> Mapping[str, str]:
    """Give the annotations of a published Service before its plugin is proven again.

    What was announced stays; somebody's edit of it does not. Only while the endpoint itself is
    about to change, nothing better is known than what stands there.
    """
    if live.endpoint != endpoint_hash:
        return live.annotations
    return {**live.annotations, **endpoint}


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


Check = Callable[[RegistrationInput], Verdict | None]
"""A check speaks up or stays silent; the first to speak decides."""


def decide_registration(given: RegistrationInput) -> Verdict:
    """Judge whether CloudNativePG uses the announced revision."""
    return next(verdict for check in CHECKS if (verdict := check(given)) is not None)


def restart_reason(given: RegistrationInput) -> str | None:
    """Say why CloudNativePG must be restarted for this plugin, or None where it need not be."""
    if _is_known(given) or is_covered(given.name, given.announcement, given.cnpg):
        return None
    if given.policy is RestartPolicy.ALWAYS:
        return "restartPolicy is Always and this revision is new to it"
    version = parse_version(given.cnpg.version)
    if version is not None and given.announcement.changed_at and not reregisters(version):
        return (
            f"version {given.cnpg.version} keeps the former connection of a registered plugin "
            "until it is restarted"
        )
    overdue = given.now - given.announcement.announced_at >= DISCOVERY_GRACE
    finds = version is not None and discovers(version)
    if overdue and not finds and not _is_proven(given):
        return f"version {given.cnpg.version or '(unknown)'} gave no sign of finding the plugin"
    return None


def is_covered(name: str, announcement: Announcement, cnpg: CNPGFacts) -> bool:
    """Whether CloudNativePG's leader started after the announcement, hence has read it.

    The leader's own annotations say so exactly; its age says so after a restart by somebody else.
    """
    leader = cnpg.leader
    if leader is None:
        return False
    if leader.restarted_for.get(name) == announcement.revision:
        return True
    return leader.created > announcement.announced_at


def _is_proven(given: RegistrationInput) -> bool:
    return _reported_by_cluster(given) is not None or _said_by_event(given) is not None


def _is_known(given: RegistrationInput) -> bool:
    """Whether this revision was seen registered. A new leader reads it again by itself."""
    return given.registered_revision == given.announcement.revision


def _unavailable(given: RegistrationInput) -> Verdict | None:
    """CloudNativePG does not run, or nobody leads; a rollout alone changes nothing."""
    cnpg = given.cnpg
    if not cnpg.available and not cnpg.rolling:
        return no(
            Reason.CNPG_UNAVAILABLE,
            f"Deployment {cnpg.deployment} of CloudNativePG has no available replica.",
        )
    if not _is_known(given) and (cnpg.leader is None or not cnpg.available):
        return unknown(
            Reason.CNPG_UNAVAILABLE,
            f"Deployment {cnpg.deployment} of CloudNativePG has no leader at the moment.",
        )
    return None


def _restart_needed(given: RegistrationInput) -> Verdict | None:
    """Only a restart makes CloudNativePG use this revision."""
    reason = restart_reason(given)
    if reason is None:
        return None
    target = f"Deployment {given.cnpg.deployment}"
    if given.policy is RestartPolicy.NEVER:
        return no(
            Reason.RESTART_FORBIDDEN,
            f"{target} has to be restarted ({reason}), but restartPolicy is Never: "
            f"kubectl rollout restart deployment {given.cnpg.deployment}",
        )
    if given.cnpg.restarted_for.get(given.name) == given.announcement.revision:
        return unknown(Reason.RESTARTING, f"{target} is being restarted: {reason}.")
    return unknown(Reason.RESTART_PENDING, f"{target} will be restarted: {reason}.")


def _rejected(given: RegistrationInput) -> Verdict | None:
    """CloudNativePG says that it could not register the plugin."""
    event = given.event
    if event is not None and event.warning and event.at >= given.announcement.announced_at:
        return no(
            Reason.CNPG_REJECTED,
            f"CloudNativePG refuses Service {given.service}: {event.reason}: {event.message}",
        )
    return None


def _reported_by_cluster(given: RegistrationInput) -> Verdict | None:
    """A Cluster's status lists the plugin: CloudNativePG has really talked to it.

    It may have been before this announcement; where CloudNativePG writes Events, these are waited
    for first.
    """
    version = parse_version(given.cnpg.version)
    eventful = version is not None and reports_events(version)
    if eventful and _waiting(given) < DISCOVERY_GRACE:
        return None
    witness = next((c for c in given.clusters if c.plugin_status is not None), None)
    if witness is None or witness.plugin_status is None:
        return None
    return yes(
        Reason.REGISTERED,
        f"Cluster {witness.namespace}/{witness.name} reports version "
        f"{witness.plugin_status.version} of the plugin.",
    )


def _said_by_event(given: RegistrationInput) -> Verdict | None:
    """CloudNativePG wrote an Event after the announcement."""
    event = given.event
    if event is None or event.warning or event.at < given.announcement.announced_at:
        return None
    return yes(
        Reason.REGISTERED, f"CloudNativePG registered Service {given.service}: {event.reason}."
    )


def _registered_before(given: RegistrationInput) -> Verdict | None:
    """It was seen registered; Events are kept for an hour only."""
    if _is_known(given):
        return yes(Reason.REGISTERED, f"CloudNativePG has registered Service {given.service}.")
    return None


def _silent_version(given: RegistrationInput) -> Verdict | None:
    """This version registers by itself and gives no sign of it."""
    version = parse_version(given.cnpg.version)
    if version is None or not discovers(version) or reports_events(version):
        return None
    return yes(
        Reason.ANNOUNCED,
        f"CloudNativePG {given.cnpg.version} reads Service {given.service} by itself and reports "
        "nothing until a Cluster uses the plugin.",
    )


def _waiting(given: RegistrationInput) -> timedelta:
    """How long CloudNativePG has had: since the announcement, or since its leader started."""
    since = given.announcement.announced_at
    if given.cnpg.leader is not None:
        since = max(since, given.cnpg.leader.created)
    return given.now - since


def _started_later(given: RegistrationInput) -> Verdict | None:
    """CloudNativePG started after the announcement and had time enough; its Events are gone."""
    covered = is_covered(given.name, given.announcement, given.cnpg)
    if not covered or _waiting(given) < DISCOVERY_GRACE:
        return None
    return yes(
        Reason.ANNOUNCED,
        f"CloudNativePG has started since Service {given.service} was published, and read it then.",
    )


def _awaiting(given: RegistrationInput) -> Verdict | None:
    """The Service is published; the rest is CloudNativePG's."""
    hint = (
        f" It has had {DISCOVERY_GRACE.seconds} s: does it watch this namespace (WATCH_NAMESPACE)?"
        if _waiting(given) >= DISCOVERY_GRACE
        else ""
    )
    if given.registered_revision:
        return unknown(
            Reason.REREGISTERING,
            f"Service {given.service} was touched; CloudNativePG has not said yet that it "
            f"rebuilt its connection.{hint}",
        )
    return unknown(
        Reason.AWAITING_REGISTRATION,
        f"Service {given.service} is published; CloudNativePG has not said yet that it took "
        f"it.{hint}",
    )


CHECKS: Final[tuple[Check, ...]] = (
    _unavailable,
    _restart_needed,
    _rejected,
    _said_by_event,
    _reported_by_cluster,
    _registered_before,
    _silent_version,
    _started_later,
    _awaiting,
)
"""In order: what forbids first, then the proofs from the strongest to none."""
