"""Which sidecars a message of the kubelet, the scheduler or the API server is about."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.conditions import Reason
from cnpg_plugin_operator.decide.facts.cnpg import Eviction
from cnpg_plugin_operator.desired.sidecars import Sidecar, keep_sidecar

_VOLUME: Final = re.compile(r'EmptyDir volume "([^"]+)"')
_OVER_LIMIT: Final = re.compile(r"Container (\S+) exceeded")
_USING: Final = re.compile(r"Container (\S+) was using (\d+)([KMGTP]?)i?\b")
"""Messages of the kubelet's eviction manager (`pkg/kubelet/eviction/helpers.go`)."""


def name_evicted(eviction: Eviction, template: Mapping[str, Any]) -> Iterator[str]:
    """Name the sidecars that a pod was evicted for; on a node under pressure, the biggest user."""
    volumes = set(_VOLUME.findall(eviction.message))
    containers = set(_OVER_LIMIT.findall(eviction.message))
    usage = {
        c: int(n) << 10 * " KMGTP".index(u or " ") for c, n, u in _USING.findall(eviction.message)
    }
    if usage:
        containers.add(max(usage, key=lambda name: usage[name]))
    for name in eviction.sidecars:
        sidecar = keep_sidecar(name, "", template)
        own = {str(volume.get("name")) for volume in sidecar.volumes} if sidecar else set()
        if names.sidecars.container(name) in containers or not own.isdisjoint(volumes):
            yield name


def narrow(
    suspects: frozenset[str], reason: Reason, message: str, template: Mapping[str, Any]
) -> frozenset[str]:
    """Return the suspects that the message names, else those that it may concern, else all."""
    found = ((name, keep_sidecar(name, "", template)) for name in suspects)
    parts = {name: sidecar for name, sidecar in found if sidecar is not None}
    named = {name for name, sidecar in parts.items() if _is_named(sidecar, message)}
    asks = {name for name, sidecar in parts.items() if _asks(sidecar, reason)}
    return frozenset(named or asks) or suspects


def _is_named(sidecar: Sidecar, message: str) -> bool:
    """Whether a message names a container, one of its volumes, or the source of such a volume."""
    container = re.escape(str(sidecar.container["name"]))
    if re.search(rf"(?<![\w.-]){container}(?![\w.-]*[\w-])", message):
        return True
    quoted = set(re.findall(r'"([^"]+)"', message))
    return not quoted.isdisjoint(_texts(list(sidecar.volumes)))


def _texts(value: object) -> Iterator[str]:
    """Yield the texts in a JSON value; its depth is limited elsewhere."""
    pending = [value]
    while pending:
        each = pending.pop()
        if isinstance(each, Mapping):
            pending.extend(each.values())
        elif isinstance(each, list | tuple):
            pending.extend(each)
        elif isinstance(each, str):
            yield each


def _asks(sidecar: Sidecar, reason: Reason) -> bool:
    """Whether a sidecar requests what the pod does not get: resources, or volumes."""
    if reason is Reason.MOUNT_FAILED:
        return bool(sidecar.volumes)
    if reason in (Reason.UNSCHEDULABLE, Reason.PODS_REFUSED):
        claims = any("persistentVolumeClaim" in v or "ephemeral" in v for v in sidecar.volumes)
        return bool(sidecar.container.get("resources")) or claims
    return False
