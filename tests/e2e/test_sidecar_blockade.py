"""No sidecar keeps CloudNativePG from being available, whatever it does or lacks.

Each way to break a sidecar ends within three minutes, without intervention: CloudNativePG's
Deployment is available again, the sidecar reports its fault, and the healthy one beside it is
Ready.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Final

import pytest

from tests.support import wait
from tests.support.e2e.damage import LAMPS, refusing_lamps
from tests.support.e2e.plugins import Plugins
from tests.support.e2e.refused_containers import refusing_containers
from tests.support.e2e.sidecars import (
    MINUTE,
    PATH,
    WHERE,
    pods,
    sidecar,
    template,
    until_ready,
    until_rolled,
)
from tests.support.resources import Manifest, behaviour, plugin_name, postgres
from tests.support.thorough import rows

pytestmark = [pytest.mark.cnpg("sidecars"), pytest.mark.usefixtures("leaving_cnpg_as_found")]

HEALTHY: Final = "blockade-healthy"
AGAIN: Final = 3 * MINUTE
"""Time within which CloudNativePG is available again."""


def acting(**settings: str) -> dict[str, str]:
    return settings


@dataclass(frozen=True)
class Way:
    """One way to break a sidecar, and what its resource then reports."""

    name: str
    reasons: tuple[str, ...]
    said: str
    settings: dict[str, str] = field(default_factory=dict)
    """How the sample plugin should behave."""
    spec: dict[str, Any] = field(default_factory=dict)
    around: Callable[[Plugins, str], AbstractContextManager[None]] = lambda *_: nullcontext()
    condition: str = "Available"

    @property
    def manifest(self) -> Manifest:
        env = [*behaviour(self.name, **self.settings), *self.spec.get("env", [])]
        return sidecar(self.name, **{**self.spec, "env": env})


def with_policy(plugins: Plugins, name: str) -> AbstractContextManager[None]:
    return refusing_containers(plugins, f"cnpg-plugin-{name}", within="pods")


def volume(**source: Any) -> dict[str, Any]:
    return {
        "volumes": [{"name": "data", **source}],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }


BLOCKED = ("CNPGBlocked",)
WAYS = (
    Way("way-port-8080", BLOCKED, "beside it", acting(SAMPLE_LISTEN=":8080")),
    Way("way-port-9443", BLOCKED, "beside it", acting(SAMPLE_LISTEN=":9443")),
    Way("way-image", ("ImagePullError",), "localhost/no-such-plugin:1",
        spec={"image": "localhost/no-such-plugin:1"}),
    Way("way-crash", ("CrashLoop",), "crashing, as asked by", acting(SAMPLE_MISBEHAVE="crash")),
    Way("way-cpu", ("Unschedulable",), "Insufficient cpu",
        spec={"resources": {"requests": {"cpu": "1000"}}}),
    Way("way-config-map", ("MountFailed",), 'configmap "no-such-settings" not found',
        spec=volume(configMap={"name": "no-such-settings"})),
    Way("way-secret", ("CrashLoop",), 'secret "no-such-secret" not found',
        spec={"env": [{"name": "X", "valueFrom": {
            "secretKeyRef": {"name": "no-such-secret", "key": "x"}}}]}),
    Way("way-quota", ("PodsRefused",), "exceeded quota", around=refusing_lamps,
        spec={"resources": LAMPS}),
    Way("way-claim", ("Unschedulable",), "no-such-claim",
        spec=volume(persistentVolumeClaim={"claimName": "no-such-claim"})),
    Way("way-eviction", ("Evicted",), "way-eviction--data",
        acting(SAMPLE_FILL="8", SAMPLE_DIRECTORY="/data"),
        spec=volume(emptyDir={"sizeLimit": "1Mi"})),
    Way("way-memory", ("CrashLoop",), "exits with code",
        acting(SAMPLE_ALLOCATE="400"), spec={"resources": {"limits": {"memory": "64Mi"}}}),
    Way("way-command", ("CrashLoop",), "/no-such-program",
        spec={"command": ["/no-such-program"]}),
    Way("way-liveness", ("CrashLoop",), "exits with code",
        spec={"probes": {"liveness": {
            "tcpSocket": {"port": 1}, "periodSeconds": 1, "failureThreshold": 3}}}),
    Way("way-silent", ("SocketMissing",), "did not open the socket",
        acting(SAMPLE_MISBEHAVE="no-listen"), condition="HandshakeSucceeded"),
    Way("way-policy", ("PodsRefused",), "not here, says the test", around=with_policy),
)  # fmt: skip
SAMPLE = tuple(way for way in WAYS if way.name == "way-quota")


@pytest.fixture(scope="module")
def healthy(leaving_cnpg_as_found: None, module_plugins: Plugins) -> Iterator[Plugins]:
    """A working sidecar, before and beside all the others."""
    module_plugins.apply(sidecar(HEALTHY))
    until_ready(module_plugins, HEALTHY)
    until_rolled(module_plugins)
    yield module_plugins
    module_plugins.remove(HEALTHY)
    until_rolled(module_plugins)


def is_complete(plugins: Plugins) -> bool:
    """Whether all replicas are updated and available, and none of another template is left."""
    deployment = plugins.api.get(PATH)
    spec, status = deployment["spec"], deployment["status"]
    return bool(
        status.get("observedGeneration") == deployment["metadata"]["generation"]
        and status.get("updatedReplicas", 0) == spec["replicas"]
        and status.get("availableReplicas", 0) == spec["replicas"]
        and status.get("replicas", 0) == spec["replicas"]
    )


def is_placed(plugins: Plugins, name: str) -> bool:
    containers = template(plugins.api)["spec"].get("initContainers") or []
    return f"cnpg-plugin-{name}" in [container["name"] for container in containers]


def describe(plugins: Plugins, name: str) -> str:
    status = [(p["metadata"]["name"], p["status"]) for p in pods(plugins.api)]
    return f"{json.dumps(status)[:6000]}\n{plugins.explain(name)}"


@pytest.mark.parametrize("way", rows(WAYS, SAMPLE), ids=lambda way: way.name)
def test_cloudnativepg_is_available_again_after(
    way: Way, healthy: Plugins, plugins: Plugins
) -> None:
    name = way.name

    def reported() -> bool:
        found = plugins.condition(name, way.condition)
        return found.get("reason") in way.reasons and way.said in found["message"]

    def over() -> bool:
        """Reported, and removed if it keeps CloudNativePG from being available."""
        # Later events count as well: a crash loop pauses between crashes.
        rests = way.condition != "Available" or not is_placed(plugins, name)
        return reported() and rests and is_complete(plugins)

    with way.around(plugins, name):
        plugins.apply(way.manifest)
        began = time.monotonic()
        wait.until(
            f"CloudNativePG is complete again, and {name} says why it was not",
            over,
            within=AGAIN,
            explain=lambda: describe(plugins, name),
        )
        took = time.monotonic() - began
        print(f"{name}: {took:.0f} s")
        until_ready(plugins, HEALTHY)
        plugins.remove(name, within=MINUTE / 2)
    until_rolled(plugins)
    wait.until("CloudNativePG is complete", lambda: is_complete(plugins), within=MINUTE)


def test_deleting_a_blocking_sidecar_takes_effect_at_once(
    healthy: Plugins, plugins: Plugins
) -> None:
    name, cluster = "way-deleted", "e2e-way-deleted"
    plugins.apply(postgres(cluster, plugin_name(name), imageName="localhost/none:17"))
    plugins.apply(sidecar(name, env=behaviour(name, SAMPLE_LISTEN=":8080")))
    wait.until("its pod is there", lambda: newest_has(plugins, name), within=MINUTE)
    plugins.delete("CNPGPlugin", name)
    wait.until("it is removed", lambda: not is_placed(plugins, name), within=10)
    plugins.until_gone("CNPGPlugin", name, within=15)
    wait.until("CloudNativePG is complete", lambda: is_complete(plugins), within=MINUTE)
    until_ready(plugins, HEALTHY)


def newest_has(plugins: Plugins, name: str) -> bool:
    """Whether a pod of CloudNativePG was created with the sidecar, and is not ready."""
    found = [
        pod
        for pod in pods(plugins.api)
        if f"cnpg-plugin-{name}" in [c["name"] for c in pod["spec"].get("initContainers") or []]
    ]
    return bool(found)


def test_correcting_a_blocking_sidecar_takes_effect_at_once(
    healthy: Plugins, plugins: Plugins
) -> None:
    name = "way-corrected"
    plugins.apply(sidecar(name, resources={"requests": {"cpu": "1000"}}))
    wait.until("its pod is there", lambda: newest_has(plugins, name), within=MINUTE)
    plugins.patch(name, resources={"requests": {"cpu": "5m"}})
    until_ready(plugins, name, HEALTHY, within=MINUTE / 2)
    plugins.kubectl("rollout", "status", "deployment/cnpg-controller-manager", *WHERE)
    plugins.remove(name)


def test_the_faulty_one_of_two_new_sidecars_is_identified(
    healthy: Plugins, plugins: Plugins
) -> None:
    """Neither has worked before, and CloudNativePG's pod does not show which one is faulty."""
    good, bad = "way-innocent", "way-guilty"
    plugins.apply(sidecar(good), sidecar(bad, env=behaviour(bad, SAMPLE_LISTEN=":8080")))
    wait.until(
        "both are placed",
        lambda: is_placed(plugins, good) and is_placed(plugins, bad),
        within=MINUTE,
    )
    until_ready(plugins, good, HEALTHY, within=2 * AGAIN)
    wait.until(
        "the other one is out",
        lambda: (
            plugins.condition(bad, "Available").get("reason") == "CNPGBlocked"
            and not is_placed(plugins, bad)
            and is_complete(plugins)
        ),
        within=AGAIN,
        explain=lambda: describe(plugins, bad),
    )
    plugins.remove(bad, good)
