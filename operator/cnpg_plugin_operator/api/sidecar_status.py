"""What a resource's status records about its sidecar in CloudNativePG's Deployment.

Other managers of that Deployment may remove the sidecar, but they do not write this status.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cnpg_plugin_operator.api.conditions import Reason
from cnpg_plugin_operator.api.times import format_time, read_noted_count, read_time
from cnpg_plugin_operator.api.untrusted import mapping, printable


@dataclass(frozen=True, slots=True)
class Held:
    """A sidecar in quarantine: removed because it kept CloudNativePG from starting."""

    revision: str
    reason: Reason
    message: str
    at: datetime
    times: int
    """How often this revision alone was removed; 0 after a removal together with others."""

    def __post_init__(self) -> None:
        """Store the message as the status will repeat it."""
        object.__setattr__(self, "message", printable(self.message))


@dataclass(frozen=True, slots=True)
class SidecarNote:
    """What the operator observed of a sidecar, and did about it."""

    generation: int = 0
    """Generation of the resource when this was recorded."""
    revision: str = ""
    """The newest revision that was observed in CloudNativePG's Deployment."""
    present: bool = False
    """Whether the last pass found the sidecar there."""
    reverts: int = 0
    """How often another writer removed it since the last change of the spec."""
    held: Held | None = None


def read_note(status: Mapping[str, Any]) -> SidecarNote:
    """Read the note from a status (as `read_status` returns it); empty where there is none."""
    section = mapping(status.get("sidecar"))
    return SidecarNote(
        generation=read_noted_count(section.get("observedGeneration")),
        revision=str(section.get("revision", "")),
        present=bool(section.get("present")),
        reverts=read_noted_count(section.get("reverts")),
        held=_read_held(mapping(section.get("held"))),
    )


def _read_held(section: Mapping[str, Any]) -> Held | None:
    at = read_time(section.get("time"))
    if at is None:
        return None
    return Held(
        revision=str(section.get("revision", "")),
        reason=_read_reason(section.get("reason")),
        message=str(section.get("message", "")),
        at=at,
        times=read_noted_count(section.get("times"), 1),
    )


def _read_reason(text: object) -> Reason:
    """Read the reason; only a hand-written status contains an unknown one."""
    try:
        return Reason(str(text))
    except ValueError:
        return Reason.CRASH_LOOP


def build_note(note: SidecarNote) -> dict[str, Any]:
    """Build the section of the status."""
    section: dict[str, Any] = {"observedGeneration": note.generation, "present": note.present}
    if note.revision:
        section["revision"] = note.revision
    if note.reverts:
        section["reverts"] = note.reverts
    if note.held is not None:
        held = note.held
        section["held"] = {
            "revision": held.revision,
            "reason": held.reason.value,
            "message": held.message,
            "time": format_time(held.at),
            "times": held.times,
        }
    return section
