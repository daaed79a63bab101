"""The stage of a history: three plugins, what happens around them, and what must always hold."""

import copy
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from cnpg_plugin_operator import names
from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.cluster.kinds import Kind
from cnpg_plugin_operator.decide.facts.plugin import Endpoint, HandshakeOutcome, Material
from tests.support.tls.certificates import authority
from tests.support.unit.builders import resource
from tests.support.unit.stage.hosting import HostingStage
from tests.support.unit.stage.stage import FakeHandshaker
from tests.support.unit.stage.world import NAMESPACE

PLUGINS: Final = ("a", "b", "c")

ISSUER: Final = "theirs"
"""An issuer of cert-manager that a user has created."""

MOST_WRITES: Final = 40
"""Of one visit: a pass of the plugin, and the passes that follow from it."""

MOST_ROLLS: Final = 3
"""Of CloudNativePG, once nothing disturbs any more: several sidecars share one."""

PRIVATE: Final = "LS0tLS1CRUdJTiBQUklWQVRFIEtFWS"
"""How a private key begins in a Secret."""


class ProvenHandshaker(FakeHandshaker):
    """Answers as each plugin's history says, and remembers which plugins ever answered."""

    def __init__(self, stage: "HistoryStage") -> None:
        super().__init__(stage.kubelet)
        self._stage = stage
        self.outcomes: dict[str, HandshakeOutcome] = {}
        self.proven: set[str] = set()

    async def shake(
        self,
        endpoint: Endpoint,
        material: Material,
        timeout: float,  # noqa: ASYNC109 - a value
    ) -> HandshakeOutcome:
        answer = await super().shake(endpoint, material, timeout)
        outcome = self.outcomes.get(endpoint.plugin_name, answer)
        if outcome.succeeded:
            self.proven.add(endpoint.plugin_name)
        return outcome


class HistoryStage(HostingStage):
    """An operator, CloudNativePG, and whatever happens to both."""

    def __init__(self) -> None:
        super().__init__()
        self.handshaker = self.answers = ProvenHandshaker(self)
        self.reconciler = self.operator()
        self.owed = timedelta(0)
        """By how much the clock was set back."""
        self.reissued: dict[bool, datetime] = {}
        """When cert-manager last renewed an authority (True), and a client's certificate."""
        self._made = 0
        self.world.authorities[ISSUER] = authority("their issuer", authority("their root"))
        ready = {"conditions": [{"type": "Ready", "status": "True"}]}
        self.client.put(
            kinds.ISSUER, {"metadata": {"name": ISSUER, "namespace": NAMESPACE}, "status": ready}
        )

    def create(self, name: str = "a", **spec: Any) -> None:
        """Create a resource, as a new one has another uid than its predecessor."""
        if self.lives(name):
            return
        self._made += 1
        body = resource(name, **spec)
        body["metadata"]["uid"] = f"uid-of-{name}-{self._made}"
        self.client.put(kinds.PLUGIN, body)

    def lives(self, name: str) -> bool:
        """Whether there is a resource of this name."""
        return (kinds.PLUGIN.kind, NAMESPACE, name) in self.client.objects

    def kept(self) -> list[str]:
        """The resources that are not being deleted."""
        bodies = (self.client.the(kinds.PLUGIN, name) for name in PLUGINS if self.lives(name))
        return [
            body["metadata"]["name"]
            for body in bodies
            if not body["metadata"].get("deletionTimestamp")
        ]

    def find(self, kind: Kind, name: str) -> dict[str, Any] | None:
        """The live object of this name, if there is one."""
        return self.client.objects.get((kind.kind, NAMESPACE, name))

    async def end(self, kind: Kind, name: str, namespace: str = NAMESPACE) -> None:
        """Delete an object as another program does: faults are the operator's alone."""
        before = len(self.client.writes)
        fault, self.client.fail_at = self.client.fail_at, None
        missing, self.client.missing = self.client.missing, set()
        await self.client.delete(kind, name, namespace)
        self.client.fail_at, self.client.missing = fault, missing
        del self.client.writes[before:]

    async def collect(self) -> None:
        """Delete what belongs to no living object any more, as Kubernetes does in its worst hour.

        It takes a resource that came back while it did not look for the one that it knew.
        """
        living = {(kind, name) for kind, _, name in self.client.objects}
        for (kind, namespace, name), body in list(self.client.objects.items()):
            owners = body["metadata"].get("ownerReferences") or []
            owned = {(owner["kind"], owner["name"]) for owner in owners if "uid" in owner}
            if owned and living.isdisjoint(owned) and not body["metadata"].get("finalizers"):
                self.client.objects.pop((kind, namespace, name))

    async def round(self, seconds: float = 1) -> float:
        """Let all plugins have a pass, and the world act; check what must hold after each."""
        pauses = [300.0]
        for name in PLUGINS:
            before = len(self.client.writes)
            pause = await self.visit(name)
            pauses += [] if pause is None else [pause]
            wrote = self.client.writes[before:]
            assert len(wrote) <= MOST_WRITES, f"a visit of {name} wrote {wrote}"
            self.check()
        await self.collect()
        self.turn(seconds)
        return min(pauses)

    def check(self) -> None:
        """Fail where an unproven plugin is announced, or a message is not one printable line."""
        for (kind, _, name), body in self.client.objects.items():
            metadata = body["metadata"]
            label = (metadata.get("labels") or {}).get(names.cnpg.PLUGIN_NAME)
            if kind == kinds.SERVICE.kind and label and metadata.get("ownerReferences"):
                assert label in self.answers.proven, f"Service {name} announces unproven {label}"
            if kind == kinds.PLUGIN.kind:
                for condition in body.get("status", {}).get("conditions", ()):
                    said = condition["message"]
                    assert said.isprintable(), said
                    assert len(said) <= 1024, said

    async def heal(self) -> None:
        """End all that disturbs: from here on, everything could work."""
        self.client.fail_at, self.client.missing, self.client.unknown = None, set(), {}
        self.facts.late = False
        self.answers.outcomes.clear()
        self.world.outcomes.clear()
        self.world.crashing.clear()
        self.world.live["spec"]["replicas"] = 1
        if self.world.pods:
            # A sidecar that missed CloudNativePG's start is looked for at the next one only.
            await self.end(kinds.POD, self.world.pods[-1]["metadata"]["name"])
        for name in PLUGINS:
            for kind, other in ((kinds.SERVICE, f"rival-of-{name}"), (kinds.CLUSTER, f"db-{name}")):
                space = NAMESPACE if kind is kinds.SERVICE else "app"
                if (kind.kind, space, other) in self.client.objects:
                    await self.end(kind, other, space)
        for name in self.kept():
            if self.client.the(kinds.PLUGIN, name)["spec"]["pluginName"] != f"{name}.example.org":
                await self.end(kinds.PLUGIN, name)
        for name in self.kept():
            spec = self.client.the(kinds.PLUGIN, name)["spec"]
            is_sidecar = spec.get("mode") == "Sidecar"
            for field in ("port", "replicas", "tls") if is_sidecar else ():
                spec.pop(field, None)
            policy = {**spec.get("cnpg", {}), "restartPolicy": "IfNeeded"}
            may_rename = name == self.kept()[0] and not is_sidecar
            service = spec.get("service", {}) if may_rename else {}
            image = spec["image"].split()[0]
            self.edit(name, suspend=False, cnpg=policy, service=service, image=image)
        self.clock.pass_by(self.owed.total_seconds())
        self.reconciler = self.operator()

    async def converge(self, most: int = 150) -> None:
        """Let time pass until all is as users want it, and nothing is written any more."""
        quiet = 0
        for _ in range(most):
            before = len(self.client.writes)
            pause = await self.round()
            self.turn(min(max(pause, 1), 300) if len(self.client.writes) == before else 1)
            quiet = quiet + 1 if len(self.client.writes) == before and self.is_done() else 0
            if quiet == 3:
                return
        told = {name: (self.state(name), self.message(name=name)) for name in self.kept()}
        raise AssertionError(f"no end after {most} rounds: {told}, {self.client.writes[-12:]}")

    def is_done(self) -> bool:
        """Whether each resource is Ready or, once deleted, gone."""
        kept = self.kept()
        alive = [name for name in PLUGINS if self.lives(name)]
        return alive == kept and all(self.state(name) == ("True", "Ready") for name in kept)

    def end_state(self) -> dict[str, Any]:
        """What the operator keeps for its users, without names and times that differ by history."""
        found: dict[str, Any] = {}
        for (kind, _, name), body in self.client.objects.items():
            labels = body["metadata"].get("labels") or {}
            if names.labels.MANAGED_BY in labels and kind not in ("Pod", "Secret"):
                found[f"{kind} {name}"] = _without_history(body)
            if kind == kinds.PLUGIN.kind:
                conditions = body["status"]["conditions"]
                found[f"{kind} {name}"] = {
                    c["type"]: (c["status"], c["reason"]) for c in conditions
                }
        found["sidecars"] = sorted(self.sidecars)
        return found


def _without_history(body: Mapping[str, Any]) -> dict[str, Any]:
    """What a child asks for: not when it came to be, nor which certificates it was told of."""
    spec = copy.deepcopy(dict(body.get("spec") or {}))
    spec.get("template", {}).get("metadata", {}).pop("annotations", None)
    return {"labels": body["metadata"].get("labels"), "spec": spec}
