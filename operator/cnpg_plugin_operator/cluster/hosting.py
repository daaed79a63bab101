"""CloudNativePG's Deployment as the host of sidecars: where they go, as whom, what pods say."""

import asyncio
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from cnpg_plugin_operator import errors, names
from cnpg_plugin_operator.api.times import read_time
from cnpg_plugin_operator.cluster import kinds, observe
from cnpg_plugin_operator.cluster.client import Client
from cnpg_plugin_operator.cluster.kinds import Kind
from cnpg_plugin_operator.cluster.locating import selector_of
from cnpg_plugin_operator.decide.gate import decode_verdicts
from cnpg_plugin_operator.decide.host_facts import HostFacts, HostPod
from cnpg_plugin_operator.decide.versions import manager_of
from cnpg_plugin_operator.desired.sidecars import read_sidecars

_CONFIGURATION: Final = (
    (kinds.SECRET, "--secret-name"),
    (kinds.CONFIG_MAP, "--config-map-name"),
)
"""Where CloudNativePG reads its configuration from, by the flags of its command; the Secret's word
counts before the ConfigMap's, and both before the environment's (internal/configuration)."""

_USER: Final = ("runAsUser", "runAsGroup")


async def read_host(
    client: Client, deployment: Mapping[str, Any], *, configured: bool
) -> HostFacts:
    """Read what belongs to CloudNativePG's Deployment, which was read just now: its pods first.

    Where CloudNativePG's configuration may not be read, its Deployment alone says where it looks
    for sockets; the chart withholds that right where no sidecar may be added.
    """
    namespace = deployment["metadata"]["namespace"]
    directory, pods, kubernetes = await asyncio.gather(
        _read_directory(client, namespace, deployment, configured=configured),
        client.list(kinds.POD, namespace, labels=selector_of(deployment)),
        _read_kubernetes(client),
    )
    return read_facts(deployment, pods, directory, kubernetes)


def read_facts(
    deployment: Mapping[str, Any],
    pods: list[dict[str, Any]],
    directory: str = names.CNPG_SOCKET_DIRECTORY,
    kubernetes: tuple[int, int] | None = None,
) -> HostFacts:
    """Read what a Deployment of CloudNativePG's and its pods say."""
    spec, manager = deployment.get("spec") or {}, manager_of(deployment)
    template = spec.get("template") or {}
    pod = template.get("spec") or {}
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
        available=(deployment.get("status") or {}).get("availableReplicas", 0) > 0,
        pods=read_host_pods(pods),
        kubernetes=kubernetes,
    )


def read_host_pods(bodies: list[dict[str, Any]]) -> tuple[HostPod, ...]:
    """Read the pods that are to stay, oldest first, each with what its gate left."""
    by_name = {body["metadata"]["name"]: body for body in bodies}
    found = []
    for pod in observe.read_pods(bodies):
        if pod.deleting:
            continue
        body = by_name[pod.name]
        gate = _gate_ending(body)
        found.append(
            HostPod(
                pod=pod,
                sidecars=read_sidecars(body),
                verdicts=decode_verdicts(str(gate.get("message") or "")),
                gate_ended=read_time(gate.get("finishedAt")),
            )
        )
    return tuple(found)


def _gate_ending(pod: Mapping[str, Any]) -> Mapping[str, Any]:
    """Find how the gate ended; one that failed is run again, and its end is not final."""
    for status in (pod.get("status") or {}).get("initContainerStatuses") or []:
        if status.get("name") == names.GATE:
            ended: Mapping[str, Any] = (status.get("state") or {}).get("terminated") or {}
            return ended if ended.get("exitCode") == 0 else {}
    return {}


def _read_user(pod: Mapping[str, Any], manager: Mapping[str, Any]) -> dict[str, int]:
    """Read as whom CloudNativePG runs; its container's word counts before its pod's."""
    security = {**(pod.get("securityContext") or {}), **(manager.get("securityContext") or {})}
    return {key: int(security[key]) for key in _USER if security.get(key) is not None}


def _foreign_mount(manager: Mapping[str, Any], directory: str) -> str:
    for mount in manager.get("volumeMounts") or []:
        other = mount.get("name") != names.VOLUME_SOCKETS
        if str(mount.get("mountPath")).rstrip("/") == directory.rstrip("/") and other:
            return str(mount.get("name"))
    return ""


async def _read_directory(
    client: Client, namespace: str, deployment: Mapping[str, Any], *, configured: bool
) -> str:
    """Find out where CloudNativePG looks for sockets."""
    manager = manager_of(deployment)
    if not configured:
        mounts = manager.get("volumeMounts") or []
        own = [str(m["mountPath"]) for m in mounts if m.get("name") == names.VOLUME_SOCKETS]
        return next(iter(own), names.CNPG_SOCKET_DIRECTORY)
    arguments = [*(manager.get("command") or []), *(manager.get("args") or [])]
    for kind, flag in _CONFIGURATION:
        named = next(flag_values(arguments, flag), "")
        body = await client.find(kind, named, namespace) if named else None
        if body is not None and (found := _find_directory(kind, body)):
            return found
    for variable in manager.get("env") or []:
        if variable.get("name") == names.CNPG_SOCKET_VARIABLE and variable.get("value"):
            return str(variable["value"])
    return names.CNPG_SOCKET_DIRECTORY


def _find_directory(kind: Kind, body: Mapping[str, Any]) -> str:
    if kind is kinds.SECRET:
        data = observe.read_secret(body) or {}
        return data.get(names.CNPG_SOCKET_VARIABLE, b"").decode(errors="replace")
    return str((body.get("data") or {}).get(names.CNPG_SOCKET_VARIABLE) or "")


def flag_values(arguments: list[str], flag: str) -> Iterator[str]:
    """Find the values of a flag, written as one argument or as two."""
    for index, argument in enumerate(arguments):
        if argument.startswith(f"{flag}="):
            yield argument.partition("=")[2]
        elif argument == flag and index + 1 < len(arguments):
            yield arguments[index + 1]


async def _read_kubernetes(client: Client) -> tuple[int, int] | None:
    """Read the API server's version; None where it does not tell."""
    try:
        said = await client.version()
    except errors.ClusterError:
        return None
    match = re.match(r"v?(\d+)\.(\d+)", said)
    return (int(match[1]), int(match[2])) if match else None
