"""The stage of the handshake: what CloudNativePG would get, from the Service and from each pod.

While certificates change there are two questions: whether CloudNativePG can call the plugin with
the last announcement, and whether it could with the next one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.conditions import Reason, unknown
from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.cluster import kinds, observe
from cnpg_plugin_operator.decide.certificates.reload import (
    LOOK_AGAIN,
    FollowInput,
    Step,
    decide_following,
)
from cnpg_plugin_operator.decide.facts.plugin import (
    Endpoint,
    HandshakeOutcome,
    Identity,
    Material,
    PodFacts,
)
from cnpg_plugin_operator.desired.objects import Object, digest
from cnpg_plugin_operator.desired.workload import build_deployment
from cnpg_plugin_operator.reconcile.certificates.certificates import Certified
from cnpg_plugin_operator.reconcile.context import STILL_ROUTED, Context
from cnpg_plugin_operator.reconcile.handshake.schedule import Proof, Proofs
from cnpg_plugin_operator.reconcile.stages import Plan
from cnpg_plugin_operator.reconcile.workers import Lane
from cnpg_plugin_operator.reconcile.writes import Apply, RecordEvent, RefreshPod, Write


@dataclass(frozen=True, slots=True)
class Handshakes:
    """What the handshakes of a pass found."""

    newest: Proof
    """With what is to be announced to CloudNativePG next."""
    present: Proof | None
    """With what was announced last, where the newest cannot be announced yet."""
    looks: tuple[datetime, ...]


@dataclass(frozen=True, slots=True)
class Proven:
    """What follows from the handshakes."""

    plan: Plan
    identity: Identity | None
    takes_new: bool
    """Whether the plugin can be announced with its newest certificates and name."""
    deployment: Object
    """The Deployment that the pods come from."""


async def shake_hands(
    context: Context, proofs: Proofs, certified: Certified, restarted_for: str
) -> Handshakes:
    """Shake hands where that is due."""
    plugin = context.plugin
    wanted = Endpoint(
        host=context.host,
        port=plugin.spec.port,
        server_name=plugin.server_name,
        plugin_name=plugin.spec.plugin_name,
    )
    found = observe.read_pods(context.seen.pods)
    rounds = _Rounds(context, proofs, certified, restarted_for)
    newest = await rounds.shake(wanted, plugin.client_secret, _serving(found))
    previous = _previous(context, certified, wanted)
    bridged = context.bridged_until
    ends = max(filter(None, (bridged, _end_of_calls(found, context.now))), default=None)
    if previous is None or (ends is None and newest.outcome.succeeded):
        return Handshakes(newest, None, rounds.due(newest))
    present = await rounds.shake(previous, context.announced_client, [])
    looks = (*rounds.due(newest), *([ends] if ends is not None else []), *rounds.due(present))
    return Handshakes(newest, present, looks)


def plan_handshake(
    plugin: Plugin,
    certified: Certified,
    found: Handshakes,
    pods: Sequence[PodFacts],
    deployment: Object,
    restarted_for: str,
    now: datetime,
) -> Proven:
    """Judge the handshakes; plan how pods that are behind get their new certificates."""
    newest, pods = found.newest, _serving(pods)
    behind = _behind(certified, newest, pods)
    step = _decide(plugin, certified, behind, restarted_for, now)
    succeeded = newest.outcome.succeeded
    verdict = newest.verdict()
    writes: tuple[Write, ...] = ()
    if found.present is not None:
        verdict = found.present.verdict()
    elif not succeeded and step is Step.WAIT:
        message = f"The pods have not loaded their renewed certificates yet: {verdict.message}"
        verdict = unknown(Reason.AWAITING_PODS, message)
    if step is Step.RESTART:
        deployment = build_deployment(plugin, certified.material)
        writes = (Apply(deployment), _record_restart(plugin))
    elif step is Step.WAIT:
        writes = _refresh(plugin, certified, behind, pods)
    used = found.present or newest
    return Proven(
        Plan(verdict, writes, found.looks),
        used.outcome.identity,
        takes_new=succeeded and found.present is None,
        deployment=deployment,
    )


def _serving(pods: Sequence[PodFacts]) -> list[PodFacts]:
    return [pod for pod in pods if pod.ready and not pod.deleting]


def _record_restart(plugin: Plugin) -> RecordEvent:
    message = (
        f"Deployment {plugin.name} is restarted: its pods have not loaded their renewed "
        "certificates. A server that reloads its files needs no restart."
    )
    return RecordEvent(plugin, "RestartingPods", message)


def _decide(
    plugin: Plugin,
    certified: Certified,
    behind: tuple[str, ...],
    restarted_for: str,
    now: datetime,
) -> Step:
    """Decide what to do about pods that are behind."""
    return decide_following(
        FollowInput(
            mode=plugin.spec.tls.reload,
            behind=behind,
            certificates=certified.material,
            restarted_for=restarted_for,
            changed_at=_changed_at(certified),
            now=now,
        )
    )


def _previous(context: Context, certified: Certified, wanted: Endpoint) -> Endpoint | None:
    """What CloudNativePG dials now, where that differs from what it should dial."""
    announcement = context.announcement
    if announcement is None or announcement.annotations.get(names.cnpg.PLUGIN_PORT) != str(
        wanted.port
    ):
        return None
    server_name = context.announced_name or wanted.server_name
    if certified.in_use is None and server_name == wanted.server_name:
        return None
    return Endpoint(wanted.host, wanted.port, server_name, wanted.plugin_name)


def _end_of_calls(pods: Sequence[PodFacts], now: datetime) -> datetime | None:
    """Return when terminating pods receive no more calls; None if none receives any now.

    Such a pod may accept only the last announced pair, and a handshake with the Service does not
    show that, because other pods answer most of them.
    """
    ends = [pod.deleted_at + STILL_ROUTED for pod in pods if pod.deleted_at is not None]
    return max((moment for moment in ends if moment > now), default=None)


@dataclass(frozen=True, slots=True)
class _Rounds:
    """The handshakes of one pass."""

    context: Context
    proofs: Proofs
    certified: Certified
    restarted_for: str

    async def shake(
        self, endpoint: Endpoint, client_secret: str, pods: Sequence[PodFacts]
    ) -> Proof:
        """Return the last proof, or call the Service and, if there are several, each pod."""
        context, plugin = self.context, self.context.plugin
        material = _material(context, client_secret)
        restarts = sorted((p["metadata"]["uid"], _restarts(p)) for p in context.seen.pods)
        certificates = [self.certified.material, _public(material)]
        fingerprint = digest([asdict(endpoint), certificates, restarts, len(pods)])
        key = (plugin.namespace, plugin.name, client_secret)
        interval = self._interval(self.proofs.behind(key))
        proof = self.proofs.current(key, fingerprint, interval, context.now)
        if proof is None:
            lane = Lane.FAILING_PEER if self.proofs.has_failed(key) else Lane.PEER
            async with context.env.aside(lane):
                complete = await _with_key(context, client_secret, material)
                outcomes = await _call_all(context, endpoint, complete, pods)
            outcome = _find_failure(outcomes) or outcomes[""]
            behind = _outdated(outcomes, self.certified, pods)
            proof = self.proofs.record(key, fingerprint, outcome, behind, context.env.clock())
        return proof

    def due(self, proof: Proof) -> tuple[datetime, ...]:
        """Say when the handshake is to be repeated."""
        return (proof.due(self._interval(proof.behind)),)

    def _interval(self, behind: tuple[str, ...]) -> timedelta:
        """Return when to repeat a success: soon if pods still have to load new certificates."""
        plugin, now = self.context.plugin, self.context.now
        step = _decide(plugin, self.certified, behind, self.restarted_for, now)
        return LOOK_AGAIN if step is Step.WAIT else plugin.spec.handshake.interval


async def _call_all(
    context: Context, endpoint: Endpoint, material: Material, pods: Sequence[PodFacts]
) -> dict[str, HandshakeOutcome]:
    """Perform the handshake with the Service (under the empty name), and each of several pods."""
    timeout = context.plugin.spec.handshake.timeout.total_seconds()
    targets = {"": endpoint}
    if len(pods) > 1:
        targets |= {
            pod.name: Endpoint(
                pod.address, endpoint.port, endpoint.server_name, endpoint.plugin_name
            )
            for pod in pods
            if pod.address
        }
    metrics, outcomes = context.env.metrics, {}
    for name, target in targets.items():
        with metrics.handshake_seconds.time():
            outcomes[name] = await context.env.handshaker.shake(target, material, timeout)
        metrics.handshakes.labels(outcomes[name].reason.value).inc()
    return outcomes


def _find_failure(outcomes: Mapping[str, HandshakeOutcome]) -> HandshakeOutcome | None:
    """Find a failed handshake. A ready pod that only does not listen seems to be a standby."""
    failed = {name: outcome for name, outcome in outcomes.items() if not outcome.succeeded}
    silent = [n for n, o in failed.items() if n and o.reason is Reason.UNREACHABLE]
    if silent and outcomes.keys() - failed.keys() - {""}:
        outcome = failed[silent[0]]
        message = (
            f"Pod {silent[0]} is ready, but does not listen, while another one does. If only the "
            "pod that holds a Lease listens, the others must not be ready: remove "
            f"spec.probes.readiness, or choose one that fails there. {outcome.message}"
        )
        return replace(outcome, message=message)
    return next(iter(failed.values()), None)


def _outdated(
    outcomes: Mapping[str, HandshakeOutcome], certified: Certified, pods: Sequence[PodFacts]
) -> tuple[str, ...]:
    """Name the pods that presented an older certificate; a single pod is judged by the Service.

    A pod that presented none was not reached, and has another problem.
    """
    newest = certified.server.leaf.fingerprint if certified.server.leaf else ""
    alone = pods[0].name if len(pods) == 1 else ""
    found = {
        name or alone
        for name, outcome in outcomes.items()
        if outcome.served and outcome.served != newest
    }
    return tuple(sorted(found - {""}))


def _behind(certified: Certified, proof: Proof, pods: Sequence[PodFacts]) -> tuple[str, ...]:
    """Name the pods that are behind.

    Where a certificate is refused, or an untrusted one presented, all pods may have outdated files.
    """
    refused = proof.outcome.reason in (Reason.CLIENT_CERTIFICATE_REFUSED, Reason.TLS_REJECTED)
    changed = _changed_at(certified)
    if refused and changed is not None:
        return tuple(pod.name for pod in pods if pod.created < changed)
    return proof.behind


def _changed_at(certified: Certified) -> datetime | None:
    """Return when the certificates that the pods should have last changed."""
    trusted_at = certified.trust.changed_at if certified.trust else None
    changes = [moment for moment in (certified.server.written_at, trusted_at) if moment]
    return max(changes, default=None)


def _refresh(
    plugin: Plugin, certified: Certified, behind: Sequence[str], pods: Sequence[PodFacts]
) -> tuple[RefreshPod, ...]:
    """Make the kubelet update the files of pods at once."""
    return tuple(
        RefreshPod(kinds.POD, plugin.namespace, pod.name, certified.material)
        for pod in pods
        if pod.name in behind and pod.refreshed_for != certified.material
    )


def _material(context: Context, client_secret: str) -> Material:
    """The data that CloudNativePG would read."""
    trust, client = (
        secret.data if secret is not None else {}
        for secret in (
            context.secrets.get(names.children.trust_secret(context.plugin.name)),
            context.secrets.get(client_secret),
        )
    )
    return Material(
        trust=trust.get(names.children.TRUSTED_SERVERS, b""),
        certificate=client.get("tls.crt", b""),
        key=client.get("tls.key", b""),
    )


async def _with_key(context: Context, client_secret: str, material: Material) -> Material:
    """Read the client's pair with its key, which nothing keeps between handshakes."""
    known = context.secrets.get(client_secret)
    if known is None or known.pair is None:
        return material
    secret = await context.env.reader.secret(context.plugin.namespace, client_secret, keys=True)
    data = secret.data if secret is not None else {}
    return replace(material, certificate=data.get("tls.crt", b""), key=data.get("tls.key", b""))


def _public(material: Material) -> list[str]:
    return [material.trust.decode(errors="replace"), material.certificate.decode(errors="replace")]


def _restarts(pod: Mapping[str, Any]) -> int:
    statuses = (pod.get("status") or {}).get("containerStatuses") or []
    return sum(int(status.get("restartCount", 0)) for status in statuses)
