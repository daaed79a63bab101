"""Which sidecars keep CloudNativePG from starting, and so are taken out for a while.

Native sidecars start before CloudNativePG's own container: one that cannot be made stops the whole
pod, and one that stays down keeps it from being ready.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.conditions import Reason
from cnpg_plugin_operator.api.sidecar_note import Held, SidecarNote
from cnpg_plugin_operator.decide.facts import ContainerFacts
from cnpg_plugin_operator.decide.host_facts import HostFacts, HostPod
from cnpg_plugin_operator.decide.roster import Seat
from cnpg_plugin_operator.decide.workload import (
    IMAGE_REASONS,
    describe_missing_image,
    name_ending,
    stays_down,
)

HOLD_AFTER: Final = timedelta(seconds=20)
"""How long a container may keep CloudNativePG from starting before it is taken out."""

HOLD_SPARE_AFTER: Final = timedelta(seconds=60)
"""The same while a former pod serves on: what passes by itself may do so."""


def find_culprits(host: HostFacts, now: datetime) -> dict[str, tuple[Reason, str]]:
    """Name the sidecars that keep CloudNativePG's newest pod from starting, each with the cause.

    A pod whose sidecar stays down is not ready either, so nobody serves CloudNativePG's webhooks.
    If the gate itself cannot be made, all sidecars stand in the way.
    """
    newest, due = host.newest, hold_time(host)
    if newest is None or newest.pod.ready or due is None or now < due:
        return {}
    found = {}
    for name in newest.sidecars:
        container = newest.container(names.sidecar_container(name))
        if container is not None and (cause := find_cause(newest, container)):
            found[name] = cause
    gate = newest.container(names.GATE)
    if not found and gate is not None and (cause := find_cause(newest, gate)):
        return dict.fromkeys(newest.sidecars, cause)
    return found


def hold_time(host: HostFacts) -> datetime | None:
    """Say from when on a sidecar that keeps the newest pod from starting is taken out.

    While a former pod serves on, there is time; but none once the gate is over. From then on the
    new pod is ready whenever what crashes is up, and the first such moment ends the former one.
    """
    newest = host.newest
    if newest is None:
        return None
    former = any(pod.sidecars != newest.sidecars for pod in host.pods)
    if former and host.available:
        return newest.gate_ended or newest.pod.created + HOLD_SPARE_AFTER
    return max(newest.pod.created, newest.pod.unready_since or newest.pod.created) + HOLD_AFTER


def find_cause(pod: HostPod, container: ContainerFacts) -> tuple[Reason, str] | None:
    """Say why a container cannot be made, or does not stay up; None where neither is so."""
    if container.waiting_reason in IMAGE_REASONS:
        return Reason.IMAGE_PULL_ERROR, describe_missing_image(pod.pod, container)
    if stays_down(container):
        return Reason.CRASH_LOOP, name_ending(pod.pod, container)
    return None


def note_trouble(name: str, seat: Seat, host: HostFacts, now: datetime) -> SidecarNote:
    """Note that a sidecar has to be taken out, or that it has proven itself since it was."""
    note, wanted, newest = seat.note, seat.wanted, host.newest
    started = newest.sidecars.get(name) if newest is not None else None
    if wanted is None or newest is None or started != wanted.revision or seat.held:
        return note
    cause = find_culprits(host, now).get(name)
    if cause is None:
        proven = newest.pod.ready and newest.gate_ended is not None
        return replace(note, held=None) if proven else note
    times = 1 + (note.held.times if note.held is not None else 0)
    held = Held(wanted.revision, cause[0], cause[1], now.replace(microsecond=0), times)
    return replace(note, held=held, present=False)
