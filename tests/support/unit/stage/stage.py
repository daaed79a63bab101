"""A stage for the operator: a cluster in memory, with the controllers and pods around it."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from cnpg_plugin_operator import names
from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.cluster.apply import Writer
from cnpg_plugin_operator.cluster.cnpg_restart import Restarter
from cnpg_plugin_operator.cluster.namespace import Namespaces
from cnpg_plugin_operator.cluster.removal import Remover
from cnpg_plugin_operator.cluster.scope import Scope
from cnpg_plugin_operator.cluster.sidecars import Sidecars
from cnpg_plugin_operator.cluster.snapshot import ClusterReader
from cnpg_plugin_operator.cluster.write_guard import WriteGuard
from cnpg_plugin_operator.decide.acceptance.acceptance import Grants
from cnpg_plugin_operator.decide.facts.plugin import Endpoint, HandshakeOutcome, Material
from cnpg_plugin_operator.decide.registration.restart import Pace
from cnpg_plugin_operator.desired.protection import Pods
from cnpg_plugin_operator.desired.sidecars import Gate
from cnpg_plugin_operator.pki.reading import read_pair
from cnpg_plugin_operator.reconcile.applying import ClusterApplier
from cnpg_plugin_operator.reconcile.environment import Environment
from cnpg_plugin_operator.reconcile.namespace import AT_ONCE
from cnpg_plugin_operator.reconcile.reconciler import Reconciler
from cnpg_plugin_operator.reconcile.workers import Lane
from cnpg_plugin_operator.settings import Settings
from cnpg_plugin_operator.telemetry import Metrics
from tests.support.unit.builders import resource
from tests.support.unit.fake_cluster import FakeCluster
from tests.support.unit.fed_facts import FedFacts, FedObjects, WatchedFake
from tests.support.unit.stage.kubelet import Kubelet
from tests.support.unit.stage.world import NAMESPACE, Clock, World

MOST_WAKES = 8
"""Maximum consecutive passes of the namespace before the world acts."""


@dataclass
class FakeHandshaker:
    """Answers like the pods, or as a test sets it, and counts its calls."""

    kubelet: Kubelet
    outcome: HandshakeOutcome | None = None
    asked: list[Endpoint] = field(default_factory=list)

    async def shake(
        self,
        endpoint: Endpoint,
        material: Material,
        timeout: float,  # noqa: ASYNC109 - a value
    ) -> HandshakeOutcome:
        self.asked.append(endpoint)
        return self.outcome or self.kubelet.answer(endpoint, material)


OPERATOR_PODS = Pods("operators", {"app": "cnpg-plugin-operator"})


class Stage:
    """An operator, a cluster in memory, and the controllers around it."""

    gate = Gate()
    pace = Pace()

    def __init__(self, version: str = "1.30.0", *, nudging: bool = False) -> None:
        self.grants = Grants(cluster_roles=frozenset({"viewer"}), cluster_refresh=nudging)
        """The chart's grants, which are read when the operator starts."""
        self.grant_prefix = ""
        """Prefix of the chart's ClusterRoles that each allow binding one ClusterRole."""
        self.clock = Clock()
        self.client: FakeCluster = WatchedFake()
        self.client.clock = self.clock
        self.world = self.make_world(version)
        self.kubelet = Kubelet(self.client, self.clock)
        self.handshaker = FakeHandshaker(self.kubelet)
        self.metrics = Metrics()
        self.lanes: Counter[Lane] = Counter()
        """How often passes gave up their slot, and for what."""
        self.woken: set[tuple[str, ...]] = set()
        """The passes that others have woken."""
        self.reconciler = self.operator()

    def make_world(self, version: str) -> World:
        return World(self.client, self.clock, version)

    def operator(self) -> Reconciler:
        """Restart the operator: only the cluster survives."""
        facts = self.facts = FedFacts(self.client)
        if isinstance(self.client, WatchedFake):
            self.client.watched = FedObjects(self.client, facts)
        reader = ClusterReader(
            self.client, facts, Scope((NAMESPACE,)), self.clock, self.grant_prefix
        )
        guard = WriteGuard(clock=lambda: self.clock().timestamp())
        binds = bool(self.grants.cluster_roles)
        remover = Remover(self.client, reader, binds_cluster_roles=binds)
        writer, restarter = Writer(self.client, facts, guard), Restarter(self.client)
        sidecars = Sidecars(self.client, reader, guard=guard)
        applier = ClusterApplier(writer, remover, restarter, sidecars, self.clock, self.aside)
        self.woken.clear()
        reconciler = Reconciler(
            Environment(
                reader=reader,
                applier=applier,
                remover=remover,
                namespaces=Namespaces(self.client, reader, sidecars_allowed=True),
                sidecars=sidecars,
                handshaker=self.handshaker,
                settings=Settings(
                    (NAMESPACE,),
                    pace=self.pace,
                    grants=self.grants,
                    gate=self.gate,
                    operator_pods=OPERATOR_PODS,
                ),
                metrics=self.metrics,
                clock=self.clock,
                aside=self.aside,
            )
        )
        reconciler.wakes(self.woken.add)
        return reconciler

    @asynccontextmanager
    async def aside(self, lane: Lane) -> AsyncIterator[None]:
        """Count what passes give up their slot for."""
        self.lanes[lane] += 1
        yield

    def create(self, name: str = "hello", **spec: Any) -> None:
        self.client.put(kinds.PLUGIN, resource(name, **spec))

    def edit(self, name: str = "hello", **spec: Any) -> None:
        live = self.client.the(kinds.PLUGIN, name)
        live["spec"].update(spec)
        live["metadata"]["generation"] += 1

    def ask_to_renew(self, kind: kinds.Kind = kinds.PLUGIN, name: str = "hello") -> None:
        """Request new certificates, as a user does."""
        annotations = self.client.the(kind, name)["metadata"].setdefault("annotations", {})
        annotations[names.annotations.RENEW] = self.clock().isoformat()

    def delete(self, name: str = "hello") -> None:
        metadata = self.client.the(kinds.PLUGIN, name)["metadata"]
        metadata["deletionTimestamp"] = "2026-03-01T12:00:00Z"

    async def settle(self, name: str = "hello", passes: int = 12, seconds: float = 1) -> None:
        """Let the operator and the world act in turn."""
        for _ in range(passes):
            await self.visit(name)
            self.turn(seconds)

    async def crash(self, passes: int, seconds: float = 1) -> None:
        """Settle; the operator ends where a write fails (`fail_at`), and another one goes on."""
        for _ in range(passes):
            armed = self.client.fail_at is not None
            await self.settle(passes=1, seconds=seconds)
            if armed and self.client.fail_at is None:
                self.reconciler = self.operator()

    def turn(self, seconds: float = 1) -> None:
        """Let the world act while time passes."""
        self.world.issue()
        self.world.run()
        self.kubelet.run()
        self.world.register()
        self.clock.pass_by(seconds)
        self.kubelet.run()

    async def pass_by(self, seconds: float, *plugins: str) -> None:
        """Let time pass; the operator is requeued as it requested, and after its own writes."""
        end = self.clock() + timedelta(seconds=seconds)
        while self.clock() < end:
            before = len(self.client.writes)
            pauses = [await self.visit(name) or 1.0 for name in plugins or ("hello",)]
            wrote = len(self.client.writes) > before
            left = (end - self.clock()).total_seconds()
            self.turn(min(1.0 if wrote else max(min(pauses), 5.0), left))

    async def visit(self, name: str = "hello") -> float | None:
        """Run one pass of a plugin, and those that follow from it; failures are left to the next.

        Returns when the plugin, or the namespace, is requeued.
        """
        plugin, namespace = (NAMESPACE, name), (NAMESPACE,)
        after = await self.run_pass(plugin)
        for _ in range(MOST_WAKES):
            again = await self.run_pass(namespace)
            if again is not None and again <= AT_ONCE:
                continue
            if plugin not in self.woken:
                break
            after = await self.run_pass(plugin)
            if namespace not in self.woken:
                break
        pauses = [pause for pause in (after, again) if pause is not None]
        return min(pauses) if after is not None else None

    async def run_pass(self, key: tuple[str, ...]) -> float | None:
        """Run the pass of one key."""
        self.woken.discard(key)
        requeue = await self.reconciler.reconcile(key)
        if isinstance(requeue.error, AssertionError):
            # A watcher of the world failed during the pass, which treats that as its own error.
            raise requeue.error
        return requeue.after if requeue.error is None else 0.0

    async def visit_all(self, *names: str) -> None:
        """Run one pass of each at the same time."""
        await asyncio.gather(*(self.visit(name) for name in names))

    def condition(self, kind: str = "Ready", name: str = "hello") -> tuple[str, str]:
        status = self.client.the(kinds.PLUGIN, name)["status"]
        found = next(c for c in status["conditions"] if c["type"] == kind)
        return found["status"], found["reason"]

    def message(self, kind: str = "Ready", name: str = "hello") -> str:
        status = self.client.the(kinds.PLUGIN, name)["status"]
        return str(next(c for c in status["conditions"] if c["type"] == kind)["message"])

    def service(self, name: str = "hello") -> dict[str, Any]:
        found: dict[str, Any] = self.client.the(kinds.SERVICE, name)["metadata"]
        return found

    @property
    def announced(self) -> str:
        """The announced client Secret."""
        return str(self.service()["annotations"][names.cnpg.CLIENT_SECRET])

    @property
    def restarted(self) -> dict[str, Any]:
        template = self.client.the(kinds.DEPLOYMENT, "cnpg")["spec"]["template"]
        found: dict[str, Any] = template.get("metadata", {}).get("annotations", {})
        return found

    def secrets(self) -> set[str]:
        """Names of all Secrets."""
        return {name for kind, _, name in self.client.objects if kind == "Secret"}

    def leaf(self, secret: str) -> str:
        """Fingerprint of what a Secret presents."""
        found = read_pair(secret, self.client.read(secret)).leaf
        assert found is not None, secret
        return found.fingerprint

    def leaves(self) -> dict[str, str]:
        """Fingerprints of what all Secrets with a key present."""
        bodies = {name: self.client.read(name) for name in self.secrets()}
        return {name: self.leaf(name) for name, data in bodies.items() if "tls.key" in data}

    def public_text(self) -> str:
        """Everything outside Secrets that users could read: objects and Events."""
        public = [b for (kind, *_), b in self.client.objects.items() if kind != "Secret"]
        return json.dumps([public, self.client.events])
