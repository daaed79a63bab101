"""Reads CloudNativePG's pods: their sidecars, their gates, and the kubelet's messages.

The kubelet's messages about volumes are the same for a plugin's own pods.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.conditions import find_condition
from cnpg_plugin_operator.api.times import read_time
from cnpg_plugin_operator.cluster import kinds, observe
from cnpg_plugin_operator.cluster.addresses import field_selector, label_selector
from cnpg_plugin_operator.cluster.client import Client
from cnpg_plugin_operator.decide.facts.cnpg import CNPGPod, Eviction
from cnpg_plugin_operator.decide.facts.plugin import PodFacts
from cnpg_plugin_operator.decide.sidecar.gate import decode_verdicts
from cnpg_plugin_operator.desired.sidecars import read_sidecars

_MOUNT_REASONS: Final = frozenset({"FailedMount", "FailedAttachVolume", "FailedMapVolume"})
"""Reasons of Events that the kubelet and the attach-detach controller write on pods."""

_ENDED: Final = frozenset({"Failed", "Succeeded"})
"""Phases of pods that never run again; the ReplicaSet creates others."""


async def list_pods(client: Client, deployment: Mapping[str, Any]) -> list[dict[str, Any]]:
    """List the pods that a Deployment selects."""
    labels = ((deployment.get("spec") or {}).get("selector") or {}).get("matchLabels") or {}
    selector = label_selector({str(key): str(value) for key, value in sorted(labels.items())})
    namespace = deployment["metadata"]["namespace"]
    return await client.list(kinds.POD, namespace, labels=selector) if selector else []


def read_pods(bodies: Iterable[Mapping[str, Any]]) -> tuple[CNPGPod, ...]:
    """Read pods, oldest first, each with the verdicts of its gate."""
    by_name = {body["metadata"]["name"]: body for body in bodies}
    return tuple(_read_pod(pod, by_name[pod.name]) for pod in observe.read_pods(by_name.values()))


def _read_pod(pod: PodFacts, body: Mapping[str, Any]) -> CNPGPod:
    status = body.get("status") or {}
    state = _gate_state(body)
    gate = _gate_ending(state)
    readiness = find_condition(status, "Ready")
    return CNPGPod(
        pod=pod,
        sidecars=read_sidecars(body),
        verdicts=decode_verdicts(str(gate.get("message") or "")),
        gate_ended=read_time(gate.get("finishedAt")),
        gate_started="running" in state or "terminated" in state,
        scheduled=find_condition(status, "PodScheduled").get("status", "True") == "True",
        ended=_has_ended(body),
        ready_since=read_time(readiness.get("lastTransitionTime")) if pod.ready else None,
    )


def _has_ended(body: Mapping[str, Any]) -> bool:
    return (body.get("status") or {}).get("phase") in _ENDED


def _gate_state(pod: Mapping[str, Any]) -> Mapping[str, Any]:
    for status in (pod.get("status") or {}).get("initContainerStatuses") or []:
        if status.get("name") == names.sidecars.GATE:
            state: Mapping[str, Any] = status.get("state") or {}
            return state
    return {}


def _gate_ending(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """Find the successful termination of the gate; after a failure it runs again."""
    ended: Mapping[str, Any] = state.get("terminated") or {}
    return ended if ended.get("exitCode") == 0 else {}


async def read_evictions(
    client: Client, namespace: str, bodies: list[dict[str, Any]]
) -> tuple[Eviction, ...]:
    """Read the kubelet's messages about pods that it evicted, oldest first.

    If all containers exit with status 0, the pod itself does not show the eviction (its phase is
    Succeeded, seen with Kubernetes 1.34): only an Event does.
    """
    ended = [b for b in bodies if _has_ended(b) and read_sidecars(b)]
    if not ended:
        return ()
    events = await client.list(
        kinds.EVENT,
        namespace,
        fields=field_selector({"involvedObject.kind": kinds.POD.kind, "reason": "Evicted"}),
    )
    told = {
        str((e.get("involvedObject") or {}).get("uid")): observe.read_event(e)
        for e in events
        if e.get("reason") == "Evicted"
    }
    found = []
    for pod in observe.read_pods(ended):
        body = next(b for b in ended if b["metadata"]["uid"] == pod.uid)
        status, event = body["status"], told.get(pod.uid)
        if status.get("reason") != "Evicted" and event is None:
            continue
        since = find_condition(status, "DisruptionTarget").get("lastTransitionTime")
        when = event.at if event is not None else read_time(since) or pod.created
        message = str(status.get("message") or (event.message if event is not None else ""))
        found.append(Eviction(pod.name, pod.created, when, read_sidecars(body), message))
    return tuple(found)


async def read_mount_failure(client: Client, namespace: str, pod: PodFacts) -> str:
    """Read the kubelet's last Event about a volume that it cannot mount, or nothing."""
    events = await client.list(
        kinds.EVENT,
        namespace,
        fields=field_selector(
            {"involvedObject.kind": kinds.POD.kind, "involvedObject.uid": pod.uid}
        ),
    )
    failures = [e for e in events if e.get("reason") in _MOUNT_REASONS]
    # The kubelet also reports volumes that are just not mounted yet; a cause is more useful.
    telling = sorted(
        failures,
        key=lambda e: ("SetUp failed" in str(e.get("message")), str(e.get("lastTimestamp"))),
    )
    return str(telling[-1].get("message") or "") if telling else ""
