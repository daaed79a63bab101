"""Who owns an object: this operator never adopts an object that it did not create."""

from collections.abc import Mapping
from typing import Any

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.plugin import Plugin, Resource
from cnpg_plugin_operator.decide.facts.plugin import ForeignObject, SelectingService

Live = Mapping[tuple[str, str], Mapping[str, Any] | None]
"""Live objects by kind and name; None where there is none."""


def find_foreign(
    plugin: Plugin, live: Live, labelled: list[dict[str, Any]]
) -> tuple[ForeignObject, ...]:
    """Find others' objects that this resource needs or that CloudNativePG would confuse with it."""
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
        remnant=is_remnant(plugin, body),
        deleting=bool(metadata.get("deletionTimestamp")),
    )


def find_labelled(plugin: Plugin, services: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the Services by which CloudNativePG would register this plugin."""
    name = plugin.spec.plugin_name
    return [
        body
        for body in services
        if (body["metadata"].get("labels") or {}).get(names.cnpg.PLUGIN_NAME) == name
    ]


def find_selecting(plugin: Plugin, services: list[dict[str, Any]]) -> tuple[SelectingService, ...]:
    """Read the selectors of all Services except this plugin's own."""
    return tuple(
        SelectingService(body["metadata"]["name"], (body.get("spec") or {}).get("selector") or {})
        for body in services
        if not (body["metadata"]["name"] == plugin.service_name and is_own(plugin, body))
        and (body.get("spec") or {}).get("type") != "ExternalName"
    )


def is_own(plugin: Resource, body: Mapping[str, Any]) -> bool:
    """Whether a live object was created for this resource, or was left for it.

    Labels are not enough, because an earlier resource may have had the same name. The uid is, in
    the owner reference or in the annotation; and so is the mark of an orphan.
    """
    if has_uid(plugin, body):
        return True
    metadata = body["metadata"]
    labels = metadata.get("labels") or {}
    if labels.get(names.labels.MANAGED_BY) != names.resource.OPERATOR:
        return False
    left = is_orphaned(body) and metadata.get("namespace") == plugin.namespace
    return labels.get(names.labels.PLUGIN) == plugin.name and (
        left or labels.get(names.labels.NAMESPACE) == plugin.namespace
    )


def is_remnant(plugin: Resource, body: Mapping[str, Any]) -> bool:
    """Whether an earlier resource of the same name owned an object.

    A namespace has one resource of a name, so that owner is gone. Kubernetes deletes what it owned,
    unless the resource came back while the garbage collector's watch was interrupted (seen with
    1.34): it takes the new resource for a change of the old one, and never looks again.
    """
    metadata = body["metadata"]
    references = metadata.get("ownerReferences") or []
    namesakes = any(_is_namesake(plugin, reference) for reference in references)
    here = metadata.get("namespace") == plugin.namespace
    return here and namesakes and not is_owned(plugin, body)


def _is_namesake(plugin: Resource, owner: Mapping[str, Any]) -> bool:
    """Whether an owner is a resource of this name, this one or an earlier one."""
    group, _, _ = str(owner.get("apiVersion")).partition("/")
    wanted = (names.resource.GROUP, names.resource.KIND, plugin.name)
    return (group, owner.get("kind"), owner.get("name")) == wanted


def is_orphaned(body: Mapping[str, Any]) -> bool:
    """Whether a deleted resource left an object running."""
    return (body["metadata"].get("labels") or {}).get(names.labels.ORPHANED) == "true"


def is_owned(plugin: Resource, body: Mapping[str, Any]) -> bool:
    """Whether this resource owns an object, by its owner reference."""
    references = body["metadata"].get("ownerReferences") or []
    return any(reference.get("uid") == plugin.uid for reference in references)


def has_uid(plugin: Resource, body: Mapping[str, Any]) -> bool:
    """Whether an object has the uid of this resource, in an owner reference or the annotation."""
    annotations = body["metadata"].get("annotations") or {}
    return is_owned(plugin, body) or bool(annotations.get(names.annotations.UID) == plugin.uid)


def is_managed(body: Mapping[str, Any]) -> bool:
    """Whether an operator like this one created an object, though a label may be lost since."""
    metadata = body["metadata"]
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    managed = labels.get(names.labels.MANAGED_BY) == names.resource.OPERATOR
    return managed or names.labels.CHAIN in labels or names.annotations.DESIRED in annotations


def owner_of(body: Mapping[str, Any]) -> str:
    """Return the owner of an object, as far as the object tells."""
    metadata = body["metadata"]
    for reference in metadata.get("ownerReferences") or []:
        return f"{reference.get('kind')} {reference.get('name')}"
    labels = metadata.get("labels") or {}
    if labels.get(names.labels.MANAGED_BY) == names.resource.OPERATOR and labels.get(
        names.labels.PLUGIN
    ):
        return f"a previous CNPGPlugin {labels[names.labels.PLUGIN]}"
    return str(labels.get(names.labels.MANAGED_BY) or "another owner")
