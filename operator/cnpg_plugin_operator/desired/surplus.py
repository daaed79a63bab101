"""Fields that others have set on a child where only the operator may, and the patch to remove them.

A server-side apply takes over a field that it sets, but cannot remove one that it does not set. A
child's labels and annotations with the prefixes of CloudNativePG and of this operator must be
exactly as wanted, because CloudNativePG acts on them. Nor may a second container listen at the
plugin's port. All other keys belong to their managers.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cnpg_plugin_operator import names
from cnpg_plugin_operator.desired.objects import Object, read_stamp

RECORDS: Final = frozenset({names.annotations.DISTURBED})
"""Keys with our prefixes that another manager of this operator owns on a child."""

FAMILIES: Final = (f"{names.cnpg.DOMAIN}/", f"{names.resource.GROUP}/")
"""Prefixes of the keys that only this operator sets on its children."""

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
            "sessionAffinityConfig",
            "trafficDistribution",
        }
    ),
    "Deployment": frozenset({"minReadySeconds", "paused"}),
}
"""Fields of a child's `spec` that would redirect its traffic or stop its rollouts."""

_ABSENT_FROM_PORTS: Final = frozenset({"nodePort", "appProtocol"})


@dataclass(frozen=True, slots=True)
class Surplus:
    """What must be removed from a live object."""

    field: str
    """The path of the first field."""
    patch: Mapping[str, Any]
    """The JSON merge patch that removes all of it, unless the object has changed since."""


def find_surplus(desired: Object, live: Mapping[str, Any]) -> Surplus | None:
    """Find what must be removed from a live object, or None."""
    # What another state of the resource has left is removed by its apply.
    unchanged = read_stamp(desired) == read_stamp(live)
    metadata, spec = dict(_keys(desired, live)), dict(_fields(desired, live, unchanged=unchanged))
    wanted, found = _template(desired), _template(live)
    template: dict[str, Any] = {}
    if keys := dict(_keys(wanted, found)):
        template["metadata"] = keys
    if unchanged and (containers := _without_rivals(wanted, found)) is not None:
        template["spec"] = {"containers": containers}
    if template:
        spec["template"] = template
    if not metadata and not spec:
        return None
    if desired["kind"] == "Service" and spec:
        # Fields of another type of Service can only be removed together with the type.
        spec["type"] = desired["spec"]["type"]
    patch: dict[str, Any] = {
        "metadata": {**metadata, "resourceVersion": live["metadata"]["resourceVersion"]}
    }
    if spec:
        patch["spec"] = spec
    return Surplus(_first(metadata, spec), patch)


def _keys(desired: Mapping[str, Any], live: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Find labels and annotations with our prefixes that are not wanted."""
    for section in ("labels", "annotations"):
        wanted = (desired.get("metadata") or {}).get(section) or {}
        found = (live.get("metadata") or {}).get(section) or {}
        ours = (key for key in sorted(found) if key.startswith(FAMILIES))
        gone = {key: None for key in ours if key not in wanted and key not in RECORDS}
        if gone:
            yield section, gone


def _fields(
    desired: Object, live: Mapping[str, Any], *, unchanged: bool
) -> Iterator[tuple[str, Any]]:
    """Find fields of the spec that must be absent, and ports that differ from the wanted ones.

    An apply adds the wanted port beside one with another number, and the API server refuses two of
    one name.
    """
    wanted, found = desired.get("spec") or {}, live.get("spec") or {}
    for field in sorted(ABSENT.get(desired["kind"], ())):
        if found.get(field) and field not in wanted:
            yield field, None
    if desired["kind"] == "Service":
        ports = found.get("ports") or []
        foreign = any(not _ABSENT_FROM_PORTS.isdisjoint(port) for port in ports)
        renumbered = unchanged and not _numbers(ports) <= _numbers(wanted["ports"])
        if foreign or renumbered or len(ports) > len(wanted["ports"]):
            yield "ports", wanted["ports"]


def _numbers(ports: Iterable[Mapping[str, Any]]) -> set[tuple[int, str]]:
    """Give the keys by which the API server tells ports apart."""
    return {(port["port"], port.get("protocol", "TCP")) for port in ports}


def _without_rivals(
    wanted: Mapping[str, Any], found: Mapping[str, Any]
) -> list[Mapping[str, Any]] | None:
    """List the containers without what would keep the wanted ones from running, or None.

    An apply adds the wanted container beside one that was renamed, and both would listen at the
    same port; it adds the wanted port beside one with another number, and the API server refuses
    two of one name.
    """
    own = {each["name"]: each for each in (wanted.get("spec") or {}).get("containers") or ()}
    live = (found.get("spec") or {}).get("containers") or []
    ports = {port["containerPort"] for each in own.values() for port in each.get("ports") or ()}
    kept: list[Mapping[str, Any]] = []
    for each in live:
        if each["name"] in own:
            kept.append(_without_rival_ports(own[each["name"]], each))
        elif ports.isdisjoint(port["containerPort"] for port in each.get("ports") or ()):
            kept.append(each)
    if kept == live:
        return None
    names_kept = {each["name"] for each in kept}
    return kept + [each for name, each in own.items() if name not in names_kept]


def _without_rival_ports(wanted: Mapping[str, Any], live: Mapping[str, Any]) -> Mapping[str, Any]:
    """Give a container without ports that have the name of a wanted one, and another number."""
    ports = wanted.get("ports") or ()
    numbers = {port["name"]: port["containerPort"] for port in ports if "name" in port}
    found = live.get("ports") or []
    ports = [p for p in found if numbers.get(p.get("name", "")) in (None, p["containerPort"])]
    return live if ports == found else {**live, "ports": ports}


def _template(body: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = (body.get("spec") or {}).get("template") or {}
    return found


def _first(metadata: Mapping[str, Any], spec: Mapping[str, Any]) -> str:
    """Return the first field to remove."""
    for section, keys in metadata.items():
        return f"metadata.{section}.{next(iter(keys))}"
    field = next(iter(spec))
    if field != "template":
        return f"spec.{field}"
    for section, keys in spec["template"].get("metadata", {}).items():
        return f"spec.template.metadata.{section}.{next(iter(keys))}"
    return "spec.template.spec.containers"
