"""The operator's process as the kernel accounts for it, and its own metrics."""

import json
import os
import re
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.bench.results import BenchError
from tests.cluster import Cluster
from tests.demo import installing

TICKS = os.sysconf("SC_CLK_TCK")
METRICS_PORT = 8080


class Process:
    """The process of the operator's container."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.pod = installing.operator_pod(cluster)
        self._pid = _find(cluster, self.pod)

    def cpu_seconds(self) -> float:
        """User and system time since the process started."""
        fields = self._stat()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def resident_megabytes(self) -> float:
        """Resident memory now, in millions of bytes."""
        status = Path(f"/proc/{self._pid}/status").read_text()
        found = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
        if found is None:
            raise BenchError("the operator's process has ended")
        return int(found[1]) * 1024 / 1e6

    def started_at(self) -> datetime:
        """When the process started, to a hundredth of a second."""
        uptime = float(Path("/proc/uptime").read_text().split()[0])
        age = uptime - int(self._stat()[19]) / TICKS
        return datetime.now(UTC) - timedelta(seconds=age)

    def passes(self) -> tuple[float, float]:
        """How many passes the process has run, and the seconds they took."""
        path = f"/api/v1/namespaces/{installing.NAMESPACE}/pods/{self.pod}:{METRICS_PORT}/proxy"
        text = self._cluster.kubectl("get", "--raw", f"{path}/metrics")
        name = "controller_runtime_reconcile_time_seconds"
        return _sum(text, f"{name}_count"), _sum(text, f"{name}_sum")

    def _stat(self) -> list[str]:
        try:
            text = Path(f"/proc/{self._pid}/stat").read_text()
        except FileNotFoundError as error:
            raise BenchError(
                f"the operator's process ended while it was measured: see kubectl logs "
                f"--namespace {installing.NAMESPACE} {self.pod} --previous"
            ) from error
        return text.rpartition(")")[2].split()


def _sum(text: str, metric: str) -> float:
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(metric))


def _find(cluster: Cluster, pod: str) -> int:
    body = json.loads(
        cluster.kubectl("get", "pod", pod, "--namespace", installing.NAMESPACE, "--output=json")
    )
    container = body["status"]["containerStatuses"][0]["containerID"].rpartition("/")[2]
    client = ["ctr", "--address", str(cluster.layout.containerd_socket), "--namespace", "k8s.io"]
    listing = subprocess.run(
        [*client, "tasks", "list"], capture_output=True, text=True, check=True
    ).stdout
    for line in listing.splitlines():
        task, pid, *_ = line.split()
        if task == container:
            return int(pid)
    raise BenchError(f"the container of pod {pod} has no process")
