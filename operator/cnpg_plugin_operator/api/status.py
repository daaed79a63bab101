"""The status of a `CNPGPlugin`: facts beside conditions, and nothing that changes by itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from cnpg_plugin_operator.api.conditions import Type, Verdict, merge


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
class CNPGStatus:
    """The CloudNativePG that was told."""

    deployment: str
    version: str
    registered_revision: str
    restarted_at: datetime | None
    restart_reason: str


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
    using: int | None = None
    unready: int | None = None


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
        "cnpg": _cnpg(report.cnpg),
        "clusters": (
            None
            if report.using is None
            else {"using": report.using, "unready": report.unready or 0}
        ),
    }
    for section, value in sections.items():
        kept = value or previous.get(section)
        if kept:
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
            **{key: _text(value) for key, value in times.items() if value is not None},
        }
    return section


def _cnpg(cnpg: CNPGStatus | None) -> dict[str, Any] | None:
    if cnpg is None:
        return None
    section: dict[str, Any] = {"deployment": cnpg.deployment}
    if cnpg.version:
        section["version"] = cnpg.version
    if cnpg.registered_revision:
        section["registeredRevision"] = cnpg.registered_revision
    if cnpg.restarted_at is not None:
        section["lastRestart"] = {
            "time": _text(cnpg.restarted_at),
            "reason": cnpg.restart_reason,
        }
    return section


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
