"""What all children share: labels, owner, and the digest that shows a change.

An object is a plain dictionary in the API's own shape and is applied unchanged. Fields that it does
not set belong to other managers.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.plugin import Plugin

Object = dict[str, Any]
"""One Kubernetes object."""


def digest(value: object) -> str:
    """Reduce any JSON value to a digest of 16 hexadecimal digits."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def child_labels(plugin: Plugin) -> dict[str, str]:
    """Return the labels that select the plugin's children."""
    return {
        names.labels.NAME: plugin.name,
        names.labels.MANAGED_BY: names.resource.OPERATOR,
        names.labels.PLUGIN: plugin.name,
    }


def complete_labels(plugin: Plugin, labels: Mapping[str, str]) -> dict[str, str]:
    """Complete a user's labels with the operator's, of which users choose only the name."""
    own = child_labels(plugin)
    return {**plugin.labels, names.labels.NAME: own.pop(names.labels.NAME), **labels, **own}


def build_child(
    plugin: Plugin,
    api_version: str,
    kind: str,
    name: str,
    *,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    stamped: bool = True,
    **fields: object,
) -> Object:
    """Build a namespaced child with its owner, and with a stamp if it is ever compared."""
    child: Object = {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": plugin.namespace,
            "labels": complete_labels(plugin, labels or {}),
            "annotations": dict(annotations or {}),
            "ownerReferences": plugin.owner_references,
        },
        **fields,
    }
    if stamped:
        stamp(child)
    # Not part of the digest, because the owner reference is, and means the same.
    child["metadata"]["annotations"][names.annotations.UID] = plugin.uid
    return child


def stamp(body: Object) -> Object:
    """Record the digest of the desired state on the object.

    A removed field leaves no trace in the desired state; only a digest shows that it was applied
    before.
    """
    body["metadata"]["annotations"][names.annotations.DESIRED] = digest(body)
    return body


def read_stamp(body: Mapping[str, Any]) -> str:
    """Return the digest that `stamp` recorded on an object; empty where there is none."""
    annotations = body["metadata"].get("annotations") or {}
    return str(annotations.get(names.annotations.DESIRED, ""))
