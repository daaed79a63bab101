"""The operator's process as the kernel accounts for it, and its own metrics."""

import http.client
import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.bench.figures import BenchError
from tests.cluster import Cluster
from tests.cluster.network import call_inside
from tests.demo import installing

TICKS = os.sysconf("SC_CLK_TCK")
METRICS_PORT = 8080


@dataclass(frozen=True)
class Memory:
    """In millions of bytes."""

    resident: float
    anonymous: float
    """The part of it that no file backs: what the operator itself keeps."""
    peak: float
    """The most that was ever resident."""

    def __str__(self) -> str:
        return f"{self.anonymous:.1f} anonymous, peak {self.peak:.1f}"


class Process:
    """The process of the operator's container."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        pod = json.loads(
            cluster.kubectl(
                *("get", "pod", installing.operator_pod(cluster)),
                *("--namespace", installing.NAMESPACE, "--output=json"),
            )
        )
        self.pod = str(pod["metadata"]["name"])
        self._address = str(pod["status"]["podIP"])
        self._pid = _find(cluster, pod)

    def cpu_seconds(self) -> float:
        """User and system time since the process started."""
        fields = self._stat()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory(self) -> Memory:
        """What it uses now, and the most that it ever used."""
        status = self._read("status")
        sizes = dict(re.findall(r"^(\w+):\s+(\d+) kB", status, re.MULTILINE))
        if "VmRSS" not in sizes:
            raise BenchError("the operator's process has ended")
        return Memory(*(int(sizes[key]) * 1024 / 1e6 for key in ("VmRSS", "RssAnon", "VmHWM")))

    def descriptors(self) -> int:
        """How many files and sockets it has open."""
        with self._watched():
            return len(list(Path(f"/proc/{self._pid}/fd").iterdir()))

    def started_at(self) -> datetime:
        """When the process started, to a hundredth of a second."""
        uptime = float(Path("/proc/uptime").read_text().split()[0])
        age = uptime - int(self._stat()[19]) / TICKS
        return datetime.now(UTC) - timedelta(seconds=age)

    def passes(self) -> tuple[float, float]:
        """How many passes the process has run, and the seconds they took."""
        text = self.ask("/metrics")[1]
        name = "controller_runtime_reconcile_time_seconds"
        return sum_of(text, f"{name}_count"), sum_of(text, f"{name}_sum")

    def ask(self, path: str) -> tuple[int, str]:
        """Ask its HTTP port, as the kubelet does: no request reaches the API server."""
        connection = http.client.HTTPConnection(self._address, METRICS_PORT, timeout=10)
        try:
            call_inside(self._cluster.layout.netns, connection.connect)
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def _stat(self) -> list[str]:
        return self._read("stat").rpartition(")")[2].split()

    def _read(self, name: str) -> str:
        with self._watched():
            return Path(f"/proc/{self._pid}/{name}").read_text()

    @contextmanager
    def _watched(self) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, ProcessLookupError) as error:
            raise BenchError(
                f"the operator's process ended while it was measured: see kubectl logs "
                f"--namespace {installing.NAMESPACE} {self.pod} --previous"
            ) from error


def sum_of(text: str, metric: str) -> float:
    """Add up the series of a metric, as `/metrics` writes them."""
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(metric))


def _find(cluster: Cluster, pod: dict[str, dict[str, list[dict[str, str]]]]) -> int:
    container = pod["status"]["containerStatuses"][0].get("containerID", "").rpartition("/")[2]
    client = ["ctr", "--address", str(cluster.layout.containerd_socket), "--namespace", "k8s.io"]
    listing = subprocess.run(
        [*client, "tasks", "list"], capture_output=True, text=True, check=True
    ).stdout
    for line in listing.splitlines():
        task, pid, *_ = line.split()
        if task == container:
            return int(pid)
    raise BenchError("the operator's container has no process")
