"""Whether a sidecar answered, and CloudNativePG found it: what the gate saw before it started.

CloudNativePG looks for sockets once, when its container starts.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.conditions import Reason, Verdict, no, unknown, yes
from cnpg_plugin_operator.api.times import tell_time
from cnpg_plugin_operator.decide.facts.cnpg import Announcement, CNPGPod
from cnpg_plugin_operator.decide.facts.plugin import HandshakeOutcome, Identity
from cnpg_plugin_operator.decide.registration.cluster_reports import (
    describe_blocked,
    describe_report,
)
from cnpg_plugin_operator.decide.registration.registration import restart_command
from cnpg_plugin_operator.decide.registration.touch import REMEDY_TAKES, find_blocked
from cnpg_plugin_operator.decide.sidecar.sidecar import SidecarInput

PASSING: Final = frozenset(
    {Reason.SOCKET_MISSING, Reason.UNREACHABLE, Reason.NO_ANSWER, Reason.NOT_SERVING}
)
"""What may have come right since the gate looked."""

UNKNOWN_PLUGIN: Final = "unknown plugin"
"""In the phase of a Cluster whose plugin CloudNativePG does not know (1.24.0 to 1.30.1)."""

FORGOTTEN_AGAIN: Final = timedelta(hours=1)
"""Between two restarts for a plugin that CloudNativePG forgot."""

LATE_GRACE: Final = timedelta(seconds=10)
"""For which a late sidecar has to have been running before CloudNativePG is restarted for it."""


def judge_handshake(given: SidecarInput) -> tuple[Verdict, HandshakeOutcome | None]:
    """Judge `HandshakeSucceeded` by what the gate found in the pod that leads."""
    witness = given.witness
    outcome = witness.verdicts.get(given.socket) if witness is not None else None
    if witness is None or outcome is None:
        where = f" of pod {witness.pod.name}" if witness else ""
        return no(
            Reason.NO_ANSWER,
            f"Container {names.sidecars.GATE}{where} left no verdict on the plugin: see its log.",
        ), None
    if outcome.succeeded:
        return yes(outcome.reason, outcome.message), outcome
    outlook = _outlook(given, witness, outcome.reason)
    return no(outcome.reason, f"{outcome.message.removesuffix('.')}. {outlook}"), outcome


def _outlook(given: SidecarInput, witness: CNPGPod, reason: Reason) -> str:
    """Say what would make CloudNativePG, and this operator, look again."""
    moment = tell_time(witness.gate_ended) if witness.gate_ended else "its start"
    if any(find_late(given)):
        if given.was_restarted:
            return "A restart of CloudNativePG did not change that."
        return (
            "The sidecar has restarted since; CloudNativePG looks for sockets only when it starts."
        )
    slow = reason is Reason.SOCKET_MISSING
    hint = " If it is only slow, raise the chart value sidecars.deadline." if slow else ""
    return f"So it was when CloudNativePG started ({moment}), which looks only then.{hint}"


def find_late(given: SidecarInput) -> Iterator[Announcement]:
    """Find what CloudNativePG's container came too early for, as if it had been announced since.

    Only a sidecar that has restarted since then may work now; without such a sign a
    restart would be for nothing. It has to be up by then.
    """
    for pod in given.pods:
        outcome, ended = pod.verdicts.get(given.socket), pod.gate_ended
        container = pod.container(names.sidecars.container(given.name))
        since = container.running_since if container is not None else None
        if outcome is None or outcome.reason not in PASSING or ended is None or since is None:
            continue
        if since > ended and given.now - since >= LATE_GRACE:
            yield Announcement(given.revision, "", since, None, {})


def find_forgotten(given: SidecarInput) -> Iterator[Announcement]:
    """Find a leader that started with the socket and does not know the plugin any more.

    Another Service of the plugin's name replaced the socket's entry and went; only a new leader
    looks for sockets again. A leader that was started for that gets its time.
    """
    leader, begin = given.cnpg.leader, f"{given.revision}@forgotten/"
    if leader is None:
        return
    age = given.now - (leader.since or leader.created)
    started = leader.restarted_for.get(given.name, "").startswith(begin)
    unknown_to = [c for c in find_blocked(given.clusters) if UNKNOWN_PLUGIN in c.phase.lower()]
    if unknown_to and age >= (FORGOTTEN_AGAIN if started else REMEDY_TAKES):
        yield Announcement(f"{begin}{leader.pod}", "", leader.since or leader.created, None, {})


def forbid_cure(given: SidecarInput) -> Verdict:
    """Say that only a restart would make CloudNativePG find a socket, and who can allow it."""
    return no(
        Reason.RESTART_FORBIDDEN,
        "CloudNativePG does not know the plugin's socket and has to be restarted, "
        f"but restartPolicy is Never: {restart_command(given.cnpg)}",
    )


def judge_registration(given: SidecarInput, identity: Identity | None) -> Verdict:
    """Judge `Registered`: in each pod, CloudNativePG started after this socket answered."""
    started = [pod for pod in given.pods if pod.gate_ended is not None]
    missing = [pod.pod.name for pod in started if not _has_answered(pod, given.socket)]
    if missing:
        return unknown(
            Reason.AWAITING_REGISTRATION,
            f"CloudNativePG started without the plugin's socket in pod {', '.join(missing)}.",
        )
    leader, blocked = given.cnpg.leader, find_blocked(given.clusters)
    if blocked and leader and given.now - (leader.since or leader.created) >= REMEDY_TAKES:
        return no(
            Reason.CLUSTERS_BLOCKED,
            f"{describe_blocked(blocked).strip()} Look at the log of container "
            f"{names.sidecars.container(given.name)} and of Deployment {given.cnpg.deployment}.",
        )
    report = describe_report(given.clusters, identity)
    proof = report or "CloudNativePG started after the plugin's socket answered."
    return yes(Reason.REGISTERED, f"{proof}{describe_blocked(given.clusters)}")


def _has_answered(pod: CNPGPod, socket: str) -> bool:
    outcome = pod.verdicts.get(socket)
    return outcome is not None and outcome.succeeded
