"""CloudNativePG's version, and what each version does by itself.

Sources: CloudNativePG's tags 1.24.0 to 1.30.0 (`internal/controller/plugin_controller.go`) and its
pull requests #7029 (re-registration), #10040 (Events), #9222 (server name).
"""

import re
from collections.abc import Mapping
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


def discovers(version: Version) -> bool:
    """Whether it finds a new Service without a restart: every version since 1.24.0."""
    return version >= (1, 24, 0)


def reregisters(version: Version) -> bool:
    """Whether it rebuilds its connection after a change of Service or Secret.

    1.24.0 to 1.24.3 and 1.25.0 to 1.25.1 log "Plugin already registered" and keep the previous one
    (#7029).
    """
    if version < (1, 24, 4):
        return False
    return not (1, 25, 0) <= version < (1, 25, 2)


def reports_events(version: Version) -> bool:
    """Whether it writes Events on the Service (#10040)."""
    return version >= (1, 29, 0)


def follows_rollouts(version: Version) -> bool:
    """Whether it reconciles the Clusters that use a plugin when the plugin's pods roll out.

    1.28.4, 1.29.2 and newer watch EndpointSlices (#10836); older ones reconcile within 10 h.
    """
    return (1, 28, 4) <= version < (1, 29, 0) or version >= (1, 29, 2)
