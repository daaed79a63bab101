"""Reads facts about CloudNativePG that only sidecars need: its pods, and their environment."""

import asyncio
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from cnpg_plugin_operator import errors, names
from cnpg_plugin_operator.cluster import kinds, observe
from cnpg_plugin_operator.cluster.client import Client
from cnpg_plugin_operator.cluster.cnpg import Located
from cnpg_plugin_operator.cluster.cnpg_pods import (
    list_pods,
    read_evictions,
    read_mount_failure,
    read_pods,
)
from cnpg_plugin_operator.cluster.kinds import Kind
from cnpg_plugin_operator.decide.facts.cnpg import CNPGFacts, PodEnvironment
from cnpg_plugin_operator.decide.facts.cnpg_versions import manager_of

_CONFIGURATION: Final = (
    (kinds.SECRET, "--secret-name"),
    (kinds.CONFIG_MAP, "--config-map-name"),
)
"""Sources of CloudNativePG's configuration, by the flags of its command. The Secret takes
precedence over the ConfigMap, and both over the environment (internal/configuration)."""

_USER: Final = ("runAsUser", "runAsGroup")


async def read_for_sidecars(client: Client, located: Located, *, configured: bool) -> CNPGFacts:
    """Complete the facts of a CloudNativePG that was just read.

    Where the operator may not read CloudNativePG's configuration (not `configured`), only the
    Deployment tells the socket directory; the chart withholds that right where sidecars are not
    allowed.
    """
    environment, bodies = await asyncio.gather(
        _read_environment(client, located.deployment, configured=configured),
        _list_pods(client, located),
    )
    facts = replace(
        located.facts,
        pods=read_pods(bodies),
        evictions=await read_evictions(client, located.facts.namespace, bodies),
        environment=environment,
    )
    newest = facts.newest
    if newest is None or newest.pod.ready or newest.pod.address or not newest.scheduled:
        return facts
    # A pod gets its address once its volumes are mounted; only an Event says which one is not.
    unmounted = await read_mount_failure(client, facts.namespace, newest.pod)
    waiting = replace(newest, unmounted=unmounted)
    return replace(facts, pods=tuple(waiting if p is newest else p for p in facts.pods))


async def _list_pods(client: Client, located: Located) -> list[dict[str, Any]]:
    if located.pods is not None:
        return located.pods
    return await list_pods(client, located.deployment)


async def _read_environment(
    client: Client, deployment: Mapping[str, Any], *, configured: bool
) -> PodEnvironment:
    directory, kubernetes = await asyncio.gather(
        _read_directory(client, deployment, configured=configured),
        _read_kubernetes(client),
    )
    manager = manager_of(deployment)
    pod = ((deployment.get("spec") or {}).get("template") or {}).get("spec") or {}
    return PodEnvironment(
        directory=directory,
        user=_read_user(pod, manager),
        account=str(pod.get("serviceAccountName") or "default"),
        mounted=_foreign_mount(manager, directory),
        ports=frozenset(int(p.get("containerPort", 0)) for p in manager.get("ports") or []),
        kubernetes=kubernetes,
    )


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
    client: Client, deployment: Mapping[str, Any], *, configured: bool
) -> str:
    """Find the directory where CloudNativePG looks for sockets."""
    manager = manager_of(deployment)
    if not configured:
        mounts = manager.get("volumeMounts") or []
        own = [
            str(m["mountPath"]) for m in mounts if m.get("name") == names.sidecars.VOLUME_SOCKETS
        ]
        return next(iter(own), names.cnpg.SOCKET_DIRECTORY)
    namespace = deployment["metadata"]["namespace"]
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
