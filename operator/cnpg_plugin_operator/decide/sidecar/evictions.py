"""Which sidecars the kubelet evicted CloudNativePG's pod for, as far as its words tell."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from cnpg_plugin_operator import names
from cnpg_plugin_operator.decide.facts.cnpg import Eviction
from cnpg_plugin_operator.desired.sidecars import keep_sidecar

_VOLUME: Final = re.compile(r'EmptyDir volume "([^"]+)"')
_OVER_LIMIT: Final = re.compile(r"Container (\S+) exceeded")
_USING: Final = re.compile(r"Container (\S+) was using (\d+)([KMGTP]?)i?\b")
"""What the kubelet's eviction manager writes (`pkg/kubelet/eviction/helpers.go`)."""


def name_evicted(eviction: Eviction, template: Mapping[str, Any]) -> Iterator[str]:
    """Name the sidecars that a pod was evicted for; on a node that ran short, the biggest user."""
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
