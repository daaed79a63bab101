"""Which labels and annotations a plugin must not have: they decide whose traffic its pods receive.

A Service sends traffic to every pod that its selector matches. An author who may choose any label
could receive calls to CloudNativePG's webhooks, or to a database.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.decide.acceptance.pod_security import show
from cnpg_plugin_operator.decide.facts.plugin import SelectingService
from cnpg_plugin_operator.desired.objects import child_labels

CNPG_DOMAIN: Final = "cnpg.io"
"""Domain of the labels and annotations that CloudNativePG interprets."""


def find_label_problems(
    plugin: Plugin, template: Mapping[str, Any], services: tuple[SelectingService, ...]
) -> Iterator[str]:
    """List labels and annotations that belong to CloudNativePG or attract the traffic of others.

    `template` is the final pod template, `services` are all of the namespace except the plugin's
    own.
    """
    try:
        yield from _find_foreign_keys(plugin)
        labels = (template.get("metadata") or {}).get("labels") or {}
        for service in services:
            if matches(service.selector, labels) and not _is_meant(plugin, service.selector):
                yield _describe(plugin, service)
        yield from _find_own_keys(plugin)
    except (AttributeError, TypeError):
        yield "spec.podTemplate.metadata is invalid: labels and annotations must map text to text"


def matches(selector: Mapping[str, str], labels: Mapping[str, Any]) -> bool:
    """Whether a selector matches a pod with these labels; an empty one matches none."""
    return bool(selector) and all(labels.get(key) == value for key, value in selector.items())


def _find_foreign_keys(plugin: Plugin) -> Iterator[str]:
    for path, key, domain in _keys(plugin):
        if domain == CNPG_DOMAIN or domain.endswith(f".{CNPG_DOMAIN}"):
            yield f"spec.{path}: {show(key)} is reserved for CloudNativePG; remove it"


def _find_own_keys(plugin: Plugin) -> Iterator[str]:
    """Find keys that the operator sets: it would override some, and lose its pods by others."""
    for path, key, domain in _keys(plugin):
        if domain == names.resource.GROUP or key == names.labels.MANAGED_BY:
            yield f"spec.{path}: the operator sets {show(key)}; remove it"


def _keys(plugin: Plugin) -> Iterator[tuple[str, str, str]]:
    """List all keys that the author chose, with their places and domains."""
    spec, metadata = plugin.spec, plugin.spec.pod_template.get("metadata") or {}
    for path, keys in (
        ("deploymentLabels", spec.deployment_labels),
        ("podLabels", spec.pod_labels),
        ("podAnnotations", spec.pod_annotations),
        ("podTemplate.metadata.labels", metadata.get("labels") or {}),
        ("podTemplate.metadata.annotations", metadata.get("annotations") or {}),
        ("service.labels", spec.service.labels),
        ("service.annotations", spec.service.annotations),
    ):
        for key in keys:
            yield path, key, key.partition("/")[0] if "/" in key else ""


def _is_meant(plugin: Plugin, selector: Mapping[str, str]) -> bool:
    """Whether a Service was made for this plugin or for all plugins, for example for metrics.

    The operator alone sets these labels, whatever the spec contains, so they select nothing else.
    """
    own = child_labels(plugin)
    if selector.get(names.labels.PLUGIN) == plugin.name:
        return True
    return selector.get(names.labels.MANAGED_BY) == names.resource.OPERATOR and matches(
        selector, own
    )


def _describe(plugin: Plugin, service: SelectingService) -> str:
    """Describe the Service, the labels and where the labels come from."""
    own = child_labels(plugin)
    pairs = ", ".join(f"{show(k)}={show(v)}" for k, v in sorted(service.selector.items()))
    action = (
        "choose another metadata.name"
        if matches(service.selector, own)
        else "choose other labels in spec.podLabels or spec.podTemplate"
    )
    return (
        f"Service {show(service.name)} selects pods by {pairs}, which this plugin's pods would "
        f"have: they would receive its traffic; {action}. A Service that is meant for this plugin "
        f"selects by {names.labels.PLUGIN}={plugin.name}"
    )
