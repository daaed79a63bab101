"""CloudNativePG's version, and what each version does by itself.

`RANGES` is the one table of facts; its sources are CloudNativePG's tags 1.24.0 to 1.30.1
(`internal/controller/plugin_controller.go`) and the named pull requests. `make matrix` confirms it
on the versions that can be built.
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

from cnpg_plugin_operator import names

Version = tuple[int, int, int]
"""Major, minor, patch."""

_SEMVER: Final = re.compile(r"(?:^|[v:@-])(\d+)\.(\d+)\.(\d+)")


def version_of(deployment: Mapping[str, Any]) -> str:
    """Read CloudNativePG's version from its Deployment: image tag, then env, then label.

    The label comes later, because charts do not update it when only the image is overridden. Last
    is the name of OLM's ClusterServiceVersion. Empty where none of them has a version (an image
    with a digest only).
    """
    manager = manager_of(deployment)
    environment = {e.get("name"): e.get("value") for e in manager.get("env") or []}
    labels = deployment["metadata"].get("labels") or {}
    sources = (
        _tag(manager.get("image")),
        _tag(environment.get(names.cnpg.IMAGE_VARIABLE)),
        labels.get("app.kubernetes.io/version"),
        labels.get(names.labels.OLM_OWNER),
    )
    for text in sources:
        match = _SEMVER.search(text) if isinstance(text, str) else None
        if match:
            return ".".join(match.groups())
    return ""


def manager_of(deployment: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return CloudNativePG's container, empty where there is none."""
    pod = ((deployment.get("spec") or {}).get("template") or {}).get("spec") or {}
    containers = pod.get("containers") or []
    return next((c for c in containers if c.get("name") == names.cnpg.CONTAINER), {})


def _tag(image: object) -> str | None:
    """Return the tag of an image reference; a registry's port is not a tag."""
    if not isinstance(image, str):
        return None
    name, _, tag = image.partition("@")[0].rpartition(":")
    return f":{tag}" if name and "/" not in tag else None


def parse_version(text: str) -> Version | None:
    """Parse `1.30.0`; None where the version is unknown."""
    match = _SEMVER.search(text)
    return (int(match[1]), int(match[2]), int(match[3])) if match else None


class Fact(StrEnum):
    """What some versions do, and others do not."""

    DISCOVERS = "Discovers"
    """It finds a new Service without a restart (#5106)."""
    REREGISTERS = "Reregisters"
    """It rebuilds its connection after a change of Service or Secret (#7029). The others log
    "Plugin already registered" and keep the previous one."""
    READS_SERVER_NAME = "ReadsServerName"
    """It verifies the server name that the Service names (#9222); the others verify the Service's
    name."""
    REPORTS_EVENTS = "ReportsEvents"
    """It writes Events on the Service (#10040)."""
    ADDS_FINALIZER = "AddsFinalizer"
    """It puts its finalizer on the Service, to forget the plugin when the Service is deleted
    (#9560). It forgets the name that the label has then; without the label it does nothing, and the
    finalizer stays."""
    REMEMBERS_SERVICES = "RemembersServices"
    """It has no finalizer any more: it removes one that it finds on any Service, and remembers the
    label that a Service last had, until the Service is deleted or its own process ends (#10940). So
    it forgets the plugin also when a Service is deleted that has lost the label."""
    FOLLOWS_ROLLOUTS = "FollowsRollouts"
    """It watches EndpointSlices, and reconciles the Clusters that use a plugin when the plugin's
    pods roll out (#10836); the others reconcile within 10 h."""
    DIALS_NAMESPACE = "DialsNamespace"
    """It dials `<service>.<namespace>.svc`; the others the Service's bare name (#10921)."""


_NEWEST: Final[Version] = (1_000, 0, 0)

RANGES: Final[Mapping[Fact, tuple[tuple[Version, Version], ...]]] = {
    Fact.DISCOVERS: (((1, 24, 0), _NEWEST),),
    Fact.REREGISTERS: (((1, 24, 4), (1, 25, 0)), ((1, 25, 2), _NEWEST)),
    Fact.READS_SERVER_NAME: (((1, 26, 3), (1, 27, 0)), ((1, 27, 2), _NEWEST)),
    Fact.REPORTS_EVENTS: (((1, 29, 0), _NEWEST),),
    Fact.ADDS_FINALIZER: (((1, 29, 0), (1, 29, 3)), ((1, 30, 0), (1, 30, 1))),
    Fact.REMEMBERS_SERVICES: (((1, 29, 3), (1, 30, 0)), ((1, 30, 1), _NEWEST)),
    Fact.FOLLOWS_ROLLOUTS: (((1, 28, 4), (1, 29, 0)), ((1, 29, 2), _NEWEST)),
    Fact.DIALS_NAMESPACE: (((1, 28, 4), (1, 29, 0)), ((1, 29, 2), _NEWEST)),
}
"""For each fact the versions: from the first of a range, before the second."""


def applies(fact: Fact, version: Version) -> bool:
    """Whether a fact is true of a version."""
    return any(first <= version < end for first, end in RANGES[fact])


def discovers(version: Version) -> bool:
    """Whether it finds a new Service without a restart."""
    return applies(Fact.DISCOVERS, version)


def reregisters(version: Version) -> bool:
    """Whether it rebuilds its connection after a change of Service or Secret."""
    return applies(Fact.REREGISTERS, version)


def reads_server_name(version: Version) -> bool:
    """Whether it verifies the server name that the Service names."""
    return applies(Fact.READS_SERVER_NAME, version)


def reports_events(version: Version) -> bool:
    """Whether it writes Events on the Service."""
    return applies(Fact.REPORTS_EVENTS, version)


def removes_finalizer(version: Version) -> bool:
    """Whether it removes its finalizer from a deleted Service; the others do not know it."""
    return applies(Fact.ADDS_FINALIZER, version) or remembers_services(version)


def remembers_services(version: Version) -> bool:
    """Whether it forgets the plugin of a deleted Service without an Event."""
    return applies(Fact.REMEMBERS_SERVICES, version)


def follows_rollouts(version: Version) -> bool:
    """Whether it reconciles the Clusters that use a plugin when the plugin's pods roll out."""
    return applies(Fact.FOLLOWS_ROLLOUTS, version)


def dials_namespace(version: Version) -> bool:
    """Whether it dials a Service with its namespace."""
    return applies(Fact.DIALS_NAMESPACE, version)
