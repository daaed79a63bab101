"""Takes samples of the operator's process, also across its restarts, and reads its log."""

import json
import time
from dataclasses import dataclass
from http.client import HTTPException

from tests.bench.environment import FAILURES
from tests.bench.process import Process, sum_of
from tests.cluster import Cluster
from tests.demo import installing
from tests.soak.judgement import Sample


@dataclass
class Sampler:
    """Follows the operator from one process to the next."""

    cluster: Cluster
    _process: Process | None = None
    _life: int = 0
    _passes: float = 0.0

    def take(self) -> Sample | None:
        """Take one; None while there is no process, or none that answers."""
        try:
            return self._take()
        except (*FAILURES, HTTPException):
            self._process = None
            return None

    def _take(self) -> Sample:
        process = self._process or Process(self.cluster)
        text = process.ask("/metrics")[1]
        passes = sum_of(text, "controller_runtime_reconcile_total")
        # A process that starts over keeps its pid and its pod, but not what it has counted.
        self._life += passes < self._passes
        self._process, self._passes = process, passes
        memory = process.memory()
        return Sample(
            at=time.monotonic(),
            life=self._life,
            resident=memory.resident,
            anonymous=memory.anonymous,
            descriptors=process.descriptors(),
            tasks=int(sum_of(text, "cnpg_plugin_operator_tasks")),
            cpu=process.cpu_seconds(),
        )


def read_log(cluster: Cluster, since: str) -> list[tuple[str, str]]:
    """Read level and message of each line that the operator's pod has written since a time.

    The lines of a container that ended before are left out: a restart is a failure anyway.
    """
    pod = installing.operator_pod(cluster)
    text = cluster.kubectl("logs", pod, "--namespace", installing.NAMESPACE, "--since-time", since)
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return [(str(line.get("level")), str(line.get("msg"))) for line in lines]
