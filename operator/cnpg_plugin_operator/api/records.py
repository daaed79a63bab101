"""What the namespace's pass records in the status of resources: restarts, and sidecars.

Other managers of CloudNativePG's Deployment may revert what was done there, but they do not write
this status.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from cnpg_plugin_operator.api.conditions import Reason
from cnpg_plugin_operator.api.times import (
    format_time,
    read_recorded_count,
    read_recorded_time,
    read_time,
)
from cnpg_plugin_operator.api.untrusted import mapping, printable

FIRST_ATTEMPT: Final = 1


@dataclass(frozen=True, slots=True)
class RestartRecord:
    """A restart of CloudNativePG, recorded before it is requested; or a roll for sidecars."""

    at: datetime
    revisions: Mapping[str, str] = field(default_factory=dict)
    """What the restart is for: plugin → revision. Empty for a roll."""
    attempts: int = 0
    """The number of restarts for one of these revisions, including this one."""
    generation: int = 0
    """The Deployment's generation before; while it is unchanged, the request was not made."""
    given_up: frozenset[str] = frozenset()
    """Plugins in `revisions` whose own restarts were reverted too often: it is not for them."""
    reason: str = ""
    """Why CloudNativePG is rolled; a restart is for its revisions."""


def read_restart_record(
    status: Mapping[str, Any], deployment: str, now: datetime
) -> RestartRecord | None:
    """Read the record of a Deployment's restart from a status (as `read_status` returns it).

    A roll, which is for no revisions, is only information for users.
    """
    section = mapping(status.get("cnpg"))
    recorded = mapping(section.get("lastRestart"))
    at = read_recorded_time(recorded.get("time"), now)
    revisions = mapping(recorded.get("revisions"))
    if at is None or not revisions or section.get("deploymentName") != deployment:
        return None
    return RestartRecord(
        at=at,
        revisions=revisions,
        attempts=read_recorded_count(recorded.get("attempts"), FIRST_ATTEMPT),
        generation=read_recorded_count(recorded.get("generation")),
        given_up=frozenset(str(name) for name in recorded.get("givenUp") or ()),
    )


def build_restart_record(record: RestartRecord) -> dict[str, Any]:
    """Build the section of the status."""
    reason = record.reason or ", ".join(sorted(record.revisions))
    section: dict[str, Any] = {"time": format_time(record.at), "reason": reason}
    if record.revisions:
        section["revisions"] = dict(sorted(record.revisions.items()))
        section["attempts"] = record.attempts
        section["generation"] = record.generation
    if record.given_up:
        section["givenUp"] = sorted(record.given_up)
    return section


@dataclass(frozen=True, slots=True)
class Quarantine:
    """A sidecar in quarantine: removed because it kept CloudNativePG from starting."""

    revision: str
    reason: Reason
    message: str
    at: datetime
    attempts: int
    """How often this revision alone was removed; 0 after a removal together with others."""

    def __post_init__(self) -> None:
        """Store the message as the status will repeat it."""
        object.__setattr__(self, "message", printable(self.message))


@dataclass(frozen=True, slots=True)
class SidecarRecord:
    """What the operator observed of a sidecar, and did about it."""

    generation: int = 0
    """Generation of the resource when this was recorded."""
    revision: str = ""
    """The newest revision that was observed in CloudNativePG's Deployment."""
    present: bool = False
    """Whether the last pass found the sidecar there."""
    reverts: int = 0
    """How often another writer removed it since the last change of the spec."""
    quarantine: Quarantine | None = None


def read_sidecar_record(status: Mapping[str, Any]) -> SidecarRecord:
    """Read the record from a status (as `read_status` returns it); empty where there is none."""
    section = mapping(status.get("sidecar"))
    return SidecarRecord(
        generation=read_recorded_count(section.get("observedGeneration")),
        revision=str(section.get("revision", "")),
        present=bool(section.get("present")),
        reverts=read_recorded_count(section.get("reverts")),
        quarantine=_read_quarantine(mapping(section.get("quarantine"))),
    )


def _read_quarantine(section: Mapping[str, Any]) -> Quarantine | None:
    at = read_time(section.get("time"))
    if at is None:
        return None
    return Quarantine(
        revision=str(section.get("revision", "")),
        reason=_read_reason(section.get("reason")),
        message=str(section.get("message", "")),
        at=at,
        attempts=read_recorded_count(section.get("attempts"), 1),
    )


def _read_reason(text: object) -> Reason:
    """Read the reason; only a hand-written status contains an unknown one."""
    try:
        return Reason(str(text))
    except ValueError:
        return Reason.CRASH_LOOP


def build_sidecar_record(record: SidecarRecord) -> dict[str, Any]:
    """Build the section of the status."""
    section: dict[str, Any] = {"observedGeneration": record.generation, "present": record.present}
    if record.revision:
        section["revision"] = record.revision
    if record.reverts:
        section["reverts"] = record.reverts
    if record.quarantine is not None:
        quarantine = record.quarantine
        section["quarantine"] = {
            "revision": quarantine.revision,
            "reason": quarantine.reason.value,
            "message": quarantine.message,
            "time": format_time(quarantine.at),
            "attempts": quarantine.attempts,
        }
    return section


def shared_part(status: Mapping[str, Any]) -> dict[str, Any]:
    """Pick what the namespace's pass writes: the last restart, and the record of a sidecar.

    `status` is what `read_status` gives.
    """
    part: dict[str, Any] = {}
    cnpg = mapping(status.get("cnpg"))
    if "lastRestart" in cnpg:
        part["cnpg"] = {key: cnpg[key] for key in ("deploymentName", "lastRestart") if key in cnpg}
    if "sidecar" in status:
        part["sidecar"] = status["sidecar"]
    return part
