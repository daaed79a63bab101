"""What a pass works with, built once by the composition root, and when passes are requeued."""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol

from cnpg_plugin_operator.api.conditions import Reason
from cnpg_plugin_operator.cluster.namespace import Namespaces
from cnpg_plugin_operator.cluster.removal import Remover
from cnpg_plugin_operator.cluster.sidecars import Sidecars
from cnpg_plugin_operator.cluster.snapshot import ClusterReader
from cnpg_plugin_operator.decide.facts.plugin import Endpoint, HandshakeOutcome, Material
from cnpg_plugin_operator.reconcile.workers import Lane
from cnpg_plugin_operator.reconcile.writes import Write
from cnpg_plugin_operator.settings import Settings
from cnpg_plugin_operator.telemetry import Metrics


class Handshaker(Protocol):
    """Calls a plugin as CloudNativePG would; a failure is an outcome, never an exception."""

    async def shake(
        self,
        endpoint: Endpoint,
        material: Material,
        timeout: float,  # noqa: ASYNC109 - a value
    ) -> HandshakeOutcome:
        """Perform one handshake within `timeout` seconds."""
        ...


Aside = Callable[[Lane], AbstractAsyncContextManager[None]]
"""Steps aside while a pass waits for something slow; see `Slots.aside`."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of one write of a plan."""

    live: Mapping[str, Any] | None = None
    """The object as it is now, where the pass goes on with it."""
    written: bool = True
    """Whether anything differed."""


class Applier(Protocol):
    """Makes the writes of plans."""

    async def apply(self, write: Write, live: Mapping[str, Any] | None) -> Applied:
        """Make one write; `live` is the object as it is known."""
        ...


@dataclass(frozen=True, slots=True)
class Environment:
    """The ports and settings of every pass."""

    reader: ClusterReader
    applier: Applier
    remover: Remover
    handshaker: Handshaker
    namespaces: Namespaces
    sidecars: Sidecars
    settings: Settings
    metrics: Metrics
    clock: Callable[[], datetime]
    aside: Aside = lambda _: nullcontext()


IN_PASSING: Final = 1.0
"""Progress that is checked again within this many seconds is not worth a write of the status."""

REGISTRATION: Final = 5.0
"""Seconds within which CloudNativePG's Event about a Service is expected: usually it wakes the
plugin's pass in less than one."""

PASSING: Final[Mapping[Reason, float]] = {
    Reason.RESTARTING: 0.0,
    Reason.AWAITING_REGISTRATION: REGISTRATION,
    Reason.REREGISTERING: REGISTRATION,
}
"""The same for reasons that take so long that they are reported, or that an Event ends."""

ON_ITS_WAY: Final = frozenset(
    {Reason.ISSUING, Reason.ROLLOUT_IN_PROGRESS, Reason.UNREACHABLE, Reason.AWAITING_REGISTRATION}
)
"""Reasons that every new plugin goes through; no user has to act on them."""

PROGRESS: Final = 10.0
"""Seconds for which such progress is not reported again, and for which any progress may be left to
the next pass: most plugins become Ready sooner."""

FALLBACK_RETRY: Final = 10.0
"""Seconds until a resource that is not Ready is requeued, unless its reason has another interval.
Events wake it earlier; this covers what no watch reports."""

LOOK_AT_CNPG: Final[Mapping[Reason, float]] = {
    Reason.RESTARTING: 5.0,
    Reason.RESTART_PENDING: 5.0,
    Reason.AWAITING_REGISTRATION: 10.0,
    Reason.REREGISTERING: 10.0,
    Reason.CNPG_UNAVAILABLE: 10.0,
    Reason.RESTART_STUCK: 10.0,
    Reason.CNPG_NOT_FOUND: 30.0,
}
"""Seconds until the namespace's pass reads CloudNativePG again, by the reason of a plugin that
waits for it. Its Deployment and its Lease wake that pass; no event reports its pods."""

RETRY: Final[Mapping[Reason, float]] = {
    Reason.CERT_MANAGER_NOT_INSTALLED: 5.0,
    Reason.ISSUER_NOT_READY: 5.0,
    Reason.AWAITING_REGISTRATION: REGISTRATION,
    Reason.AWAITING_PODS: 2.0,
    Reason.REREGISTERING: REGISTRATION,
    Reason.SIDECAR_PENDING: 2.0,
    Reason.DELETING: 1.0,
    Reason.AWAITING_APPROVAL: 600.0,
    Reason.INVALID_SPEC: 60.0,
    Reason.CNPG_NOT_FOUND: 30.0,
}
"""Seconds until the next pass, by the reason that ended this one. What the namespace's pass reads
and decides wakes the plugin at once."""
