"""The status of a `CNPGPlugin`: facts beside conditions. It changes only when they change."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from cnpg_plugin_operator.api.conditions import (
    FINAL,
    NOT_YET_REPORTED,
    SUMMED_UP,
    Status,
    Type,
    Verdict,
    summarize,
    yes,
)
from cnpg_plugin_operator.api.times import format_time, read_time
from cnpg_plugin_operator.api.untrusted import Flag, Many, Named, Number, Section, Text, mapping

UNKNOWN: Final = "unknown"
"""Reported for an unknown version of CloudNativePG."""

LEFT_LIMIT: Final = 32
"""Maximum objects of a previous installation that are listed."""

_WORD, _TIME = Text(253), Text(40)
_PAIR: Final = Section({"secretName": _WORD, "notAfter": _TIME, "renewalTime": _TIME})
_OBJECT: Final = Section({"kind": _WORD, "namespace": _WORD, "name": _WORD})
_RESTART: Final = Section(
    {
        "time": _TIME,
        "reason": Text(),
        "revisions": Named(256, limit=128),
        "attempts": Number(),
        "generation": Number(2**53),
        "givenUp": Many(_WORD, 128),
    }
)
_QUARANTINE: Final = Section(
    {"revision": _WORD, "reason": _WORD, "message": Text(), "time": _TIME, "attempts": Number()}
)
_CONDITION: Final = Section(
    {
        "type": Text(316),
        "status": _WORD,
        "reason": Text(),
        "message": Text(),
        "observedGeneration": Number(2**53),
        "lastTransitionTime": _TIME,
    }
)
SECTIONS: Final[Mapping[str, Section]] = {
    "plugin": Section(
        {
            **dict.fromkeys(("name", "version", "displayName", "vendor", "license"), Text(256)),
            "maturity": Text(256),
            "url": Text(),
            "capabilities": Many(Text(256), 32),
        }
    ),
    "certificates": Section({"server": _PAIR, "client": _PAIR}),
    "cnpg": Section(
        {
            "deploymentName": _WORD,
            "version": _WORD,
            "registeredRevision": _WORD,
            "lastRestart": _RESTART,
        }
    ),
    "clusters": Section(
        {
            "using": Number(),
            "unready": Number(),
            "outdated": Number(),
            "blocked": Many(Section({"namespace": _WORD, "name": _WORD}), 10),
        }
    ),
    "takeOver": Section({"serviceName": _WORD, "objects": Many(_OBJECT, LEFT_LIMIT)}),
    "sidecar": Section(
        {
            "observedGeneration": Number(2**53),
            "present": Flag(),
            "revision": _WORD,
            "reverts": Number(),
            "quarantine": _QUARANTINE,
        }
    ),
}
"""What a status may contain beside its conditions. All of it is bounded, less than 128 KiB
together, so that the status can always be written."""

STATUS: Final = Section(
    {"observedGeneration": Number(2**53), "conditions": Many(_CONDITION, 32), **SECTIONS}
)
"""The whole of a status."""

_TIMES: Final = (("cnpg", "lastRestart"), ("sidecar", "quarantine"))
"""Records that are invalid without their time."""


@dataclass(frozen=True, slots=True)
class CertificateStatus:
    """Validity of one certificate."""

    secret: str
    """Name of the Secret that holds it."""
    not_after: datetime
    renewal_time: datetime | None


@dataclass(frozen=True, slots=True)
class CNPGStatus:
    """The CloudNativePG that the plugin is announced to."""

    deployment: str
    version: str
    registered_revision: str


@dataclass(frozen=True, slots=True)
class ClustersStatus:
    """The Clusters that name the plugin."""

    using: int
    unready: int
    outdated: int
    blocked: tuple[Mapping[str, str], ...]
    """Namespace and name of each."""


@dataclass(frozen=True, slots=True)
class TakeOverStatus:
    """What is left of the installation that the plugin takes over."""

    service: str
    objects: tuple[tuple[str, str, str], ...]
    """Kind, namespace and name of each."""


@dataclass(frozen=True, slots=True)
class Report:
    """The results of one pass.

    None keeps the current value: an earlier pass knew it, this one did not evaluate it.
    """

    verdicts: Mapping[Type, Verdict]
    plugin: Mapping[str, Any] | None = None
    """The section that holds what the plugin said of itself."""
    certificates: Mapping[str, CertificateStatus] = field(default_factory=dict)
    """By role: `server`, `client`."""
    cnpg: CNPGStatus | None = None
    clusters: ClustersStatus | None = None
    take_over: TakeOverStatus | None = None
    obsolete: frozenset[str] = frozenset()
    """Sections that no longer apply."""
    kept: frozenset[Type] = frozenset()
    """Conditions that this pass did not evaluate: their last verdicts are repeated."""


class KnownStatus(dict[str, Any]):
    """A status that does not change any more: it is read once, however many passes ask for it."""

    read: Mapping[str, Any] | None = None
    """What `read_status` makes of it, once it was asked for."""


def read_status(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Read the known fields of a resource's status that have the right shape.

    Any client with the right to write it, or an older version of this operator, may have done so.
    """
    status = body.get("status")
    if not isinstance(status, KnownStatus):
        return _read_status(status)
    if status.read is None:
        status.read = _read_status(status)
    return status.read


def _read_status(body: object) -> dict[str, Any]:
    status = STATUS.fit(body) or {}
    for section, record in _TIMES:
        recorded = mapping(status.get(section)).get(record)
        if recorded is not None and read_time(mapping(recorded).get("time")) is None:
            del status[section][record]
    for role, pair in mapping(status.get("certificates")).items():
        times = ("notAfter", "renewalTime")
        kept = {k: v for k, v in pair.items() if k not in times or read_time(v) is not None}
        status["certificates"][role] = kept
    for condition in status.get("conditions", ()):
        if read_time(condition.get("lastTransitionTime")) is None:
            condition.pop("lastTransitionTime", None)
    return status


def own_part(status: object) -> Mapping[str, Any]:
    """Leave out of a status what other writers own: an apply does not remove it.

    These are others' conditions, and what the namespace's pass writes (`api.records`).
    """
    found = {key: value for key, value in mapping(status).items() if key != "sidecar"}
    if "cnpg" in found:
        cnpg = mapping(found["cnpg"])
        found["cnpg"] = {key: value for key, value in cnpg.items() if key != "lastRestart"}
    conditions = found.get("conditions")
    if not isinstance(conditions, list):
        return found
    known = [c for c in conditions if mapping(c).get("type") in tuple(Type)]
    return {**found, "conditions": known}


def build_status(
    previous: Mapping[str, Any], report: Report, *, generation: int, now: datetime
) -> dict[str, Any]:
    """Build the whole status; it equals the previous one if nothing changed.

    `previous` is the result of `read_status`.
    """
    status: dict[str, Any] = {
        "observedGeneration": generation,
        "conditions": merge(
            previous.get("conditions", ()),
            report.verdicts,
            generation=generation,
            now=now,
            kept=report.kept,
        ),
    }
    sections = {
        "plugin": report.plugin,
        "certificates": _certificates(report.certificates),
        "cnpg": _cnpg(report.cnpg),
        "clusters": _clusters(report.clusters),
        "takeOver": _take_over(report.take_over),
    }
    present = own_part(previous)
    for section, value in sections.items():
        kept = value or present.get(section)
        if kept and section not in report.obsolete:
            status[section] = SECTIONS[section].fit(kept)
    return status


def _certificates(certificates: Mapping[str, CertificateStatus]) -> dict[str, Any]:
    section = {}
    for role, certificate in certificates.items():
        times = {"notAfter": certificate.not_after, "renewalTime": certificate.renewal_time}
        section[role] = {
            "secretName": certificate.secret,
            **{key: format_time(value) for key, value in times.items() if value is not None},
        }
    return section


def _cnpg(cnpg: CNPGStatus | None) -> dict[str, Any] | None:
    if cnpg is None:
        return None
    section: dict[str, Any] = {
        "deploymentName": cnpg.deployment,
        "version": cnpg.version or UNKNOWN,
    }
    if cnpg.registered_revision:
        section["registeredRevision"] = cnpg.registered_revision
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


def _take_over(left: TakeOverStatus | None) -> dict[str, Any] | None:
    if left is None:
        return None
    keys = ("kind", "namespace", "name")
    objects = [dict(zip(keys, each, strict=True)) for each in left.objects]
    return {"serviceName": left.service, "objects": objects}


def read_left(status: Mapping[str, Any]) -> tuple[tuple[str, str, str], ...]:
    """Read what was left of a previous installation from a status (as `read_status` gives it)."""
    found = mapping(status.get("takeOver")).get("objects") or ()
    return tuple((e.get("kind", ""), e.get("namespace", ""), e.get("name", "")) for e in found)


def merge(
    previous: Iterable[Mapping[str, Any]],
    verdicts: Mapping[Type, Verdict],
    *,
    generation: int,
    now: datetime,
    kept: Collection[Type] = (),
) -> Sequence[dict[str, Any]]:
    """Write the verdicts as the list of conditions: `Ready`, and after it those that have cause.

    `lastTransitionTime` changes only with the status, as the API conventions require. A type
    without a verdict is `Unknown`, so every type that `Ready` sums up is present from the first
    pass. The conditions in `kept` were not evaluated: they stay unchanged, including their
    generation.
    """
    before = {condition.get("type"): condition for condition in previous}
    complete = {kind: verdicts.get(kind, NOT_YET_REPORTED) for kind in SUMMED_UP}
    complete[Type.READY] = ready = summarize(verdicts)
    if Type.SUSPENDED in verdicts:
        complete[Type.SUSPENDED] = verdicts[Type.SUSPENDED]
    elif ready.status is Status.UNKNOWN:
        complete[Type.RECONCILING] = yes(ready.reason, ready.message)
    elif not ready.is_true and ready.reason in FINAL:
        complete[Type.STALLED] = yes(ready.reason, ready.message)
    stamp = format_time(now)
    return [
        {
            "type": kind.value,
            "status": verdict.status.value,
            "reason": verdict.reason.value,
            "message": verdict.message,
            "observedGeneration": _seen_at(before.get(kind.value), generation, kept=kind in kept),
            "lastTransitionTime": _since(before.get(kind.value), verdict, stamp),
        }
        for kind, verdict in complete.items()
    ]


def _seen_at(before: Mapping[str, Any] | None, generation: int, *, kept: bool) -> int:
    """Return the generation that a condition describes."""
    return int((before or {}).get("observedGeneration", generation)) if kept else generation


def _since(before: Mapping[str, Any] | None, verdict: Verdict, stamp: str) -> str:
    """Return the time of the last transition, which is now if the status changed."""
    if before is not None and before.get("status") == verdict.status.value:
        return str(before.get("lastTransitionTime", stamp))
    return stamp
