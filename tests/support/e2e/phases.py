"""Keeps CloudNativePG busy with a Cluster, and records every phase of the Cluster.

A Cluster whose plugin fails for a moment enters and leaves an error phase: polling would miss what
a watch receives. And CloudNativePG calls plugins only when it reconciles a Cluster, so the Clusters
are changed every second.
"""

import http.client
import re
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Final, Self

from tests.cluster import Cluster
from tests.cluster.network import call_inside
from tests.support.e2e.api import CORE, Api, ApiError, Recorder
from tests.support.e2e.meanwhile import meanwhile
from tests.support.e2e.plugins import collection
from tests.support.resources import NAMESPACE

CLUSTERS_NAMESPACE: Final = "default"

PLUGIN_ERROR: Final = (
    "Cluster cannot proceed to reconciliation due to an error while interacting with plugins"
)
"""CloudNativePG's `PhaseFailurePlugin` (1.27 and newer)."""

_ERRORS: Final = ("cannot", "unknown plugin", "unable", "unrecoverable", "invalid")
"""Words that occur in all its error phases and no others, in lower case."""

_INTERVAL = 1.0
_METRICS_PORT = 8080
_RECONCILES = re.compile(
    r'^controller_runtime_reconcile_total\{controller="cluster",result="\w+"\} (\S+)$', re.MULTILINE
)


@dataclass(frozen=True)
class Phase:
    """A phase of a Cluster."""

    at: float
    """When it was seen (monotonic seconds)."""
    phase: str
    reason: str

    @property
    def is_error(self) -> bool:
        """Whether the phase is an error."""
        return any(word in self.phase.lower() for word in _ERRORS)


@dataclass
class Phases:
    """The phases of Clusters, from `start` to `stop`."""

    cluster: Cluster
    api: Api
    clusters: Sequence[str]
    """Their names; they need not exist yet."""
    _recorder: Recorder = field(init=False)
    _background: ExitStack = field(default_factory=ExitStack)
    _touched: int = 0

    def __post_init__(self) -> None:
        self._recorder = Recorder(self.api, collection("Cluster", CLUSTERS_NAMESPACE))

    def __enter__(self) -> Self:
        self._background.enter_context(self._recorder)
        self._background.enter_context(meanwhile(self._touch, _INTERVAL))
        return self

    def __exit__(self, *_: object) -> None:
        self._background.close()

    def of(self, cluster: str) -> list[Phase]:
        """Every phase that a Cluster has gone through so far, in order."""
        passed: list[Phase] = []
        for change in self._recorder.of(cluster):
            status = change.object.get("status") or {}
            now = Phase(change.at, status.get("phase", ""), status.get("phaseReason", ""))
            last = passed[-1] if passed else None
            if last is None or (last.phase, last.reason) != (now.phase, now.reason):
                passed.append(now)
        return passed

    def errors(self, cluster: str) -> list[Phase]:
        """The error phases among them."""
        return [phase for phase in self.of(cluster) if phase.is_error]

    def longest_error(self, cluster: str, since: float, until: float) -> float:
        """Seconds of the longest time between two moments in which the phase was an error."""
        longest, began = 0.0, None
        for phase in [*self.of(cluster), Phase(until, "", "")]:
            at = min(max(phase.at, since), until)
            if began is not None:
                longest = max(longest, at - began)
            if not phase.is_error:
                began = None
            elif began is None:
                began = at
        return longest

    def reports(self, cluster: str) -> list[dict[str, str]]:
        """What a Cluster reported about plugins, name → version, at each change so far."""
        statuses = (change.object.get("status") or {} for change in self._recorder.of(cluster))
        return [
            {each["name"]: each.get("version", "") for each in status.get("pluginStatus") or []}
            for status in statuses
        ]

    def reconciles(self) -> int:
        """How many times CloudNativePG has reconciled Clusters since it started."""
        path = f"{CORE}/namespaces/{NAMESPACE}/pods"
        pods = self.api.list(path, labelSelector="app.kubernetes.io/name=cloudnative-pg")
        (address,) = (pod["status"]["podIP"] for pod in pods)
        connection = http.client.HTTPConnection(address, _METRICS_PORT, timeout=10)
        call_inside(self.cluster.layout.netns, connection.connect)
        try:
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
        finally:
            connection.close()
        return int(sum(float(count) for count in _RECONCILES.findall(text)))

    def _touch(self) -> None:
        self._touched += 1
        change = {"metadata": {"annotations": {"example.com/touched": str(self._touched)}}}
        for name in self.clusters:
            # It does not exist, or CloudNativePG's webhook refuses the change.
            with suppress(ApiError):
                self.api.patch(f"{collection('Cluster', CLUSTERS_NAMESPACE)}/{name}", change)
