"""CloudNativePG's Deployment as the host of sidecars: its directory, user, account and pods."""

import asyncio
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from cnpg_plugin_operator import errors, names
from cnpg_plugin_operator.api.conditions import find_condition
from cnpg_plugin_operator.api.times import read_time
from cnpg_plugin_operator.cluster import kinds, observe
from cnpg_plugin_operator.cluster.addresses import field_selector
from cnpg_plugin_operator.cluster.client import Client
from cnpg_plugin_operator.cluster.cnpg import selector_of
from cnpg_plugin_operator.cluster.kinds import Kind
from cnpg_plugin_operator.decide.facts.cnpg_pod import Eviction, HostFacts, HostPod
from cnpg_plugin_operator.decide.facts.cnpg_versions import manager_of
from cnpg_plugin_operator.decide.sidecar.gate import decode_verdicts
from cnpg_plugin_operator.desired.sidecars import read_sidecars

_CONFIGURATION: Final = (
    (kinds.SECRET, "--secret-name"),
    (kinds.CONFIG_MAP, "--config-map-name"),
)
"""Sources of CloudNativePG's configuration, by the flags of its command. The Secret takes
precedence over the ConfigMap, and both over the environment (internal/configuration)."""

_MOUNT_REASONS: Final = frozenset({"FailedMount", "FailedAttachVolume", "FailedMapVolume"})
"""Reasons of Events that the kubelet and the attach-detach controller write on pods."""

_ENDED: Final = frozenset({"Failed", "Succeeded"})
"""Phases of pods that never run again; the ReplicaSet creates others."""

_USER: Final = ("runAsUser", "runAsGroup")


async def read_host(
    client: Client, deployment: Mapping[str, Any], *, configured: bool
) -> HostFacts:
    """Read the host facts of a Deployment of CloudNativePG's that was just read.

    Where the operator may not read CloudNativePG's configuration, only the Deployment tells the
    socket directory; the chart withholds that right where sidecars are not allowed.
    """
    namespace = deployment["metadata"]["namespace"]
    directory, pods, kubernetes = await asyncio.gather(
        _read_directory(client, namespace, deployment, configured=configured),
        client.list(kinds.POD, namespace, labels=selector_of(deployment)),
        _read_kubernetes(client),
    )
    facts = read_facts(deployment, pods, directory, kubernetes)
    facts = replace(facts, evictions=await _read_evictions(client, namespace, pods))
    newest = facts.newest
    if newest is None or newest.pod.ready or newest.pod.address or not newest.scheduled:
        return facts
    # A pod gets its address once its volumes are mounted; only an Event says which one is not.
    unmounted = await _read_mount_failure(client, namespace, newest)
    return replace(facts, pods=(*facts.pods[:-1], replace(newest, unmounted=unmounted)))


async def _read_mount_failure(client: Client, namespace: str, pod: HostPod) -> str:
    """Read the kubelet's last Event about a volume that it cannot mount, or nothing."""
    events = await client.list(
        kinds.EVENT,
        namespace,
        fields=field_selector(
            {"involvedObject.kind": kinds.POD.kind, "involvedObject.uid": pod.pod.uid}
        ),
    )
    failures = [e for e in events if e.get("reason") in _MOUNT_REASONS]
    # The kubelet also reports volumes that are just not mounted yet; a cause is more useful.
    telling = sorted(
        failures,
        key=lambda e: ("SetUp failed" in str(e.get("message")), str(e.get("lastTimestamp"))),
    )
    return str(telling[-1].get("message") or "") if telling else ""


def read_facts(
    deployment: Mapping[str, Any],
    pods: list[dict[str, Any]],
    directory: str = names.cnpg.SOCKET_DIRECTORY,
    kubernetes: tuple[int, int] | None = None,
) -> HostFacts:
    """Read the facts from a Deployment of CloudNativePG's and its pods."""
    spec, manager = deployment.get("spec") or {}, manager_of(deployment)
    template, status = spec.get("template") or {}, deployment.get("status") or {}
    pod = template.get("spec") or {}
    refused = _read_refusal(status)
    return HostFacts(
        deployment=deployment["metadata"]["name"],
        uid=deployment["metadata"]["uid"],
        template=template,
        directory=directory,
        user=_read_user(pod, manager),
        account=str(pod.get("serviceAccountName") or "default"),
        mounted=_foreign_mount(manager, directory),
        ports=frozenset(int(p.get("containerPort", 0)) for p in manager.get("ports") or []),
        replicas=int(spec.get("replicas", 1)),
        available=status.get("availableReplicas", 0) > 0,
        paused=bool(spec.get("paused")),
        refused=str(refused.get("message") or ""),
        refused_since=read_time(refused.get("lastTransitionTime")),
        pods=read_host_pods(pods),
        kubernetes=kubernetes,
    )


def _read_refusal(status: Mapping[str, Any]) -> Mapping[str, Any]:
    """Find the condition that says that pods cannot be created."""
    condition = find_condition(status, "ReplicaFailure")
    return condition if condition.get("status") == "True" else {}


async def _read_evictions(
    client: Client, namespace: str, bodies: list[dict[str, Any]]
) -> tuple[Eviction, ...]:
    """Read the kubelet's messages about pods that it evicted, oldest first.

    If all containers exit with status 0, the pod itself does not show the eviction (its phase is
    Succeeded, seen with Kubernetes 1.34): only an Event does.
    """
    ended = [b for b in bodies if _phase(b) in _ENDED and read_sidecars(b)]
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


def _phase(body: Mapping[str, Any]) -> str:
    return str((body.get("status") or {}).get("phase") or "")


def read_host_pods(bodies: list[dict[str, Any]]) -> tuple[HostPod, ...]:
    """Read the pods that are not ending, oldest first, each with the verdicts of its gate."""
    by_name = {body["metadata"]["name"]: body for body in bodies}
    found = []
    for pod in observe.read_pods(bodies):
        body = by_name[pod.name]
        status = body.get("status") or {}
        if pod.deleting or _phase(body) in _ENDED:
            continue
        state = _gate_state(body)
        gate = _gate_ending(state)
        readiness = find_condition(status, "Ready")
        scheduled = find_condition(status, "PodScheduled")
        found.append(
            HostPod(
                pod=pod,
                sidecars=read_sidecars(body),
                verdicts=decode_verdicts(str(gate.get("message") or "")),
                gate_ended=read_time(gate.get("finishedAt")),
                gate_started="running" in state or "terminated" in state,
                scheduled=scheduled.get("status", "True") == "True",
                ready_since=read_time(readiness.get("lastTransitionTime")) if pod.ready else None,
            )
        )
    return tuple(found)


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


def _read_user(pod: Mapping[str, Any], manager: Mapping[str, Any]) -> dict[str, int]:
    """Read the user that CloudNativePG runs as; its container overrides its pod."""
    security = {**(pod.get("securityContext") or {}), **(manager.get("securityContext") or {})}
    return {key: int(security[key]) for key in _USER if security.get(key) is not None}


def _foreign_mount(manager: Mapping[str, Any], directory: str) -> str:
    for mount in manager.get("volumeMounts") or []:
        other = mount.get("name") != names.sidecars.VOLUME_SOCKETS
        if str(mount.get("mountPath")).rstrip("/") == directory.rstrip("/") and other:
            return str(mount.get("name"))
    return ""


async def _read_directory(
    client: Client, namespace: str, deployment: Mapping[str, Any], *, configured: bool
) -> str:
    """Find the directory where CloudNativePG looks for sockets."""
    manager = manager_of(deployment)
    if not configured:
        mounts = manager.get("volumeMounts") or []
        own = [
            str(m["mountPath"]) for m in mounts if m.get("name") == names.sidecars.VOLUME_SOCKETS
        ]
        return next(iter(own), names.cnpg.SOCKET_DIRECTORY)
    arguments = [*(manager.get("command") or []), *(manager.get("args") or [])]
    for kind, flag in _CONFIGURATION:
        named = next(flag_values(arguments, flag), "")
        body = await client.find(kind, named, namespace) if named else None
        if body is not None and (found := _find_directory(kind, body)):
            return found
    for variable in manager.get("env") or []:
        if variable.get("name") == names.cnpg.SOCKET_VARIABLE and variable.get("value"):
            return str(variable["value"])
    return names.cnpg.SOCKET_DIRECTORY


def _find_directory(kind: Kind, body: Mapping[str, Any]) -> str:
    if kind is kinds.SECRET:
        data = observe.read_secret(body) or {}
        return data.get(names.cnpg.SOCKET_VARIABLE, b"").decode(errors="replace")
    return str((body.get("data") or {}).get(names.cnpg.SOCKET_VARIABLE) or "")


def flag_values(arguments: list[str], flag: str) -> Iterator[str]:
    """Yield the values of a flag, written as one argument or as two."""
    for index, argument in enumerate(arguments):
        if argument.startswith(f"{flag}="):
            yield argument.partition("=")[2]
        elif argument == flag and index + 1 < len(arguments):
            yield arguments[index + 1]


async def _read_kubernetes(client: Client) -> tuple[int, int] | None:
    """Read the API server's version; None where it is unknown."""
    try:
        said = await client.version()
    except errors.ClusterError:
        return None
    match = re.match(r"v?(\d+)\.(\d+)", said)
    return (int(match[1]), int(match[2])) if match else None
