"""What all children have in common: labels, owner, and the digest that shows a change.

An object is a plain dictionary in the API's own shape: it is applied as it stands, and fields that
are left out are nobody's business but the other managers'.
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
    """Shorten any JSON value to 16 hexadecimal digits that change whenever it does."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def child_labels(plugin: Plugin) -> dict[str, str]:
    """Labels by which children are found again."""
    return {
        names.labels.NAME: plugin.name,
        names.labels.MANAGED_BY: names.resource.OPERATOR,
        names.labels.PLUGIN: plugin.name,
    }


def build_child(
    plugin: Plugin,
    api_version: str,
    kind: str,
    name: str,
    *,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    **fields: object,
) -> Object:
    """Build a namespaced child with its owner; user's labels never displace the operator's."""
    child = stamp(
        {
            "apiVersion": api_version,
            "kind": kind,
            "metadata": {
                "name": name,
                "namespace": plugin.namespace,
                "labels": {**(labels or {}), **child_labels(plugin)},
                "annotations": dict(annotations or {}),
                "ownerReferences": [dict(plugin.owner_reference)],
            },
            **fields,
        }
    )
    # Not part of the digest: the owner reference is, and says the same.
    child["metadata"]["annotations"][names.annotations.UID] = plugin.uid
    return child


def stamp(body: Object) -> Object:
    """Note the digest of the wanted state on the object.

    A removed field leaves no trace in the wanted state; only a digest shows that it was once
    applied.
    """
    body["metadata"]["annotations"][names.annotations.DESIRED] = digest(body)
    return body
