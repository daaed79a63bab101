"""CloudNativePG's own pod in memory: rolled when its template changes, started after the gate."""

import json
from datetime import timedelta
from typing import Any

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.conditions import Reason
from cnpg_plugin_operator.api.times import format_time
from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.decide.facts.plugin import HandshakeOutcome
from cnpg_plugin_operator.decide.registration.restart import Pace
from cnpg_plugin_operator.decide.sidecar.gate import encode_verdicts
from cnpg_plugin_operator.desired.sidecars import Gate, read_sidecars
from tests.support.unit.cnpg_pods import GATE, deployment, identified
from tests.support.unit.stage.stage import Stage
from tests.support.unit.stage.world import NAMESPACE, World

CNPG = "cnpg-controller-manager"
LABELS = {names.labels.NAME: names.cnpg.APP}
MISSING = HandshakeOutcome(Reason.SOCKET_MISSING, "The plugin did not open the socket in time.")


class HostingWorld(World):
    """A world whose CloudNativePG has pods: one, and two during a rollout."""

    crashing: set[str]
    """Images whose containers exit at once."""
    outcomes: dict[str, HandshakeOutcome]
    """The gate's verdicts by CNPG-I names; other plugins answer."""

    def install_cnpg(self, version: str) -> None:
        """Install CloudNativePG as in its manifest, with its first pod as the leader."""
        self.crashing, self.outcomes, self.made = set(), {}, 0
        self.client.put(kinds.DEPLOYMENT, {**deployment(), "status": {}})
        self.client.the(kinds.DEPLOYMENT, CNPG)["metadata"]["generation"] = 1
        self.client.put(kinds.LEASE, {"metadata": _meta(names.cnpg.LEASE), "spec": {}})
        for _ in range(3):
            self._roll()

    def run(self) -> None:
        """Start the pods of plugins, and advance CloudNativePG's by one step."""
        super().run()
        self._roll()

    @property
    def live(self) -> dict[str, Any]:
        return self.client.the(kinds.DEPLOYMENT, CNPG)

    @property
    def pods(self) -> list[dict[str, Any]]:
        """CloudNativePG's pods, oldest first."""
        every = (self.client.objects[key] for key in list(self.client.objects) if key[0] == "Pod")
        found = [pod for pod in every if pod["metadata"]["name"].startswith("cnpg-")]
        return sorted(found, key=lambda pod: int(pod["metadata"]["name"].partition("-")[2]))

    def _roll(self) -> None:
        """Start a pod of the present template; end the others once it is ready."""
        template, wanted = self.live["spec"]["template"], self.live["spec"]["replicas"]
        made_for = json.dumps(template)
        fresh = [pod for pod in self.pods if pod["made_for"] == made_for]
        if not fresh and wanted:
            fresh = [self._make(template)]
        elif fresh:
            self._start(fresh[-1])
        done = [pod for pod in fresh if _is_ready(pod)]
        for pod in self.pods:
            stale = pod not in fresh and (done or not _is_ready(pod))
            if stale or not wanted:
                del self.client.objects["Pod", NAMESPACE, pod["metadata"]["name"]]
        self._lead()
        self._update_status(len(fresh))

    def _make(self, template: dict[str, Any]) -> dict[str, Any]:
        self.made += 1
        metadata = {
            **_meta(f"cnpg-{self.made}"),
            "labels": LABELS,
            "annotations": dict(template["metadata"].get("annotations") or {}),
            "creationTimestamp": format_time(self._clock()),
            "ownerReferences": [{"kind": "ReplicaSet", "name": f"{CNPG}-5d9c"}],
        }
        return self.client.put(
            kinds.POD, {"metadata": metadata, "made_for": json.dumps(template), "status": {}}
        )

    def _start(self, pod: dict[str, Any]) -> None:
        """Start the init containers in order, until one blocks; then the manager."""
        if _is_ready(pod) or pod["status"].get("started"):
            pod["status"]["conditions"] = [{"type": "Ready", "status": "True"}]
            return
        spec, now = json.loads(pod["made_for"])["spec"], format_time(self._clock())
        statuses: list[dict[str, Any]] = []
        pod["status"] = {"initContainerStatuses": statuses}
        for container in spec.get("initContainers") or []:
            broken = container["image"] in self.crashing
            statuses.append(_status(container, self._state(container, now, broken=broken)))
            if broken:
                statuses[-1]["restartCount"] = 2
                return
        pod["status"]["started"] = True

    def _state(self, container: dict[str, Any], now: str, *, broken: bool) -> dict[str, Any]:
        if broken:
            return {"terminated": {"exitCode": 1, "message": "it failed", "finishedAt": now}}
        if container["name"] != names.sidecars.GATE:
            return {"running": {"startedAt": now}}
        declared = [argument for argument in container["args"][1:] if not argument.startswith("--")]
        sockets = [argument.rpartition("/")[2] for argument in declared]
        found = {name: self.outcomes.get(name) or identified(name) for name in sockets}
        message = encode_verdicts(found)
        return {"terminated": {"exitCode": 0, "message": message, "finishedAt": now}}

    def _lead(self) -> None:
        """Give the Lease to the newest ready pod, if its holder is gone."""
        ready = [pod["metadata"]["name"] for pod in self.pods if _is_ready(pod)]
        lease = self.client.the(kinds.LEASE, names.cnpg.LEASE)["spec"]
        if str(lease.get("holderIdentity", "")).partition("_")[0] not in ready:
            lease["holderIdentity"] = f"{ready[-1]}_x" if ready else ""
            lease["acquireTime"] = format_time(self._clock())

    def _update_status(self, updated: int) -> None:
        """Update the Deployment's status."""
        ready = sum(_is_ready(pod) for pod in self.pods)
        self.live["status"] = {
            "observedGeneration": self.live["metadata"]["generation"],
            "replicas": len(self.pods),
            "updatedReplicas": updated,
            "availableReplicas": ready,
            "unavailableReplicas": len(self.pods) - ready,
        }

    def restart_sidecar(self, plugin: str) -> None:
        """Restart a sidecar of the newest pod."""
        name = names.sidecars.container(plugin)
        for status in self.pods[-1]["status"]["initContainerStatuses"]:
            if status["name"] == name:
                status["state"] = {"running": {"startedAt": format_time(self._clock())}}
                status["restartCount"] = 1

    def replace_deployment(self) -> None:
        """Replace the Deployment with its manifest, as `kubectl replace` does."""
        self.live["spec"] = deployment()["spec"]
        self.live["metadata"]["generation"] += 1


class HostingStage(Stage):
    """An operator and a CloudNativePG that accepts sidecars."""

    gate: Gate = GATE
    pace: Pace = Pace(cooldown=timedelta(0))
    """No pause between two rolls, for tests of other subjects."""
    world: HostingWorld

    def make_world(self, version: str) -> HostingWorld:
        return HostingWorld(self.client, self.clock, version)

    def create(self, name: str = "hello", **spec: Any) -> None:
        super().create(name, **{"mode": "Sidecar", **spec})

    @property
    def template(self) -> dict[str, Any]:
        found: dict[str, Any] = self.world.live["spec"]["template"]
        return found

    @property
    def sidecars(self) -> dict[str, str]:
        """The sidecars in CloudNativePG's Deployment."""
        return read_sidecars(self.template)

    @property
    def applies(self) -> int:
        """How often CloudNativePG's Deployment was applied."""
        return self.client.writes.count(f"Deployment {CNPG}")

    async def until(self, *plugins: str, seconds: float = 120) -> None:
        """Let time pass until all of these are Ready; fail if they do not become Ready."""
        plugins = plugins or ("hello",)
        end = self.clock().timestamp() + seconds
        while self.clock().timestamp() < end:
            await self.pass_by(2, *plugins)
            if all(self.state(name) == ("True", "Ready") for name in plugins):
                return
        reported = {name: (self.state(name), self.message(name=name)) for name in plugins}
        raise AssertionError(reported)

    def state(self, name: str = "hello") -> tuple[str, str]:
        """The condition Ready; empty if nothing was reported yet."""
        body = self.client.objects.get(("CNPGPlugin", NAMESPACE, name))
        return self.condition(name=name) if body and body.get("status") else ("", "")

    def record(self, name: str = "hello") -> dict[str, Any]:
        """The record of a sidecar in the status."""
        found: dict[str, Any] = self.client.the(kinds.PLUGIN, name)["status"]["sidecar"]
        return found


def _meta(name: str) -> dict[str, Any]:
    return {"name": name, "namespace": NAMESPACE}


def _status(container: dict[str, Any], state: dict[str, Any]) -> dict[str, Any]:
    ready = "running" in state
    return {"name": container["name"], "image": container["image"], "state": state, "ready": ready}


def _is_ready(pod: dict[str, Any]) -> bool:
    conditions = pod["status"].get("conditions") or []
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
