"""What the scenarios share: the cluster with the operator, and how a period of time is measured."""

import subprocess
import threading
import time
from dataclasses import dataclass

from tests.bench.audit import AuditLog, Request
from tests.bench.figures import BenchError
from tests.bench.fleet import Fleet
from tests.bench.operator_pod import OperatorPod
from tests.bench.plugins import Plugins
from tests.bench.process import Process
from tests.cluster import Cluster, ClusterError
from tests.support.e2e.api import Api, ApiError
from tests.support.wait import TooLateError

SETTLE_SECONDS = 20.0
"""Wait before a quiet period begins."""
AFTERMATH_SECONDS = 5.0
"""The last writes for a plugin can follow its Ready by this much."""

FAILURES = (
    BenchError,
    ClusterError,
    ApiError,
    TooLateError,
    OSError,
    subprocess.SubprocessError,
)
"""How a measurement fails."""


def pause(seconds: float) -> None:
    """Let time pass: here, the time itself is measured."""
    threading.Event().wait(seconds)


@dataclass(frozen=True)
class Options:
    """How large the scenarios are."""

    runs: int
    quiet_minutes: float
    plugins: int
    clusters: int
    seconds: float
    """Of each stream of updates."""
    churn_minutes: float
    ten: int
    hundred: int
    delay: float
    """By how many seconds the API server is late."""


@dataclass(frozen=True)
class Bench:
    """A cluster with the operator installed."""

    cluster: Cluster
    api: Api
    audit: AuditLog
    plugins: Plugins
    fleet: Fleet
    operator: OperatorPod
    options: Options

    def clear(self) -> None:
        """Remove the fleet, then all plugins: one that Clusters use is not deleted."""
        self.fleet.remove()
        self.plugins.remove_static()
        self.plugins.remove_all()

    def measure(self) -> "Period":
        """Begin a period."""
        return Period(self)


@dataclass(frozen=True)
class Used:
    """What the operator used in a period."""

    seconds: float
    cpu_seconds: float
    passes: float
    pass_seconds: float
    requests: list[Request]

    @property
    def cpu_percent(self) -> float:
        """Of one core."""
        return self.cpu_seconds / self.seconds * 100

    @property
    def writes(self) -> list[Request]:
        return [request for request in self.requests if request.writes]


class Period:
    """A period that has begun; it follows one process of the operator."""

    def __init__(self, bench: Bench) -> None:
        self._audit = AuditLog(bench.cluster.audit_log)
        self.process = Process(bench.cluster)
        self._passes, self._pass_seconds = self.process.passes()
        self._cpu, self._begun = self.process.cpu_seconds(), time.monotonic()

    def end(self) -> Used:
        """Say what was used since the beginning."""
        seconds, cpu = time.monotonic() - self._begun, self.process.cpu_seconds() - self._cpu
        requests = self._audit.requests()
        passes, pass_seconds = self.process.passes()
        return Used(
            seconds,
            cpu,
            passes - self._passes,
            pass_seconds - self._pass_seconds,
            requests,
        )
