"""Whether a sidecar answered, and whether CloudNativePG found it: the verdicts of the gate.

CloudNativePG looks for sockets once, when its container starts.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.conditions import Reason, Verdict, no, unknown, yes
from cnpg_plugin_operator.api.times import display_time
from cnpg_plugin_operator.decide.facts.cnpg import Announcement, CNPGPod
from cnpg_plugin_operator.decide.facts.plugin import HandshakeOutcome, Identity
from cnpg_plugin_operator.decide.facts.version_skew import add_skew
from cnpg_plugin_operator.decide.registration.cluster_reports import (
    describe_blocked,
    describe_report,
)
from cnpg_plugin_operator.decide.registration.registration import restart_command
from cnpg_plugin_operator.decide.registration.touch import TOUCH_GRACE, find_blocked
from cnpg_plugin_operator.decide.sidecar.sidecar import SidecarInput

PASSING: Final = frozenset(
    {Reason.SOCKET_MISSING, Reason.UNREACHABLE, Reason.NO_ANSWER, Reason.NOT_SERVING}
)
"""Faults that may have been fixed since the gate checked."""

UNKNOWN_PLUGIN: Final = "unknown plugin"
"""Part of the phase of a Cluster whose plugin CloudNativePG does not know (1.24.0 to 1.30.1)."""

FORGOTTEN_AGAIN: Final = timedelta(hours=1)
"""Minimum time between two restarts for a plugin that CloudNativePG dropped."""

LATE_GRACE: Final = timedelta(seconds=10)
"""How long a late sidecar must have been running before CloudNativePG is restarted for it."""


def judge_handshake(given: SidecarInput) -> tuple[Verdict, HandshakeOutcome | None]:
    """Evaluate `HandshakeSucceeded` by the gate's verdict in the leading pod."""
    reporting_pod = given.reporting_pod
    outcome = reporting_pod.verdicts.get(given.socket) if reporting_pod is not None else None
    if reporting_pod is None or outcome is None:
        where = f" of pod {reporting_pod.pod.name}" if reporting_pod else ""
        return no(
            Reason.NO_ANSWER,
            f"Container {names.sidecars.GATE}{where} wrote no verdict on the plugin: see its log.",
        ), None
    if outcome.succeeded:
        return yes(outcome.reason, outcome.message), outcome
    outlook = _outlook(given, reporting_pod, outcome.reason)
    return no(outcome.reason, f"{outcome.message.removesuffix('.')}. {outlook}"), outcome


def _outlook(given: SidecarInput, reporting_pod: CNPGPod, reason: Reason) -> str:
    """Say what would make CloudNativePG and this operator check again."""
    moment = display_time(reporting_pod.gate_ended) if reporting_pod.gate_ended else "its start"
    if any(find_late(given)):
        if given.was_restarted:
            return "A restart of CloudNativePG did not change that."
        return (
            "The sidecar has restarted since; CloudNativePG looks for sockets only when it starts."
        )
    slow = reason is Reason.SOCKET_MISSING
    hint = " If it is only slow, raise the chart value sidecars.deadline." if slow else ""
    return (
        f"This was so when CloudNativePG started ({moment}); it looks for sockets only then.{hint}"
    )


def find_late(given: SidecarInput) -> Iterator[Announcement]:
    """Find a sidecar that became ready after CloudNativePG's start, as a new announcement.

    Only a sidecar that has restarted since then may work now; otherwise a restart would be useless.
    It has to be running by then.
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
    """Find a leader that started with the socket but no longer knows the plugin.

    Another Service with the plugin's name replaced the socket's entry and was deleted; only a new
    leader looks for sockets again. A leader that was started for this gets some time.
    """
    leader, begin = given.cnpg.leader, f"{given.revision}@forgotten/"
    if leader is None:
        return
    age = given.now - (leader.since or leader.created)
    started = leader.restarted_for.get(given.name, "").startswith(begin)
    unknown_to = [c for c in find_blocked(given.clusters) if UNKNOWN_PLUGIN in c.phase.lower()]
    if unknown_to and age >= (FORGOTTEN_AGAIN if started else TOUCH_GRACE):
        yield Announcement(f"{begin}{leader.pod}", "", leader.since or leader.created, None, {})


def forbid_restart(given: SidecarInput) -> Verdict:
    """Report that only a restart would make CloudNativePG find a socket, and who can allow it."""
    return no(
        Reason.RESTART_FORBIDDEN,
        "CloudNativePG does not know the plugin's socket and has to be restarted, "
        f"but cnpg.restartPolicy is Never: {restart_command(given.cnpg)}",
    )


def judge_registration(given: SidecarInput, identity: Identity | None) -> Verdict:
    """Evaluate `Registered`: in each pod, CloudNativePG started after this socket answered."""
    started = [pod for pod in given.pods if pod.gate_ended is not None]
    missing = [pod.pod.name for pod in started if not _has_answered(pod, given.socket)]
    if missing:
        return unknown(
            Reason.AWAITING_REGISTRATION,
            f"CloudNativePG started without the plugin's socket in pod {', '.join(missing)}.",
        )
    leader, blocked = given.cnpg.leader, find_blocked(given.clusters)
    if blocked and leader and given.now - (leader.since or leader.created) >= TOUCH_GRACE:
        return no(
            Reason.CLUSTERS_BLOCKED,
            f"{describe_blocked(blocked).strip()} Look at the log of container "
            f"{names.sidecars.container(given.name)} and of Deployment {given.cnpg.deployment}.",
        )
    report = describe_report(given.clusters, identity)
    proof = report or "CloudNativePG started after the plugin's socket answered."
    verdict = yes(Reason.REGISTERED, f"{proof}{describe_blocked(given.clusters)}")
    return add_skew(verdict, identity, given.cnpg.version)


def _has_answered(pod: CNPGPod, socket: str) -> bool:
    outcome = pod.verdicts.get(socket)
    return outcome is not None and outcome.succeeded
