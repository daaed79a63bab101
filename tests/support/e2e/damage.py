"""What others do to a plugin: Services of its name, quotas, webhooks without a server."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from tests.support.e2e.meanwhile import meanwhile
from tests.support.e2e.plugins import LABEL, Plugins, collection
from tests.support.e2e.remains import present
from tests.support.resources import NAMESPACE, Manifest, plugin_name, service

LAMP: Final = "example.com/lamp"
"""A resource of which a quota allows none."""

LAMPS: Final = {"requests": {LAMP: "1"}, "limits": {LAMP: "1"}}
"""Resources of a container that such a quota refuses."""


def second_service(plugins: Plugins, name: str, other: str, *, working: bool = False) -> Manifest:
    """A Service like that of another manifest of the same plugin; a working one has pods."""
    own = plugins.get("Service", name)
    manifest = service(other, labels={LABEL: plugin_name(name)})
    reported = own["metadata"]["annotations"].items()
    annotations = {key: value for key, value in reported if key.startswith("cnpg.io/")}
    manifest["metadata"]["annotations"] = {**annotations, "cnpg.io/pluginServerName": name}
    if working:
        manifest["spec"]["selector"] = own["spec"]["selector"]
    return manifest


@contextmanager
def refusing_lamps(plugins: Plugins, name: str) -> Iterator[None]:
    """A ResourceQuota that lets no pod with a lamp in, unless the test deletes it."""
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": f"e2e-{name}", "namespace": NAMESPACE},
        "spec": {"hard": {f"requests.{LAMP}": "0"}},
    }
    with present(plugins.operator.cluster, quota):
        yield


@contextmanager
def rival(plugins: Plugins, name: str) -> Iterator[None]:
    """A writer that adds its key to a Service's selector again whenever it is removed."""
    path = f"{collection('Service')}/{name}"

    def write() -> None:
        if "app" not in plugins.api.get(path)["spec"]["selector"]:
            plugins.api.patch(path, {"spec": {"selector": {"app": "rival"}}})

    with meanwhile(write, every=0.2):
        yield


def absent_webhook(name: str, *plugins: str) -> dict[str, Any]:
    """A webhook without a server, for the Deployments of some plugins."""
    rule = {
        "apiGroups": ["apps"],
        "apiVersions": ["v1"],
        "operations": ["CREATE", "UPDATE"],
        "resources": ["deployments"],
    }
    names = {"key": "cnpgplugin.dev/name", "operator": "In", "values": list(plugins)}
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": [
            {
                "name": "absent.example.com",
                "rules": [rule],
                "objectSelector": {"matchExpressions": [names]},
                "clientConfig": {"service": {"namespace": "default", "name": "absent"}},
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "timeoutSeconds": 2,
            }
        ],
    }
