"""Secrets with a key that the operator generated, in the format of cert-manager's."""

import base64
from collections.abc import Mapping
from typing import Final

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.desired.objects import Object, build_child

TYPE: Final = "kubernetes.io/tls"
"""Type of a Secret with `tls.crt` and `tls.key`."""


def build_pair(plugin: Plugin, name: str, data: Mapping[str, bytes]) -> Object:
    """Build a Secret that belongs to the plugin and is deleted with it.

    It has no stamp: a pair is judged by its certificate, and a digest of the key has no use.
    """
    issuer = {names.annotations.CERT_MANAGER_ISSUER: names.resource.OPERATOR}
    return build_child(
        plugin,
        "v1",
        "Secret",
        name,
        annotations=issuer,
        stamped=False,
        type=TYPE,
        data=encode(data),
    )


def build_shared_authority(namespace: str, name: str, data: Mapping[str, bytes]) -> Object:
    """Build the Secret of an authority that all plugins of a namespace share.

    It has no owner: it outlives any single plugin and is removed with the last one.
    """
    labels = {names.labels.MANAGED_BY: names.resource.OPERATOR, names.labels.CHAIN: name}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "type": TYPE,
        "data": encode(data),
    }


def encode(data: Mapping[str, bytes]) -> dict[str, str]:
    """Write the data of a Secret as the API does, in Base64."""
    return {key: base64.b64encode(value).decode() for key, value in data.items()}
