"""The measured plugins: deployed by the operator, and by hand as the baseline."""

import json
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from tests.bench.figures import BenchError
from tests.cluster import Cluster
from tests.cluster.network import call_inside
from tests.cluster.progress import heartbeat
from tests.demo.diagnosis import explain_plugin
from tests.demo.installing import CNPG_NAMESPACE, ROOT
from tests.demo.watching import is_true, watch

STATIC = ROOT / "tests" / "plugins" / "static" / "hello.yaml"
STATIC_NAME = "hello"
STATIC_SECRETS = ("hello-server-tls", "hello-client-tls")
CHAIN_ISSUER = "issuer/cnpg-plugins"
IMAGE = "localhost/sample-plugin:0.1.0"
PATIENCE = 120.0
PAUSE = 0.02
"""Seconds between two tries to connect."""
PATIENCE_EACH = 15.0
"""Seconds more for each plugin, on a busy machine."""
SMALLEST: Final = {
    "requests": {"cpu": "1m", "memory": "8Mi"},
    "limits": {"memory": "64Mi"},
}
"""For many plugins on one node, where no pod is compared with that of the static manifests."""


def manifest(name: str, **spec: object) -> dict[str, object]:
    """Build the shortest resource for the sample plugin under another name."""
    plugin_name = f"{name}.cnpgplugin.dev"
    return {
        "apiVersion": "cnpgplugin.dev/v1beta1",
        "kind": "CNPGPlugin",
        "metadata": {"name": name, "namespace": CNPG_NAMESPACE},
        "spec": {
            "pluginName": plugin_name,
            "image": IMAGE,
            "args": ["plugin"],
            "env": [{"name": "SAMPLE_NAME", "value": plugin_name}],
            # The same as in the static manifests.
            "resources": {
                "requests": {"cpu": "10m", "memory": "32Mi"},
                "limits": {"memory": "128Mi"},
            },
            **spec,
        },
    }


def name_of(place: int) -> str:
    """Name one of many plugins, counted from 0."""
    return f"plugin-{place + 1:03}"


def _await_connection(address: tuple[str, int]) -> bool:
    """Connect as soon as kube-proxy lets; say whether that was not at once."""
    end, refused = time.monotonic() + PATIENCE, False
    while time.monotonic() < end:
        with suppress(OSError), socket.create_connection(address, timeout=1):
            return refused
        refused = True
        time.sleep(PAUSE)
    raise BenchError(f"{address} refuses connections")


class Plugins:
    """Applies and removes plugins, and measures the time."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def apply(self, *names: str, **spec: object) -> None:
        items = [manifest(name, **spec) for name in names]
        listing = {"apiVersion": "v1", "kind": "List", "items": items}
        self._kubectl("apply", "-f", "-", input=json.dumps(listing))

    def apply_many(self, number: int, **spec: object) -> None:
        """Apply plugins of the smallest kind, all at once."""
        self.apply(*(name_of(place) for place in range(number)), resources=SMALLEST, **spec)

    def ensure(self, number: int) -> None:
        """Have exactly as many plugins of the smallest kind, all Ready."""
        wanted = {name_of(place) for place in range(number)}
        with heartbeat(f"{number} Ready plugins"):
            if surplus := sorted(set(self._names()) - wanted):
                self._kubectl("delete", "cnpgplugins", *surplus, self._timeout(len(surplus)))
            self.apply_many(number)
            self.await_ready(number)

    def count(self) -> int:
        """How many plugins there are."""
        return len(self._names())

    def reported(self, number: int) -> list[dict[str, Any]]:
        """What Clusters show of each Ready plugin once CloudNativePG has called it."""
        listing = json.loads(self._kubectl("get", "cnpgplugins", "--output=json"))
        said = {item["metadata"]["name"]: item["status"]["plugin"] for item in listing["items"]}
        found = [said[name_of(place)] for place in range(number)]
        return [
            {
                "name": each["name"],
                "version": each["version"],
                "capabilities": [f"TYPE_{capability}" for capability in each["capabilities"]],
            }
            for each in found
        ]

    def time_operator(self, name: str) -> float:
        """Seconds from `kubectl apply` of a CNPGPlugin to Ready."""
        return self._time("cnpgplugins.cnpgplugin.dev", name, "Ready", lambda: self.apply(name))

    def time_static(self) -> tuple[float, float]:
        """Seconds from `kubectl apply` of the manifests to a Deployment that is Available, and to a
        Service that can be called.
        """
        available = self._time(
            "deployments.apps",
            STATIC_NAME,
            "Available",
            lambda: self._kubectl("apply", "-f", str(STATIC)),
        )
        begun = time.monotonic()
        spec = json.loads(self._kubectl("get", "service", STATIC_NAME, "--output=json"))["spec"]
        address = (spec["clusterIP"], spec["ports"][0]["port"])
        was_lagging = call_inside(self._cluster.layout.netns, lambda: _await_connection(address))
        return available, available + (time.monotonic() - begun if was_lagging else 0.0)

    def _time(self, kind: str, name: str, condition: str, apply: Callable[[], object]) -> float:
        with watch(self._cluster, kind, CNPG_NAMESPACE, name) as followed:
            begun = time.monotonic()
            apply()
            for version in followed.versions(PATIENCE):
                if is_true(version, condition):
                    return time.monotonic() - begun
        said = explain_plugin(self._cluster, CNPG_NAMESPACE, name)
        raise BenchError(f"{kind} {name} is not {condition} after {PATIENCE:.0f} s\n{said}")

    def await_ready(self, number: int) -> float:
        """Seconds until as many plugins, just applied, are all Ready."""
        begun = time.monotonic()
        self._kubectl(
            *("wait", "cnpgplugins", "--all", "--for=condition=Ready"),
            self._timeout(number),
        )
        return time.monotonic() - begun

    def touch(self, value: int) -> None:
        """Annotate every resource, which wakes it but changes no desired state."""
        self._kubectl(
            "annotate", "cnpgplugins", "--all", "--overwrite", f"bench.cnpgplugin.dev/touch={value}"
        )

    def remove_static(self) -> None:
        self._kubectl(
            "delete", "-f", str(STATIC), "--ignore-not-found", f"--timeout={PATIENCE:.0f}s"
        )
        self._kubectl("delete", "secret", *STATIC_SECRETS, "--ignore-not-found")
        self._await_deletion("pod", "--selector=app=hello")

    def remove_all(self) -> None:
        """Delete every CNPGPlugin and wait until the namespace's chain is deleted, too."""
        timeout = self._timeout(len(self._names()))
        self._kubectl("delete", "cnpgplugins", "--all", timeout)
        self._await_deletion("pod", "--selector=cnpgplugin.dev/name", timeout)
        self._await_deletion(CHAIN_ISSUER)

    def _await_deletion(self, *what: str) -> None:
        self._kubectl("wait", "--for=delete", f"--timeout={PATIENCE:.0f}s", *what)

    def _names(self) -> list[str]:
        listing = self._kubectl("get", "cnpgplugins", "--output=name")
        return [line.partition("/")[2] for line in listing.splitlines()]

    def _timeout(self, number: int) -> str:
        return f"--timeout={PATIENCE_EACH * number + PATIENCE:.0f}s"

    def _kubectl(self, *arguments: str, input: str | None = None) -> str:  # noqa: A002
        return self._cluster.kubectl("--namespace", CNPG_NAMESPACE, *arguments, input=input)
