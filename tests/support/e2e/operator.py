"""The running operator as tests see it: its pod, its log, and what it writes."""

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.cluster import Cluster
from tests.cluster.cgroups import signal_pod
from tests.cluster.network import call_inside
from tests.support import wait
from tests.support.e2e.api import CORE, Api, Object
from tests.support.e2e.installation import OPERATOR_NAMESPACE, RELEASE, ROOT

ACCOUNT: Final = f"system:serviceaccount:{OPERATOR_NAMESPACE}:{RELEASE}"
LEASE: Final = f"/apis/coordination.k8s.io/v1/namespaces/{OPERATOR_NAMESPACE}/leases/{RELEASE}"
WRITING: Final = frozenset({"create", "update", "patch", "delete", "deletecollection"})
_HTTP_PORT = 8080
_PASSES = "controller_runtime_reconcile_total"


@dataclass(frozen=True)
class Request:
    """A request in the API server's audit log."""

    verb: str
    resource: str
    name: str
    code: int = field(default=http.client.OK, compare=False)
    """The status of the API server's answer."""

    @property
    def is_refused(self) -> bool:
        """Whether the API server rejected it."""
        return self.code >= http.client.BAD_REQUEST

    def __str__(self) -> str:
        return f"{self.verb} {self.resource} {self.name}".strip()


@dataclass(frozen=True)
class Audit:
    """The requests of one user."""

    log: Path
    user: str

    def mark(self) -> int:
        """A place in the log: everything up to now."""
        return self.log.stat().st_size

    def requests(self, since: int) -> list[Request]:
        """The user's requests since a mark, without watches."""
        return [r for r in self._read(since) if r.verb != "watch"]

    def writes(self, since: int) -> list[Request]:
        """The writing requests, including refused ones."""
        return [r for r in self._read(since) if r.verb in WRITING]

    def _read(self, since: int) -> Iterator[Request]:
        with self.log.open("rb") as file:
            file.seek(since)
            for line in file:
                if not line.endswith(b"\n") or self.user.encode() not in line:
                    continue
                entry = json.loads(line)
                if entry["user"]["username"] != self.user or entry["stage"] == "RequestReceived":
                    continue
                target = entry.get("objectRef") or {}
                if target.get("resource") == "leases" and _is_own(target):
                    continue
                parts = (target.get("resource", entry["requestURI"]), target.get("subresource"))
                yield Request(
                    entry["verb"],
                    "/".join(part for part in parts if part),
                    target.get("name", ""),
                    (entry.get("responseStatus") or {}).get("code", http.client.OK),
                )


def _is_own(target: Mapping[str, str]) -> bool:
    """Whether it is the operator's own Lease, which its leader renews every two seconds."""
    return target.get("namespace") == OPERATOR_NAMESPACE


def is_ready(pod: Object) -> bool:
    """Whether a pod is ready."""
    conditions = pod.get("status", {}).get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


class Operator:
    """The Helm release under test."""

    namespace = OPERATOR_NAMESPACE
    deployment = RELEASE
    account = ACCOUNT

    def __init__(self, cluster: Cluster, api: Api) -> None:
        self.cluster = cluster
        self.api = api
        self.audit = Audit(cluster.audit_log, ACCOUNT)

    def pods(self) -> list[Object]:
        """Its pods, in whatever state."""
        path = f"{CORE}/namespaces/{self.namespace}/pods"
        return self.api.list(path, labelSelector=f"app.kubernetes.io/name={RELEASE}")

    def pod(self) -> Object:
        """Its pod: the one that is ready."""

        def ready() -> Object | None:
            found = filter(is_ready, self.pods())
            return next((pod for pod in found if "deletionTimestamp" not in pod["metadata"]), None)

        return wait.until("the operator's pod is ready", ready, within=60, explain=self.log_tail)

    def log(self) -> str:
        """Everything its pod has written."""
        flags = ("--namespace", self.namespace, "--all-containers")
        return self.cluster.kubectl("logs", f"deployment/{self.deployment}", *flags)

    def log_tail(self, lines: int = 25) -> str:
        """The end of its log, for messages, as far as it is available."""
        path = f"{CORE}/namespaces/{self.namespace}/pods"
        texts = []
        for pod in self.api.list(path):
            argv = self.cluster.kubectl_argv(
                *("logs", pod["metadata"]["name"], "--namespace", self.namespace),
                f"--tail={lines}",
            )
            texts.append(output_of(argv))
        return "operator's log:\n" + "\n".join(texts)

    def diagnose(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run its command `diagnose` in its pod."""
        where = ("exec", f"deployment/{self.deployment}", "--namespace", self.namespace)
        command = ("cnpg-plugin-operator", "diagnose", *arguments)
        argv = self.cluster.kubectl_argv(*where, "--", *command)
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)

    def from_outside(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run `kubectl cnpg-plugin` from the checkout, with the administrator's kubeconfig."""
        start = (
            "import sys; from cnpg_plugin_operator.kubectl.program import main; sys.exit(main())"
        )
        layout = self.cluster.layout
        environment = {
            "KUBECTL": str(layout.programs / "kubectl"),
            "KUBECONFIG": str(self.cluster.kubeconfig),
        }
        return subprocess.run(
            self.cluster.in_namespace([sys.executable, "-c", start, *words]),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            env={**os.environ, **environment, "PYTHONPATH": str(ROOT / "operator")},
        )

    def kill(self) -> None:
        """Kill it without notice, like a failing node; the Deployment creates another one.

        Its processes first: even a pod deleted by force gets a moment to exit. Then its Lease is
        released, as if its time were over; `test_leadership` sees how long that takes.
        """
        metadata = self.pod()["metadata"]
        name = metadata["name"]
        signal_pod(self.cluster.layout, metadata["uid"], signal.SIGKILL)
        flags = ("--namespace", self.namespace, "--force", "--grace-period=0")
        self.cluster.kubectl("delete", "pod", name, *flags)
        if self.holder().startswith(f"{name}_"):
            self.api.patch(LEASE, {"spec": {"holderIdentity": "", "leaseDurationSeconds": 1}})

    def holder(self) -> str:
        """The holder of its Lease; empty if there is none."""
        lease = self.api.find(LEASE) or {}
        return str(lease.get("spec", {}).get("holderIdentity") or "")

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Pause it for a while, as on an overloaded machine."""
        uid = self.pod()["metadata"]["uid"]
        signal_pod(self.cluster.layout, uid, signal.SIGSTOP)
        try:
            yield
        finally:
            signal_pod(self.cluster.layout, uid, signal.SIGCONT)

    def http(self, path: str) -> tuple[int, str]:
        """Send a request to its HTTP server, from within the cluster's network."""
        address = self.pod()["status"]["podIP"]
        connection = http.client.HTTPConnection(address, _HTTP_PORT, timeout=10)
        call_inside(self.cluster.layout.netns, connection.connect)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def passes(self) -> int:
        """How many passes its process has run so far."""
        lines = self.http("/metrics")[1].splitlines()
        counts = [line.split()[-1] for line in lines if line.startswith(f"{_PASSES}{{")]
        return int(sum(map(float, counts)))

    def writes_until_calm(self, since: int) -> list[Request]:
        """Its writes since a mark, once it has been idle for some seconds."""
        wait.unchanged(
            "the operator is at rest",
            lambda: len(self.audit.requests(since)),
            seconds=2,
            within=60,
            explain=lambda: "\n".join(map(str, self.audit.requests(since)[-30:])),
        )
        return self.audit.writes(since)


def output_of(argv: list[str]) -> str:
    """What a command prints, whether it succeeds or not."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30)
    return (done.stdout + done.stderr).strip()
