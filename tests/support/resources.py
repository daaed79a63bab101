"""The objects that tests put into the cluster."""

from collections.abc import Mapping
from typing import Any, Final

Manifest = dict[str, Any]

NAMESPACE: Final = "cnpg-system"
"""The namespace of CloudNativePG, and so of its plugins."""

IMAGE: Final = "localhost/sample-plugin:0.1.0"
IMAGE_VERSION: Final = "0.1.0"
NEWER_IMAGE: Final = "localhost/sample-plugin:0.2.0"
NEWER_IMAGE_VERSION: Final = "0.2.0"
POSTGRES_IMAGE: Final = "localhost/postgresql:17"


def plugin_name(name: str) -> str:
    """The CNPG-I name that the plugin of a resource answers under."""
    return f"{name}.sample.example.com"


def behaviour(name: str, **settings: str) -> list[Manifest]:
    """The sample plugin's environment: its name and its behaviour (tests/plugins/sample)."""
    chosen = {"SAMPLE_NAME": plugin_name(name), **settings}
    return [{"name": key, "value": value} for key, value in chosen.items()]


def plugin(name: str, namespace: str = NAMESPACE, /, **spec: Any) -> Manifest:
    """A `CNPGPlugin` of the sample image: the shortest useful one, with the test's changes.

    A field that is None is omitted.
    """
    fields = {
        "pluginName": plugin_name(name),
        "image": IMAGE,
        "args": ["plugin"],
        "env": behaviour(name),
        **spec,
    }
    return {
        "apiVersion": "cnpgplugin.dev/v1beta1",
        "kind": "CNPGPlugin",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {key: value for key, value in fields.items() if value is not None},
    }


def postgres(name: str, *plugins: str, **spec: object) -> Manifest:
    """A CloudNativePG `Cluster` of one instance that names plugins."""
    return {
        "apiVersion": "postgresql.cnpg.io/v1",
        "kind": "Cluster",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "instances": 1,
            "imageName": POSTGRES_IMAGE,
            "imagePullPolicy": "IfNotPresent",
            "postgresUID": 26,
            "postgresGID": 26,
            "storage": {"storageClass": "node-directory", "size": "1Gi"},
            "plugins": [{"name": each} for each in plugins],
            **spec,
        },
    }


def service(
    name: str, *, labels: Mapping[str, str] | None = None, namespace: str = NAMESPACE
) -> Manifest:
    """A foreign Service."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace, "labels": dict(labels or {})},
        "spec": {"selector": {"app": "nobody"}, "ports": [{"port": 9090}]},
    }
