"""The stages of a pass, one per condition, in the order of the product.

Validate, certificates, workload, Service and handshake, announcement and registration.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.conditions import Type, Verdict
from cnpg_plugin_operator.api.spec import Plugin
from cnpg_plugin_operator.api.status import Report
from cnpg_plugin_operator.cluster import observe
from cnpg_plugin_operator.cluster.gather import Snapshot
from cnpg_plugin_operator.decide.admission import AdmissionInput, decide_admission
from cnpg_plugin_operator.decide.announcing import keep_announcing
from cnpg_plugin_operator.decide.certificates import (
    CertificateInput,
    decide_certificates,
    next_check,
)
from cnpg_plugin_operator.decide.cnpg_facts import Announcement, RestartRecord
from cnpg_plugin_operator.decide.facts import (
    Endpoint,
    Identity,
    Material,
    PairFacts,
)
from cnpg_plugin_operator.decide.issuing import decide_issuing
from cnpg_plugin_operator.decide.workload import WorkloadInput, decide_workload
from cnpg_plugin_operator.desired.access import build_access
from cnpg_plugin_operator.desired.certificates import build_certificates, build_chain
from cnpg_plugin_operator.desired.objects import Object, digest
from cnpg_plugin_operator.desired.service import build_endpoint, build_service
from cnpg_plugin_operator.desired.workload import build_deployment
from cnpg_plugin_operator.errors import ConflictError
from cnpg_plugin_operator.pki.reading import read_pair
from cnpg_plugin_operator.reconciler.proof import Proofs
from cnpg_plugin_operator.reconciler.registering import announcing, dial_hash, judge
from cnpg_plugin_operator.reconciler.reporting import build_report
from cnpg_plugin_operator.reconciler.silence import explain_silence
from cnpg_plugin_operator.reconciler.tools import FALLBACK_RETRY, RETRY, Tools
from cnpg_plugin_operator.reconciler.upgrading import EVENT_REASON, weigh_upgrade


@dataclass(slots=True)
class Pass:
    """One pass over one resource."""

    tools: Tools
    proofs: Proofs
    pruned: dict[tuple[str, str], tuple[str, int]]
    """Of each resource, by namespace and name, the uid and generation that was pruned for."""
    plugin: Plugin
    status: Mapping[str, Any]
    """The status as it is, for what was registered before."""
    now: datetime
    verdicts: dict[Type, Verdict] = field(default_factory=dict)
    wrote: list[str] = field(default_factory=list)
    """What this pass wrote, for the log."""
    _snapshot: Snapshot = field(init=False)
    _live: dict[tuple[str, str], Mapping[str, Any] | None] = field(init=False)
    """The wanted objects as they are, kept up with what this pass writes."""
    _pairs: Mapping[str, PairFacts] = field(init=False, default_factory=dict)
    _identity: Identity | None = field(init=False, default=None)
    _wake: list[datetime] = field(init=False, default_factory=list)
    """Times at which the world changes by itself."""
    _deployment: Object = field(init=False, default_factory=dict)
    notes: list[tuple[str, str]] = field(init=False, default_factory=list)
    """Reasons and messages of the Events that tell what this pass did to others."""
    _record: RestartRecord | None = field(init=False, default=None)
    """The note of a restart that this pass asked for, which the report must not lose."""
    _overdue: bool = field(init=False, default=False)
    """Whether CloudNativePG takes longer than it should: no reason to ask it ever so often."""
    _registered: str = field(init=False, default="")

    async def run(self) -> Report:
        """Go through the stages until one is not True."""
        plugin, domain = self.plugin, self.tools.policy.cluster_domain
        self._registered = str((self.status.get("cnpg") or {}).get("registeredRevision", ""))
        certificates = build_certificates(plugin, domain)
        chain = [] if plugin.spec.tls.issuer_ref else build_chain(plugin.namespace)
        access = build_access(plugin, self.tools.policy.grants.cluster_roles)
        self._deployment = build_deployment(plugin)
        service = build_service(plugin, None)
        desired = [*certificates, *access, self._deployment, service]
        self._snapshot = await self.tools.gatherer.snapshot(plugin, chain, desired)
        self._live = dict(self._snapshot.live)
        stages = (
            (Type.ACCEPTED, self._accept),
            (Type.CERTIFICATES_READY, partial(self._certify, chain, certificates)),
            (Type.AVAILABLE, partial(self._deploy, access)),
            (Type.HANDSHAKE_SUCCEEDED, self._shake),
            (Type.REGISTERED, partial(self._register, desired)),
        )
        for kind, stage in stages:
            self.verdicts[kind] = verdict = await stage()
            if not verdict.is_true:
                break
        return build_report(
            self.verdicts,
            self._snapshot,
            self._pairs,
            self._identity,
            self._registered,
            self._record,
        )

    def retry_after(self) -> float:
        """Seconds until the next pass, should nothing wake it earlier."""
        last = list(self.verdicts.values())[-1]
        times = [max((wake - self.now).total_seconds(), 0.1) for wake in self._wake]
        if self._overdue:
            times.append(FALLBACK_RETRY)
        elif not last.is_true:
            times.append(RETRY.get(last.reason, FALLBACK_RETRY))
        return min(times, default=FALLBACK_RETRY)

    async def _accept(self) -> Verdict:
        seen = self._snapshot
        return decide_admission(
            AdmissionInput(
                plugin=self.plugin,
                managed_namespaces=self.tools.policy.namespaces,
                cnpg=seen.cnpg,
                cnpg_elsewhere=seen.cnpg_elsewhere,
                foreign=seen.foreign,
                rivals=seen.rivals,
                grants=self.tools.policy.grants,
            )
        )

    async def _certify(self, chain: list[Object], certificates: list[Object]) -> Verdict:
        plugin, seen = self.plugin, self._snapshot
        if seen.issuing.served:
            async with self.tools.locks[plugin.namespace]:
                for body in chain:
                    await self._apply_shared(body)
            for body in certificates:
                await self._apply(body)
        server, client = (
            read_pair(name, seen.secrets[name])
            for name in (names.server_secret(plugin.name), names.client_secret(plugin.name))
        )
        self._pairs = {"server": server, "client": client}
        verdict = decide_certificates(
            CertificateInput(
                server=server,
                client=client,
                server_name=plugin.server_name,
                client_ca=plugin.spec.tls.client_ca,
                now=self.now,
            )
        )
        if verdict.is_true:
            check = next_check(self.now, (server, client))
            self._wake += [check] if check is not None else []
            return verdict
        return decide_issuing(seen.issuing, self.now) or verdict

    async def _deploy(self, access: list[Object]) -> Verdict:
        plugin, seen = self.plugin, self._snapshot
        held, telling = weigh_upgrade(plugin, self.status, seen, self._deployment)
        if held is not None:
            return held
        self.notes += [(EVENT_REASON, telling)] if telling else []
        for body in access:
            await self._apply(body)
        await self._apply(build_service(plugin, self._announcing()))
        live = await self._apply(self._deployment)
        verdict = decide_workload(
            WorkloadInput(
                name=plugin.name,
                port=plugin.spec.port,
                facts=observe.read_workload(live, list(seen.pods)),
                now=self.now,
            )
        )
        return await explain_silence(self.tools, plugin, verdict)

    async def _shake(self) -> Verdict:
        plugin, tools = self.plugin, self.tools
        endpoint = Endpoint(
            host=plugin.host,
            port=plugin.spec.port,
            server_name=plugin.server_name,
            plugin_name=plugin.spec.plugin_name,
        )
        server, client = self._pairs["server"], self._pairs["client"]
        pods = sorted((p["metadata"]["uid"], _restarts(p)) for p in self._snapshot.pods)
        fingerprint = digest([asdict(endpoint), server.fingerprint, client.fingerprint, pods])
        key, interval = (plugin.namespace, plugin.name), plugin.spec.handshake.interval
        proof = self.proofs.current(key, fingerprint, interval, self.now)
        if proof is None:
            with tools.metrics.handshake_seconds.time():
                outcome = await tools.handshaker.shake(
                    endpoint, self._material(), plugin.spec.handshake.timeout.total_seconds()
                )
            tools.metrics.handshakes.labels(outcome.reason.value).inc()
            proof = self.proofs.note(key, fingerprint, outcome, tools.clock())
        self._wake.append(proof.due(interval))
        self._identity = proof.outcome.identity
        return proof.verdict()

    async def _register(self, desired: list[Object]) -> Verdict:
        plugin, seen = self.plugin, self._snapshot
        annotations = announcing(
            plugin,
            seen,
            self._announcement(),
            dialled=dial_hash(plugin, seen.cnpg[0], self._pairs),
            template=self._deployment["spec"]["template"],
            identity=self._identity,
            now=self.now,
        )
        live = await self._apply(build_service(plugin, annotations))
        await self._prune(desired)
        announcement = observe.read_service(live).announcement
        if announcement is None:
            raise ConflictError(
                f"Service {plugin.service_name} lost its label while it was applied"
            )
        step = await judge(
            self.tools,
            plugin,
            self.status,
            seen,
            announcement,
            self._identity,
            self._registered,
            self.now,
        )
        self.notes += [("RestartingCNPG", step.restarted)] if step.restarted else []
        self._record = step.record
        self.wrote += step.nudged
        self._wake += [self.now + step.after] if step.after is not None else []
        self._overdue = step.overdue
        if step.verdict.is_true:
            self._registered = announcement.revision
        return step.verdict

    async def _prune(self, desired: list[Object]) -> None:
        """Prune once for each generation and process: nothing else changes what is wanted."""
        key = (self.plugin.namespace, self.plugin.name)
        seen = (self.plugin.uid, self.plugin.generation)
        if self.pruned.get(key) != seen:
            self.wrote += await self.tools.writer.prune(self.plugin, desired)
            self.pruned[key] = seen

    async def _apply(self, body: Object) -> Mapping[str, Any]:
        """Apply one object where it differs from the snapshot."""
        key = (body["kind"], body["metadata"]["name"])
        live, written = await self.tools.writer.apply(body, self._live.get(key))
        if written:
            self._live[key] = live
            self.wrote.append(f"{key[0]} {key[1]}")
        return live

    async def _apply_shared(self, body: Object) -> None:
        """Apply a part of the shared chain, unless another plugin's pass has just done it."""
        live = self._live.get((body["kind"], body["metadata"]["name"]))
        if live is None:
            live = await self.tools.gatherer.live(body)
        _, written = await self.tools.writer.apply(body, live)
        if written:
            self.wrote.append(f"{body['kind']} {body['metadata']['name']}")

    def _announcement(self) -> Announcement | None:
        live = self._live.get(("Service", self.plugin.service_name))
        return observe.read_service(live).announcement if live is not None else None

    def _announcing(self) -> Mapping[str, str] | None:
        """What the published Service says, to be kept: CloudNativePG forgets a withdrawn one."""
        announcement = self._announcement()
        if announcement is None:
            return None
        dialled = dial_hash(self.plugin, self._snapshot.cnpg[0], self._pairs)
        return keep_announcing(announcement, build_endpoint(self.plugin), dialled)

    def _material(self) -> Material:
        server = self._snapshot.secrets[names.server_secret(self.plugin.name)] or {}
        client = self._snapshot.secrets[names.client_secret(self.plugin.name)] or {}
        return Material(
            trust=server.get("tls.crt", b""),
            certificate=client.get("tls.crt", b""),
            key=client.get("tls.key", b""),
        )


def _restarts(pod: Mapping[str, Any]) -> int:
    statuses = (pod.get("status") or {}).get("containerStatuses") or []
    return sum(int(status.get("restartCount", 0)) for status in statuses)
