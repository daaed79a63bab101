"""States of a plugin, as the operator's passes make them, and what each tool makes of them."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

from tests.support.unit.stage import states
from tests.support.unit.stage.stage import Stage

ENDS: Final = {"Current": "succeeds", "Failed": "fails"}


@dataclass(frozen=True)
class Reading:
    """One state, and what the tools make of it."""

    make: Callable[[], Coroutine[Any, Any, Stage]]
    title: str
    argo: str
    says: str
    """What Argo CD shows."""
    kstatus: str
    ready: bool = False
    """Whether `kubectl wait --for=condition=Ready` ends."""
    stalled: bool = False
    """Whether `kubectl wait --for=condition=Stalled` ends."""
    alerts: tuple[str, ...] = ()
    """The alerts that fire where this lasts, without their prefix."""

    @property
    def helm(self) -> str:
        """What `helm upgrade --wait` of Helm 4 does."""
        return ENDS.get(self.kstatus, "waits")

    @property
    def waited(self) -> str:
        """The conditions for which `kubectl wait` ends."""
        found = {"`Ready`": self.ready, "`Stalled`": self.stalled}
        return ", ".join(name for name, ends in found.items() if ends) or "neither"

    @property
    def name(self) -> str:
        """A plugin that is in this state."""
        return self.make.__name__.replace("_", "-")

    def __str__(self) -> str:
        return self.make.__name__


READINGS: Final = (
    Reading(
        states.newborn,
        "new, not seen yet",
        "Progressing",
        "has not seen the last change yet",
        "InProgress",
    ),
    Reading(
        states.progressing,
        "in progress",
        "Progressing",
        "Issuing: ",
        "InProgress",
        alerts=("NotProgressing",),
    ),
    Reading(states.ready, "Ready", "Healthy", "Ready: ", "Current", ready=True),
    Reading(
        states.suspended, "suspended", "Suspended", "spec.suspend is set", "Current", ready=True
    ),
    Reading(states.in_use, "being deleted, and in use", "Progressing", "InUse: ", "Terminating"),
    Reading(states.deleting, "being deleted", "Progressing", "Deleting: ", "Terminating"),
    Reading(
        states.expiring,
        "Ready, but a certificate was not renewed in time",
        "Healthy",
        "Ready: ",
        "Current",
        ready=True,
        alerts=("CertificateExpiring",),
    ),
    Reading(
        states.expired,
        "a certificate has expired",
        "Degraded",
        "Expired: ",
        "InProgress",
        alerts=("CertificateExpired", "NotReady"),
    ),
    Reading(
        states.refused,
        "a spec that is refused",
        "Degraded",
        "InvalidSpec: ",
        "Failed",
        stalled=True,
        alerts=("NotReady",),
    ),
    Reading(
        states.another,
        "a plugin that is another one",
        "Degraded",
        "IdentityMismatch: ",
        "Failed",
        stalled=True,
        alerts=("HandshakeFailing", "NotReady"),
    ),
    Reading(
        states.unreachable,
        "a plugin that does not answer",
        "Degraded",
        "Unreachable: ",
        "InProgress",
        alerts=("HandshakeFailing", "NotReady"),
    ),
    Reading(
        states.unavailable,
        "CNPG has no pod",
        "Degraded",
        "CNPGUnavailable: ",
        "InProgress",
        alerts=("NotReady",),
    ),
    Reading(
        states.forbidden,
        "CNPG has to restart, and the operator may not do that",
        "Degraded",
        "RestartForbidden: ",
        "Failed",
        stalled=True,
        alerts=("NotReady", "RestartStuck"),
    ),
    Reading(
        states.restarting,
        "waits for a restart",
        "Progressing",
        "RestartPending: ",
        "InProgress",
        alerts=("NotProgressing",),
    ),
    Reading(states.waiting, "waits for approval", "Suspended", "AwaitingApproval: ", "InProgress"),
    Reading(
        states.quarantined,
        "a sidecar in quarantine",
        "Degraded",
        "CrashLoop: ",
        "InProgress",
        alerts=("NotReady", "SidecarQuarantined"),
    ),
)


def page() -> str:
    """The table of the documentation."""
    columns = ("state", "Argo CD", "kstatus (Flux)", "Helm 4 `--wait`", "`kubectl wait`", "alerts")
    rows = [
        (r.title, r.argo, r.kstatus, r.helm, r.waited, ", ".join(r.alerts) or "none")
        for r in READINGS
    ]
    lines = (columns, ("---",) * len(columns), *rows)
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
