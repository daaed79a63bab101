"""The Service by which CloudNativePG discovers a plugin.

The operator creates it without CloudNativePG's label first, because the handshake needs its DNS
name. Nothing else calls the plugin yet, so until then the Service also routes to pods that are not
ready: nodes, which may take a second for a new endpoint, do so while the plugin starts.
"""

from collections.abc import Mapping
from typing import Final

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.desired.objects import Object, build_child

REACHED_INSIDE: Final = {
    "type": "ClusterIP",
    "sessionAffinity": "None",
    "internalTrafficPolicy": "Cluster",
}
"""Kubernetes' defaults, set explicitly so that they are restored: only CloudNativePG calls a
plugin."""

PORT_NAME: Final = "grpc"
"""Name of the port, unless the live one has another."""


def build_service(
    plugin: Plugin,
    announcement: Mapping[str, str] | None,
    name: str = "",
    port_name: str = PORT_NAME,
) -> Object:
    """Build the Service, or a Service with another name for the same pods.

    `announcement` is the annotations of a published Service; with None, CloudNativePG does not
    find it.
    """
    service = plugin.spec.service
    labels = dict(service.labels)
    if announcement is not None:
        labels[names.cnpg.PLUGIN_NAME] = plugin.spec.plugin_name
        labels[names.cnpg.PLUGIN_DOCUMENTED] = plugin.spec.plugin_name
    extra_ports = [
        _build_port(extra.name, extra.service_port, extra.port, extra.protocol)
        for extra in plugin.spec.extra_ports
        if extra.service_port is not None
    ]
    own_port = _build_port(port_name, plugin.spec.port, plugin.spec.port, "TCP")
    spec: dict[str, object] = {
        **REACHED_INSIDE,
        "selector": {names.labels.PLUGIN: plugin.name},
        "ports": [own_port, *extra_ports],
        # Of several pods, only the leader may ever listen.
        "publishNotReadyAddresses": announcement is None and plugin.spec.replicas == 1,
    }
    if service.ip_families:
        spec["ipFamilies"] = list(service.ip_families)
    if service.ip_family_policy:
        spec["ipFamilyPolicy"] = service.ip_family_policy
    return build_child(
        plugin,
        "v1",
        "Service",
        name or plugin.service_name,
        labels=labels,
        annotations={**service.annotations, **(announcement or {})},
        spec=spec,
    )


def _build_port(name: str, port: int, target: int, protocol: str) -> dict[str, object]:
    named = {"name": name} if name else {}
    return {**named, "port": port, "targetPort": target, "protocol": protocol}


def build_endpoint(plugin: Plugin) -> dict[str, str]:
    """Build the annotations that tell CloudNativePG what to dial and with which Secrets.

    CloudNativePG reads only the trusted certificates from its "server Secret".
    """
    endpoint = {
        names.cnpg.PLUGIN_PORT: str(plugin.spec.port),
        names.cnpg.SERVER_SECRET: names.children.trust_secret(plugin.name),
        names.cnpg.CLIENT_SECRET: plugin.client_secret,
    }
    if plugin.server_name != plugin.service_name:
        endpoint[names.cnpg.SERVER_NAME] = plugin.server_name
    return endpoint


def build_candidate(plugin: Plugin) -> Object:
    """Build the Service by which a plugin is proven while its own is still another's."""
    return build_service(plugin, None, names.children.candidate_service(plugin.name))
