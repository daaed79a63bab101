"""How long it takes until a restarted CloudNativePG uses a new plugin, and who takes that time.

The measurement begins with the announcement. The settle time is a setting; the rollout and the
Lease depend on CloudNativePG and Kubernetes. The rest is the operator's own time: to decide, record
and patch, and to detect the new leader.
"""

import json
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from tests.bench.environment import Bench
from tests.bench.figures import Budget, Sheet
from tests.bench.plugins import PATIENCE, Plugins
from tests.cluster.progress import heartbeat
from tests.demo.installing import CNPG_NAMESPACE
from tests.support import wait
from tests.support.e2e.api import APPS, CORE, PLUGINS, Api, Object, Recorder

TABLE: Final = {
    "announced and settled to the new leader": Budget("s"),
    "the operator's own time": Budget("s", 1.0),
}
SETTLE_SECONDS = 10.0
"""The chart's default."""
NAME = "restarting"
LEASES = f"/apis/coordination.k8s.io/v1/namespaces/{CNPG_NAMESPACE}/leases"
LEASE = "db9c8771.cnpg.io"
ANNOUNCED_AT = "cnpgplugin.dev/announced-at"
RESTARTED_FOR = "cnpgplugin.dev/restarted-for"


@dataclass(frozen=True)
class Course:
    """When each step happened, in monotonic seconds."""

    settled: float
    """The announcement plus the settle time."""
    patched: float
    led: float
    """A new pod holds the Lease."""
    registered: float
    """CloudNativePG's Event on the Service."""
    ready: float

    @property
    def own(self) -> float:
        """The operator's own time: to decide and patch, then to detect the new leader."""
        return max(self.patched - self.settled, 0) + self.ready - max(self.led, self.registered)


def run(bench: Bench, sheet: Sheet) -> None:
    """Apply a plugin with `restartPolicy: Always` and follow it until it is Ready."""
    bench.clear()
    # A roll by an earlier scenario, or an earlier user of the cluster, must not be waited for.
    bench.operator.restart(environment={"CNPGP_RESTART_COOLDOWN": "1s"})
    with heartbeat("a plugin that needs a restart of CloudNativePG"):
        course = _follow(bench.api, bench.plugins)
    sheet.size = "one plugin"
    sheet.put("announced and settled to the new leader", course.led - course.settled)
    detail = (
        f"after settling: patch {course.patched - course.settled:.2f} s, leader "
        f"{course.led - course.settled:.2f} s, CloudNativePG's Event "
        f"{course.registered - course.settled:.2f} s, Ready {course.ready - course.settled:.2f} s"
    )
    sheet.put("the operator's own time", course.own, detail)


def _follow(api: Api, plugins: Plugins) -> Course:
    previous = _holder(api.get(f"{LEASES}/{LEASE}"))
    with (
        Recorder(api, f"{CORE}/namespaces/{CNPG_NAMESPACE}/services") as services,
        Recorder(api, f"{APPS}/namespaces/{CNPG_NAMESPACE}/deployments") as deployments,
        Recorder(api, LEASES) as leases,
        Recorder(api, f"{CORE}/namespaces/{CNPG_NAMESPACE}/events") as events,
        Recorder(api, f"{PLUGINS}/namespaces/{CNPG_NAMESPACE}/cnpgplugins") as resources,
    ):
        plugins.apply(NAME, cnpg={"restartPolicy": "Always"})
        ready = wait.until("it is Ready", lambda: resources.first(_is_ready), within=PATIENCE)
        announced = services.first(lambda body: _announced(body) is not None)
        patched = deployments.first(_is_restarted)
        led = leases.first(lambda body: _holder(body) not in ("", previous))
        assert announced is not None
        assert patched is not None
        assert led is not None
        registered = [
            change.at
            for change in list(events.changes)
            if change.object.get("reason") == "PluginRegistered" and change.at > led
        ]
        [stamp] = {_announced(change.object) for change in services.of(NAME)} - {None}
    offset = time.time() - time.monotonic()
    settled = datetime.fromisoformat(str(stamp)).timestamp() - offset + SETTLE_SECONDS
    return Course(settled, patched, led, min(registered, default=led), ready)


def _holder(lease: Object) -> str:
    """Read which pod holds CloudNativePG's Lease; empty for other Leases."""
    if lease["metadata"]["name"] != LEASE:
        return ""
    return str(lease["spec"].get("holderIdentity") or "")


def _announced(service: Object) -> str | None:
    if service["metadata"]["name"] != NAME:
        return None
    annotations = service["metadata"].get("annotations") or {}
    found: str | None = annotations.get(ANNOUNCED_AT)
    return found


def _is_restarted(deployment: Object) -> bool:
    template = deployment["spec"]["template"].get("metadata") or {}
    return NAME in json.loads((template.get("annotations") or {}).get(RESTARTED_FOR, "{}"))


def _is_ready(resource: Object) -> bool:
    conditions = (resource.get("status") or {}).get("conditions") or []
    ready = {c["type"]: c["status"] for c in conditions}.get("Ready")
    return resource["metadata"]["name"] == NAME and ready == "True"
