"""What the deletion of a `CNPGPlugin` needs to know, read from any spec, valid or not.

A stored resource may not parse in this version: an older version or another schema accepted it. It
is removed like any other, so both kinds are read here, and only here.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from cnpg_plugin_operator.api.plugin import Resource, names_sidecar, parse_resource
from cnpg_plugin_operator.api.spec import DeletionPolicy
from cnpg_plugin_operator.api.untrusted import mapping

_NAME: Final = re.compile(r"[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Leaving(Resource):
    """One `CNPGPlugin` that is being deleted."""

    plugin_name: str
    """The CNPG-I name; empty where the spec has none."""
    service_name: str
    """Name of the Service that the spec asks for."""
    cnpg_reference: str
    """Name of CloudNativePG's Deployment where the user named it, else empty."""
    protected: bool
    """Whether deletion waits for the Clusters that use the plugin; true unless the spec says no."""
    orphaning: bool
    """Whether everything keeps running without its owner. A sidecar cannot."""


def read_leaving(body: Mapping[str, Any]) -> Leaving:
    """Read a resource as the API server returned it; never raises, whatever the spec holds."""
    resource, spec = parse_resource(body), mapping(body.get("spec"))
    policy = spec.get("deletionPolicy")
    return Leaving(
        **asdict(resource),
        plugin_name=_text(spec, "pluginName"),
        service_name=_name(mapping(spec.get("service")), "name") or resource.name,
        cnpg_reference=_name(mapping(spec.get("cnpg")), "deploymentName"),
        protected=policy != DeletionPolicy.DELETE,
        orphaning=policy == DeletionPolicy.ORPHAN and not names_sidecar(spec),
    )


def gone(namespace: str, name: str) -> Leaving:
    """Stand for a resource of which only the name is known: its finalizer was removed by hand."""
    body = {"metadata": {"namespace": namespace, "name": name, "uid": ""}}
    body["metadata"]["creationTimestamp"] = "1970-01-01T00:00:00Z"
    return read_leaving(body)


def _name(section: Mapping[str, Any], key: str) -> str:
    """Read the name of an object; an invalid name counts as none."""
    name = _text(section, key)
    return name if _NAME.fullmatch(name) else ""


def _text(section: Mapping[str, Any], key: str) -> str:
    value = section.get(key)
    return value if isinstance(value, str) else ""
