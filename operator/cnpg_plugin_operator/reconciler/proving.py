"""The stage of the handshake: what CloudNativePG finds, at the Service and at every pod.

While certificates change there are two questions: whether CloudNativePG can talk to the plugin with
what it was told last, and whether it could with what it is to be told next.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.conditions import Verdict
from cnpg_plugin_operator.cluster import observe
from cnpg_plugin_operator.decide.facts import (
    Endpoint,
    HandshakeOutcome,
    Identity,
    Material,
    PodFacts,
)
from cnpg_plugin_operator.decide.following import FollowInput, Step, decide_following
from cnpg_plugin_operator.desired.objects import digest
from cnpg_plugin_operator.reconciler.certifying import Certified
from cnpg_plugin_operator.reconciler.proof import Proof, Proofs
from cnpg_plugin_operator.reconciler.work import Work


@dataclass(frozen=True, slots=True)
class Proven:
    """What the handshakes found."""

    verdict: Verdict
    identity: Identity | None
    takes_new: bool
    """Whether the plugin can be announced with its newest certificates and name."""
    step: Step
    """What to do about pods that have not followed a change of certificates."""


async def prove(work: Work, proofs: Proofs, certified: Certified, restarted_for: str) -> Proven:
    """Shake hands where that is due; tell pods that are behind of their new certificates."""
    plugin = work.plugin
    wanted = Endpoint(
        host=plugin.host,
        port=plugin.spec.port,
        server_name=plugin.server_name,
        plugin_name=plugin.spec.plugin_name,
    )
    pods = [pod for pod in observe.read_pods(work.seen.pods) if pod.ready and not pod.deleting]
    newest = await _shake(work, proofs, certified, wanted, plugin.client_secret, pods)
    step = await _follow(work, certified, newest, pods, restarted_for)
    former = None if newest.outcome.succeeded else _former(work, certified, wanted)
    if former is None:
        return Proven(newest.verdict(), newest.outcome.identity, newest.outcome.succeeded, step)
    present = await _shake(work, proofs, certified, former, work.announced_client, [])
    return Proven(present.verdict(), present.outcome.identity, takes_new=False, step=step)


def _former(work: Work, certified: Certified, wanted: Endpoint) -> Endpoint | None:
    """What CloudNativePG dials at present, where that differs from what it is to dial."""
    announcement = work.announcement
    if announcement is None or announcement.annotations.get(names.CNPG_PLUGIN_PORT) != str(
        wanted.port
    ):
        return None
    server_name = work.announced_name or wanted.server_name
    if certified.in_use is None and server_name == wanted.server_name:
        return None
    return Endpoint(wanted.host, wanted.port, server_name, wanted.plugin_name)


async def _shake(
    work: Work,
    proofs: Proofs,
    certified: Certified,
    endpoint: Endpoint,
    client_secret: str,
    pods: Sequence[PodFacts],
) -> Proof:
    """Give the last proof, or shake hands with the Service and, where several, with each pod."""
    plugin, tools = work.plugin, work.tools
    material = _material(work, client_secret)
    restarts = sorted((p["metadata"]["uid"], _restarts(p)) for p in work.seen.pods)
    fingerprint = digest(
        [asdict(endpoint), certified.material, digest(_public(material)), restarts, len(pods)]
    )
    key = (plugin.namespace, plugin.name, client_secret)
    interval = plugin.spec.handshake.interval
    proof = proofs.current(key, fingerprint, interval, work.now)
    if proof is None:
        outcomes = await _ask_all(work, endpoint, material, pods)
        outcome = next((o for o in outcomes.values() if not o.succeeded), outcomes[""])
        served = {name: o.served for name, o in outcomes.items()}
        behind = _behind(served, certified, [pod.name for pod in pods])
        proof = proofs.note(key, fingerprint, outcome, behind, tools.clock())
    work.wake.append(proof.due(interval))
    return proof


async def _ask_all(
    work: Work, endpoint: Endpoint, material: Material, pods: Sequence[PodFacts]
) -> dict[str, HandshakeOutcome]:
    """Shake hands at the Service (under the empty name), and with each of several pods."""
    timeout = work.plugin.spec.handshake.timeout.total_seconds()
    targets = {"": endpoint}
    if len(pods) > 1:
        targets |= {
            pod.name: Endpoint(
                pod.address, endpoint.port, endpoint.server_name, endpoint.plugin_name
            )
            for pod in pods
            if pod.address
        }
    metrics, outcomes = work.tools.metrics, {}
    for name, target in targets.items():
        with metrics.handshake_seconds.time():
            outcomes[name] = await work.tools.handshaker.shake(target, material, timeout)
        metrics.handshakes.labels(outcomes[name].reason.value).inc()
    return outcomes


def _behind(
    served: Mapping[str, str], certified: Certified, pods: Sequence[str]
) -> tuple[str, ...]:
    """Name the pods that showed another certificate than the newest; a single one by the Service.

    A pod that showed none was not reached, and something else is wrong with it.
    """
    newest = certified.server.leaf.fingerprint if certified.server.leaf else ""
    alone = pods[0] if len(pods) == 1 else ""
    return tuple(
        sorted(
            {name or alone for name, shown in served.items() if shown and shown != newest} - {""}
        )
    )


async def _follow(
    work: Work, certified: Certified, proof: Proof, pods: Sequence[PodFacts], restarted_for: str
) -> Step:
    """Decide about pods that are behind; have the kubelet bring them up to date at once."""
    behind = proof.behind
    if not proof.outcome.succeeded and certified.in_use is not None:
        # Pods that refuse the new client are behind, too: they still trust only the former.
        behind = tuple(pod.name for pod in pods)
    changed = [certified.server.written_at, certified.trust.changed_at if certified.trust else None]
    step = decide_following(
        FollowInput(
            mode=work.plugin.spec.tls.reload,
            behind=behind,
            certificates=certified.material,
            restarted_for=restarted_for,
            changed_at=max((moment for moment in changed if moment is not None), default=None),
            now=work.now,
        )
    )
    if step is Step.WAIT:
        for pod in pods:
            if pod.name in behind and pod.refreshed_for != certified.material:
                await work.tools.writer.refresh(work.plugin, pod.name, certified.material)
                work.wrote.append(f"Pod {pod.name}")
    return step


def _material(work: Work, client_secret: str) -> Material:
    """What CloudNativePG would read."""
    trust, client = (
        secret.data if secret is not None else {}
        for secret in (
            work.secrets.get(names.trust_secret(work.plugin.name)),
            work.secrets.get(client_secret),
        )
    )
    return Material(
        trust=trust.get(names.TRUSTED_SERVERS, b""),
        certificate=client.get("tls.crt", b""),
        key=client.get("tls.key", b""),
    )


def _public(material: Material) -> list[str]:
    return [material.trust.decode(errors="replace"), material.certificate.decode(errors="replace")]


def _restarts(pod: Mapping[str, Any]) -> int:
    statuses = (pod.get("status") or {}).get("containerStatuses") or []
    return sum(int(status.get("restartCount", 0)) for status in statuses)
