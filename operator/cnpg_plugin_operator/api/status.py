"""The status of a `CNPGPlugin`: facts beside conditions, and nothing that changes by itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from cnpg_plugin_operator.api.conditions import Type, Verdict, merge
from cnpg_plugin_operator.api.sidecar_note import SidecarNote, build_note
from cnpg_plugin_operator.api.times import format_time

UNKNOWN: Final = "unknown"
"""What stands for a version of CloudNativePG that nothing tells."""


@dataclass(frozen=True, slots=True)
class PluginStatus:
    """What the plugin said of itself."""

    name: str
    version: str
    display_name: str
    vendor: str
    license: str
    maturity: str
    url: str
    capabilities: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CertificateStatus:
    """Times of one certificate."""

    secret: str
    """Name of the Secret that holds it."""
    not_after: datetime
    renewal_time: datetime | None


@dataclass(frozen=True, slots=True)
class RestartStatus:
    """A restart of CloudNativePG; one that this resource asked for is noted in full."""

    time: datetime
    reason: str
    revisions: Mapping[str, str] = field(default_factory=dict)
    attempt: int = 0
    generation: int = 0


@dataclass(frozen=True, slots=True)
class CNPGStatus:
    """The CloudNativePG that was told."""

    deployment: str
    version: str
    registered_revision: str
    restart: RestartStatus | None
    """The newest that is known; an older one than stands in the status is not written."""


@dataclass(frozen=True, slots=True)
class ClustersStatus:
    """The Clusters that name the plugin."""

    using: int
    unready: int
    outdated: int
    blocked: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """What one pass found.

    None keeps what is there: an earlier pass knew it, this one did not look.
    """

    verdicts: Mapping[Type, Verdict]
    plugin: PluginStatus | None = None
    certificates: Mapping[str, CertificateStatus] = field(default_factory=dict)
    """By role: `server`, `client`."""
    cnpg: CNPGStatus | None = None
    clusters: ClustersStatus | None = None
    sidecar: SidecarNote | None = None
    obsolete: frozenset[str] = frozenset()
    """Sections that say nothing any more: the plugin runs in another way than it did."""


def build_status(
    previous: Mapping[str, Any], report: Report, *, generation: int, now: datetime
) -> dict[str, Any]:
    """Build the whole status; equal to the previous one where nothing changed in the world."""
    status: dict[str, Any] = {
        "observedGeneration": generation,
        "conditions": merge(_conditions(previous), report.verdicts, generation=generation, now=now),
    }
    sections = {
        "plugin": _plugin(report.plugin),
        "certificates": _certificates(report.certificates),
        "cnpg": _cnpg(report.cnpg, (previous.get("cnpg") or {}).get("lastRestart")),
        "clusters": _clusters(report.clusters),
        "sidecar": build_note(report.sidecar) if report.sidecar is not None else None,
    }
    for section, value in sections.items():
        kept = value or previous.get(section)
        if kept and section not in report.obsolete:
            status[section] = kept
    return status


def _conditions(previous: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    conditions = previous.get("conditions")
    return conditions if isinstance(conditions, list) else ()


def _plugin(plugin: PluginStatus | None) -> dict[str, Any] | None:
    if plugin is None:
        return None
    section = {
        "name": plugin.name,
        "version": plugin.version,
        "displayName": plugin.display_name,
        "vendor": plugin.vendor,
        "license": plugin.license,
        "maturity": plugin.maturity,
        "url": plugin.url,
        "capabilities": list(plugin.capabilities),
    }
    return {key: value for key, value in section.items() if value}


def _certificates(certificates: Mapping[str, CertificateStatus]) -> dict[str, Any]:
    section = {}
    for role, certificate in certificates.items():
        times = {"notAfter": certificate.not_after, "renewalTime": certificate.renewal_time}
        section[role] = {
            "secret": certificate.secret,
            **{key: format_time(value) for key, value in times.items() if value is not None},
        }
    return section


def _cnpg(cnpg: CNPGStatus | None, previous: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if cnpg is None:
        return None
    section: dict[str, Any] = {"deployment": cnpg.deployment, "version": cnpg.version or UNKNOWN}
    if cnpg.registered_revision:
        section["registeredRevision"] = cnpg.registered_revision
    restart = build_restart(cnpg.restart) if cnpg.restart is not None else None
    # The same restart as CloudNativePG's Deployment tells of it knows less than its note, and
    # nothing at all once somebody took its annotations back.
    if previous and (restart is None or str(previous.get("time", "")) >= restart["time"]):
        restart = dict(previous)
    if restart:
        section["lastRestart"] = restart
    return section


def build_restart(restart: RestartStatus) -> dict[str, Any]:
    """Build the section that tells of a restart, and notes it where its revisions are given."""
    section: dict[str, Any] = {"time": format_time(restart.time), "reason": restart.reason}
    if restart.revisions:
        section["revisions"] = dict(sorted(restart.revisions.items()))
        section["attempt"] = restart.attempt
        section["generation"] = restart.generation
    return section


def _clusters(clusters: ClustersStatus | None) -> dict[str, Any] | None:
    if clusters is None:
        return None
    section: dict[str, Any] = {"using": clusters.using, "unready": clusters.unready}
    if clusters.outdated:
        section["outdated"] = clusters.outdated
    if clusters.blocked:
        section["blocked"] = list(clusters.blocked)
    return section
