"""What others have put on a child where nothing of others may be, and the patch that removes it.

A server-side apply takes over a field that it names, but cannot remove one that it does not. Of a
child's labels and annotations, the families of CloudNativePG and of this operator are exactly what
is wanted: CloudNativePG acts on them. All other keys are left to whoever set them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cnpg_plugin_operator import names
from cnpg_plugin_operator.desired.objects import Object

NOTES: Final = frozenset({names.annotations.DISTURBED})
"""Keys of our families that a manager of their own keeps on a child."""

FAMILIES: Final = (f"{names.cnpg.DOMAIN}/", f"{names.resource.GROUP}/")
"""Prefixes of the keys that are this operator's on its children."""

ABSENT: Final[Mapping[str, frozenset[str]]] = {
    "Service": frozenset(
        {
            "allocateLoadBalancerNodePorts",
            "externalIPs",
            "externalName",
            "externalTrafficPolicy",
            "healthCheckNodePort",
            "loadBalancerClass",
            "loadBalancerIP",
            "loadBalancerSourceRanges",
            "publishNotReadyAddresses",
            "sessionAffinityConfig",
            "trafficDistribution",
        }
    ),
    "Deployment": frozenset({"minReadySeconds", "paused"}),
}
"""Fields of a child's `spec` that would lead its traffic elsewhere or stop its rollouts."""

_ABSENT_FROM_PORTS: Final = frozenset({"nodePort", "appProtocol"})


@dataclass(frozen=True, slots=True)
class Surplus:
    """What has to go from a live object."""

    field: str
    """The first of it, by its path."""
    patch: Mapping[str, Any]
    """The JSON merge patch that removes all of it, if the object is still the one looked at."""


def find_surplus(desired: Object, live: Mapping[str, Any]) -> Surplus | None:
    """Find what has to go from a live object, or None."""
    metadata, spec = dict(_keys(desired, live)), dict(_fields(desired, live))
    template = dict(_keys(_template(desired), _template(live)))
    if template:
        spec["template"] = {"metadata": template}
    if not metadata and not spec:
        return None
    if desired["kind"] == "Service" and spec:
        # What goes with another type of Service can only go together with the type.
        spec["type"] = desired["spec"]["type"]
    patch: dict[str, Any] = {
        "metadata": {**metadata, "resourceVersion": live["metadata"]["resourceVersion"]}
    }
    if spec:
        patch["spec"] = spec
    return Surplus(_first(metadata, spec), patch)


def _keys(desired: Mapping[str, Any], live: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Find labels and annotations of our families that are not wanted."""
    for section in ("labels", "annotations"):
        wanted = (desired.get("metadata") or {}).get(section) or {}
        found = (live.get("metadata") or {}).get(section) or {}
        ours = (key for key in sorted(found) if key.startswith(FAMILIES))
        gone = {key: None for key in ours if key not in wanted and key not in NOTES}
        if gone:
            yield section, gone


def _fields(desired: Object, live: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Find fields of the spec that must be absent, and ports that are not the wanted ones."""
    wanted, found = desired.get("spec") or {}, live.get("spec") or {}
    for field in sorted(ABSENT.get(desired["kind"], ())):
        if found.get(field) and field not in wanted:
            yield field, None
    if desired["kind"] == "Service":
        ports = found.get("ports") or []
        foreign = any(not _ABSENT_FROM_PORTS.isdisjoint(port) for port in ports)
        if foreign or len(ports) > len(wanted["ports"]):
            yield "ports", wanted["ports"]


def _template(body: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = (body.get("spec") or {}).get("template") or {}
    return found


def _first(metadata: Mapping[str, Any], spec: Mapping[str, Any]) -> str:
    """Name the first field that has to go."""
    for section, keys in metadata.items():
        return f"metadata.{section}.{next(iter(keys))}"
    field = next(iter(spec))
    if field != "template":
        return f"spec.{field}"
    section, keys = next(iter(spec["template"]["metadata"].items()))
    return f"spec.template.metadata.{section}.{next(iter(keys))}"
