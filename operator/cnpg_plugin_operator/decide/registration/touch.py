"""When the Service is touched: changed once more, so that CloudNativePG registers it again.

CloudNativePG keeps one entry for a plugin's name. Another Service with that name replaces the
entry, and its deletion removes it; nothing registers the first Service again until that one changes
(internal/controller/plugin_controller.go, 1.24.4 to 1.30.1). A touch costs CloudNativePG one new
connection, so each needs its own reason, and the same reason counts at growing intervals.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from cnpg_plugin_operator.api.times import display_time, format_time
from cnpg_plugin_operator.decide import first
from cnpg_plugin_operator.decide.facts.cnpg import (
    Announcement,
    ClusterFacts,
    CNPGEvent,
    CNPGFacts,
    Touch,
)
from cnpg_plugin_operator.decide.facts.cnpg_versions import (
    parse_version,
    remembers_services,
    reregisters,
)
from cnpg_plugin_operator.decide.facts.plugin import ForeignObject, Identity
from cnpg_plugin_operator.decide.registration.cluster_reports import (
    ANOTHER_IDENTITY,
    STALE_GRACE,
    find_outdated,
)
from cnpg_plugin_operator.desired.objects import digest

TOUCH_GRACE: Final = timedelta(seconds=30)
"""How long Clusters may stay blocked after a touch: CloudNativePG registers within a second or two,
and reconciles a blocked Cluster every 10 s (1.24.0 to 1.30.1)."""

LAST_PAUSE: Final = timedelta(hours=1)
"""Longest pause between two touches for Clusters that stay blocked; the first is `TOUCH_GRACE`, and
each is twice as long as the one before."""

NEW_EPISODE: Final = timedelta(hours=6)
"""Time after which blocked Clusters count as a new reason."""

IDENTITY_PAUSE: Final = timedelta(minutes=10)
"""Pause between two touches for a changed identity, because a plugin may change it at any time."""

RECORD_LIMIT: Final = 500
"""Maximum characters of a record that names other Services."""

BLOCKED: Final = "Clusters are blocked"


@dataclass(frozen=True, slots=True)
class TouchInput:
    """The input of the decision: a proven plugin, and no other Service has its name."""

    live: Announcement
    cnpg: CNPGFacts
    clusters: tuple[ClusterFacts, ...]
    """The Clusters that use the plugin."""
    identity: Identity | None
    rival: CNPGEvent | None
    """CloudNativePG's last Event about the plugin's name, if it is on another Service."""
    now: datetime


def decide_touch(given: TouchInput, revision: str) -> Touch | None:
    """Decide whether to touch the Service now; `revision` is the one to announce."""
    version = parse_version(given.cnpg.version)
    if given.live.revision != revision or (version is not None and not reregisters(version)):
        # A new revision changes the Service anyway; other versions ignore the change.
        return None
    if given.live.touch is not None and given.live.touch.at > given.now:
        # A clock was ahead.
        given = replace(given, live=replace(given.live, touch=None))
    reason = first(CHECKS, given)
    if reason is None:
        return None
    times = _count(given, reason) + 1
    return Touch(given.now.replace(microsecond=0), reason, times)


def is_disturbed(live: Announcement) -> bool:
    """Whether another Service was recorded and the Service has not been touched since."""
    return bool(live.disturbed) and (live.touch is None or live.touch.reason != live.disturbed)


def record_rivals(
    live: Announcement | None, foreign: Iterable[ForeignObject], now: datetime
) -> str | None:
    """Return the record of other Services with the plugin's name, or None.

    One record is enough until the Service is touched for it.
    """
    return _record(live, [f"{each.name} ({each.uid})" for each in foreign if each.published], now)


def record_end(
    live: Announcement | None, previous: Iterable[str], version: str, now: datetime
) -> str | None:
    """Return the record of the plugin's previous Services, which are about to be deleted, or None.

    CloudNativePG forgets the plugin then. Where it says so in an Event, no record is needed.
    """
    known = parse_version(version)
    return _record(live, previous, now) if known and remembers_services(known) else None


def _record(live: Announcement | None, services: Iterable[str], now: datetime) -> str | None:
    named = ", ".join(sorted(services))
    if live is None or not named or is_disturbed(live):
        return None
    return f"Service {named[:RECORD_LIMIT]} at {format_time(now)}"


def describe_touch(touch: Touch) -> str:
    """Return the reason of the last touch."""
    return f"{touch.reason}, {display_time(touch.at)}"


def find_blocked(clusters: Iterable[ClusterFacts]) -> tuple[ClusterFacts, ...]:
    """Return the Clusters that the plugin certainly blocks now."""
    return tuple(cluster for cluster in clusters if cluster.blocked and cluster.up_to_date)


def _recorded(given: TouchInput) -> str | None:
    """Another Service had the plugin's name and no longer has it."""
    return given.live.disturbed if is_disturbed(given.live) else None


def _said(given: TouchInput) -> str | None:
    """CloudNativePG's last Event about the plugin's name is on another Service."""
    live, rival = given.live, given.rival
    if rival is None or rival.at < live.announced_at:
        return None
    reason = f"Event {rival.number} about Service {rival.service}"
    return None if live.touch is not None and live.touch.reason == reason else reason


def _blocking(given: TouchInput) -> str | None:
    """The plugin blocks Clusters although it answers."""
    blocked = [cluster for cluster in given.clusters if cluster.blocked]
    times, leader = _count(given, BLOCKED), given.cnpg.leader
    if not blocked or leader is None or (times and not find_blocked(blocked)):
        return None
    since = max(given.live.last_announced_at, leader.since or leader.created)
    pause = min(TOUCH_GRACE * (1 << max(min(times, 16) - 1, 0)), LAST_PAUSE)
    return BLOCKED if given.now - since >= pause else None


def _outdated(given: TouchInput) -> str | None:
    """Clusters show another identity than the plugin's present one."""
    if given.identity is None or parse_version(given.cnpg.version) is None:
        return None
    if not find_outdated(given.clusters, given.identity):
        return None
    live, reason = given.live, f"{ANOTHER_IDENTITY}{digest(asdict(given.identity))}"
    if given.now - live.last_announced_at < STALE_GRACE:
        return None
    if live.touch is not None and live.touch.reason.startswith(ANOTHER_IDENTITY):
        again = live.touch.reason == reason
        return None if again or given.now - live.touch.at < IDENTITY_PAUSE else reason
    return reason


CHECKS: Final = (_recorded, _said, _blocking, _outdated)
"""In this order: certain reasons first."""


def _count(given: TouchInput, reason: str) -> int:
    """Count the consecutive touches for one reason."""
    touch = given.live.touch
    if touch is None or touch.reason != reason or given.now - touch.at >= NEW_EPISODE:
        return 0
    return touch.times
