"""What protects a plugin's pods: from drains, and from clients other than CloudNativePG."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.desired.objects import Object, build_child

NAMESPACE_NAME: Final = "kubernetes.io/metadata.name"
"""Label with the name of a namespace, which the API server sets on each."""


@dataclass(frozen=True, slots=True)
class Pods:
    """The operator's own pods: a client of every plugin."""

    namespace: str
    labels: Mapping[str, str]


def build_protection(
    plugin: Plugin, cnpg: Mapping[str, Any], operator: Pods | None
) -> list[Object]:
    """Build what the spec asks for; `cnpg` selects CloudNativePG's pods in the namespace.

    Without the operator's own pods there is no NetworkPolicy: it would refuse the handshake.
    """
    objects = []
    if plugin.spec.pod_disruption_budget is not None:
        wanted = plugin.spec.pod_disruption_budget.model_dump(by_alias=True, exclude_none=True)
        spec = {**wanted, "selector": _select_pods(plugin)}
        objects.append(
            build_child(plugin, "policy/v1", "PodDisruptionBudget", plugin.name, spec=spec)
        )
    if plugin.spec.network_policy.enabled and operator is not None:
        objects.append(_build_policy(plugin, cnpg, operator))
    return objects


def _build_policy(plugin: Plugin, cnpg: Mapping[str, Any], operator: Pods) -> Object:
    """Admit CloudNativePG and the operator to the plugin's port, and everyone to the others."""
    clients = [
        {"podSelector": dict(cnpg)},
        {
            "namespaceSelector": {"matchLabels": {NAMESPACE_NAME: operator.namespace}},
            "podSelector": {"matchLabels": dict(operator.labels)},
        },
    ]
    own = [{"protocol": "TCP", "port": plugin.spec.port}]
    others = [{"protocol": e.protocol, "port": e.port} for e in plugin.spec.extra_ports]
    return build_child(
        plugin,
        "networking.k8s.io/v1",
        "NetworkPolicy",
        plugin.name,
        spec={
            "podSelector": _select_pods(plugin),
            "policyTypes": ["Ingress"],
            "ingress": [{"from": clients, "ports": own}, *([{"ports": others}] if others else [])],
        },
    )


def _select_pods(plugin: Plugin) -> Object:
    return {"matchLabels": {names.labels.PLUGIN: plugin.name}}
