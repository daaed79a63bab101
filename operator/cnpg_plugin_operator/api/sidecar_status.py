"""What the status of a resource remembers of its sidecar in CloudNativePG's Deployment.

It stands out of reach of whoever manages that Deployment and may take the sidecar out.
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
    """A sidecar that was taken out because it kept CloudNativePG from starting."""

    revision: str
    reason: Reason
    message: str
    at: datetime
    times: int
    """How many times this revision was taken out by itself; 0 after it was with others."""

    def __post_init__(self) -> None:
        """Hold the message as the status will repeat it."""
        object.__setattr__(self, "message", printable(self.message))


@dataclass(frozen=True, slots=True)
class SidecarNote:
    """What was seen of a sidecar, and done about it."""

    generation: int = 0
    """Of the resource, when this was noted."""
    revision: str = ""
    """The newest that CloudNativePG's Deployment was seen to hold."""
    present: bool = False
    """Whether it was still there at the last look."""
    reverts: int = 0
    """How many times somebody else took it out since the spec was changed last."""
    held: Held | None = None


def read_note(status: Mapping[str, Any]) -> SidecarNote:
    """Read what a status (as `read_status` gives it) remembers; nothing gives an empty note."""
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
    """Read why it was taken out; only a hand-written status says something unknown."""
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
