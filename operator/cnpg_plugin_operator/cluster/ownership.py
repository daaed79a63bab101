"""Whose an object is: this operator adopts nothing that it did not make."""

from collections.abc import Mapping
from typing import Any

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.plugin import Plugin, Resource
from cnpg_plugin_operator.decide.facts.plugin import ForeignObject, SelectingService

Live = Mapping[tuple[str, str], Mapping[str, Any] | None]
"""Objects as they are, by kind and name; None where there is none."""


def find_foreign(
    plugin: Plugin, live: Live, labelled: list[dict[str, Any]]
) -> tuple[ForeignObject, ...]:
    """Find objects that this resource needs, or that CloudNativePG would confuse with its own."""
    named = [
        (kind, body)
        for (kind, _), body in live.items()
        if body is not None and not is_own(plugin, body)
    ]
    mine = ((live.get(("Service", plugin.service_name)) or {}).get("metadata") or {}).get("uid")
    registered = [
        ("Service", body)
        for body in labelled
        if body["metadata"]["uid"] != mine and not is_own(plugin, body)
    ]
    return tuple(_describe(plugin, kind, body) for kind, body in (*named, *registered))


def _describe(plugin: Plugin, kind: str, body: Mapping[str, Any]) -> ForeignObject:
    metadata = body["metadata"]
    label = (metadata.get("labels") or {}).get(names.cnpg.PLUGIN_NAME)
    return ForeignObject(
        kind=kind,
        name=metadata["name"],
        owner=owner_of(body),
        uid=str(metadata.get("uid", "")),
        published=kind == "Service" and label == plugin.spec.plugin_name,
        cnpg_finalizer=names.cnpg.SERVICE_FINALIZER in (metadata.get("finalizers") or []),
    )


def find_labelled(plugin: Plugin, services: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Pick the Services that CloudNativePG would register this plugin by."""
    name = plugin.spec.plugin_name
    return [
        body
        for body in services
        if (body["metadata"].get("labels") or {}).get(names.cnpg.PLUGIN_NAME) == name
    ]


def find_selecting(plugin: Plugin, services: list[dict[str, Any]]) -> tuple[SelectingService, ...]:
    """Read whom the Services other than this plugin's own send to."""
    return tuple(
        SelectingService(body["metadata"]["name"], (body.get("spec") or {}).get("selector") or {})
        for body in services
        if not (body["metadata"]["name"] == plugin.service_name and is_own(plugin, body))
        and (body.get("spec") or {}).get("type") != "ExternalName"
    )


def is_own(plugin: Resource, body: Mapping[str, Any]) -> bool:
    """Whether a live object was made for this resource, or is the namespace's shared chain.

    Labels alone do not say so: a resource of the same name may have been there before. The uid
    does, in the owner reference or beside it.
    """
    if is_owned(plugin, body) or has_uid(plugin, body):
        return True
    metadata = body["metadata"]
    labels = metadata.get("labels") or {}
    if labels.get(names.labels.MANAGED_BY) != names.resource.OPERATOR:
        return False
    if names.labels.CHAIN in labels:
        return True
    return (
        labels.get(names.labels.PLUGIN) == plugin.name
        and labels.get(names.labels.NAMESPACE) == plugin.namespace
    )


def is_owned(plugin: Resource, body: Mapping[str, Any]) -> bool:
    """Whether an object goes with this resource by its owner reference."""
    references = body["metadata"].get("ownerReferences") or []
    return any(reference.get("uid") == plugin.uid for reference in references)


def has_uid(plugin: Resource, body: Mapping[str, Any]) -> bool:
    """Whether an object carries the uid of this resource."""
    annotations = body["metadata"].get("annotations") or {}
    return bool(annotations.get(names.annotations.UID) == plugin.uid)


def owner_of(body: Mapping[str, Any]) -> str:
    """Say who made an object, as far as it tells."""
    metadata = body["metadata"]
    for reference in metadata.get("ownerReferences") or []:
        return f"{reference.get('kind')} {reference.get('name')}"
    labels = metadata.get("labels") or {}
    if labels.get(names.labels.MANAGED_BY) == names.resource.OPERATOR and labels.get(
        names.labels.PLUGIN
    ):
        return f"a former CNPGPlugin {labels[names.labels.PLUGIN]}"
    return str(labels.get(names.labels.MANAGED_BY) or "somebody else")
