"""Follows Kubernetes objects as they change, through `kubectl get --watch`."""

import json
import queue
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

Object = dict[str, Any]


class Kubectl(Protocol):
    """A cluster as far as kubectl needs one."""

    def kubectl(self, *arguments: str, input: str | None = None) -> str:  # noqa: A002
        """Run kubectl; return its output, or raise `ClusterError`."""
        ...

    def kubectl_argv(self, *arguments: str) -> list[str]:
        """Build the command line of kubectl."""
        ...


@contextmanager
def watch(cluster: Kubectl, kind: str, namespace: str, name: str) -> Iterator["Watch"]:
    """Follow one object, which need not exist yet, until the block ends."""
    arguments = ["get", kind, "--namespace", namespace, f"--field-selector=metadata.name={name}"]
    argv = cluster.kubectl_argv(*arguments, "--watch", "--output=json")
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as kubectl:
        try:
            yield Watch(kubectl)
        finally:
            kubectl.terminate()


class Watch:
    """The versions of one object, in order."""

    def __init__(self, kubectl: subprocess.Popen[str]) -> None:
        self._versions: queue.Queue[Object | None] = queue.Queue()
        threading.Thread(target=self._read, args=(kubectl,), daemon=True).start()

    def _read(self, kubectl: subprocess.Popen[str]) -> None:
        assert kubectl.stdout is not None
        lines: list[str] = []
        for line in kubectl.stdout:
            lines.append(line)
            if line == "}\n":  # the only line that ends a document: all others are indented
                self._versions.put(json.loads("".join(lines)))
                lines.clear()
        self._versions.put(None)

    def versions(self, seconds: float) -> Iterator[Object]:
        """Yield every version that arrives within so many seconds, then end."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            try:
                version = self._versions.get(timeout=left)
            except queue.Empty:
                return
            if version is None:
                return
            yield version


def conditions(body: Object) -> list[Object]:
    """Read the conditions of any object; none before its controller has reported any."""
    found: list[Object] = body.get("status", {}).get("conditions", [])
    return found


def is_true(body: Object, kind: str) -> bool:
    """Whether a condition is True for the newest generation of the object."""
    generation = body["metadata"].get("generation")
    seen = body.get("status", {}).get("observedGeneration", generation)
    return seen == generation and any(
        c["type"] == kind and c["status"] == "True" for c in conditions(body)
    )
