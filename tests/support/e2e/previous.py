"""An installation of a plugin as users have it: its manifest, with names of its own."""

import json
from copy import deepcopy
from typing import Any, Final

import yaml

from tests.cluster.builds import BARMAN_CLOUD
from tests.cluster.images import BARMAN_CLOUD as BARMAN_CLOUD_IMAGE
from tests.cluster.images import BARMAN_CLOUD_SIDECAR
from tests.support.e2e.installation import ROOT
from tests.support.resources import NAMESPACE, Manifest, plugin_name

RBAC_GROUP: Final = "rbac.authorization.k8s.io"

STATIC: Final = ROOT / "tests" / "plugins" / "static" / "hello.yaml"
"""The manifest."""


def installation(service: str, plugin: str, **environment: str) -> list[Manifest]:
    """Build the manifests of a plugin, named after its Service."""
    manifests = [
        _renamed(manifest, service, plugin) for manifest in yaml.safe_load_all(STATIC.read_text())
    ]
    deployment = next(m for m in manifests if m["kind"] == "Deployment")
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    container["env"] += [{"name": key, "value": value} for key, value in environment.items()]
    return manifests


def _renamed(value: Any, service: str, plugin: str) -> Any:
    """Replace the manifest's names, which all begin with `hello`."""
    if isinstance(value, dict):
        return {key: _renamed(each, service, plugin) for key, each in value.items()}
    if isinstance(value, list):
        return [_renamed(each, service, plugin) for each in value]
    if value == "hello.cnpgplugin.dev":
        return plugin_name(plugin)
    if isinstance(value, str) and (value == "hello" or value.startswith("hello-")):
        return service + value.removeprefix("hello")
    return deepcopy(value)


def remaining(service: str, *, other: bool) -> set[tuple[str, str, str]]:
    """What a take-over leaves: kind, namespace and name; `other` says to another Service."""
    names = {
        "Certificate": (f"{service}-server", f"{service}-client"),
        "Deployment": (service,),
        "Issuer": (f"{service}-selfsigned",),
        "Secret": (f"{service}-server-tls", f"{service}-client-tls"),
        **({"Service": (service,)} if other else {}),
    }
    return {(kind, NAMESPACE, name) for kind, each in names.items() for name in each}


def leader(service: str, plugin: str, lease: str) -> list[Manifest]:
    """Build the manifests of a plugin that listens only on the pod that holds a Lease."""
    manifests = installation(service, plugin, SAMPLE_LEASE=lease)
    deployment = next(m for m in manifests if m["kind"] == "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    pod |= {"automountServiceAccountToken": True, "serviceAccountName": service}
    metadata = {"name": service, "namespace": NAMESPACE}
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}
    binding = {
        "apiVersion": f"{RBAC_GROUP}/v1",
        "kind": "RoleBinding",
        "metadata": metadata,
        "roleRef": {"apiGroup": RBAC_GROUP, "kind": "Role", "name": service},
        "subjects": [{"kind": "ServiceAccount", **metadata}],
    }
    return [account, lease_role(service), binding, *manifests]


def lease_role(name: str) -> Manifest:
    """Build the Role of a plugin that elects a leader."""
    rule = {
        "apiGroups": ["coordination.k8s.io"],
        "resources": ["leases"],
        "verbs": ["get", "create", "update"],
    }
    metadata = {"name": name, "namespace": NAMESPACE}
    return {
        "apiVersion": f"{RBAC_GROUP}/v1",
        "kind": "Role",
        "metadata": metadata,
        "rules": [rule],
    }


PUBLISHED_IMAGE: Final = "ghcr.io/cloudnative-pg/plugin-barman-cloud-testing:main"
CHART_RELEASE: Final = "backups"
CHART_NAME: Final = f"{CHART_RELEASE}-plugin-barman-cloud"
"""The name of the Deployment, and the beginning of other names."""


def barman_cloud() -> list[Manifest]:
    """Build plugin-barman-cloud's own manifest, with the images that were built here."""
    text = BARMAN_CLOUD.asset("manifest.yaml").read_text()
    manifests = list(yaml.safe_load_all(text.replace(PUBLISHED_IMAGE, BARMAN_CLOUD_IMAGE.tag)))
    secret = next(m for m in manifests if m["kind"] == "Secret")
    secret["data"] = {}
    secret["stringData"] = {"SIDECAR_IMAGE": BARMAN_CLOUD_SIDECAR.tag}
    return manifests


def barman_cloud_of_its_chart() -> list[Manifest]:
    """Build the same as the plugin's chart does: names and labels depend on the release."""
    text = json.dumps(barman_cloud())
    for old, new in (
        ('"app": "barman-cloud"', f'"app.kubernetes.io/instance": "{CHART_RELEASE}"'),
        ('"selfsigned-issuer"', f'"{CHART_NAME}-selfsigned-issuer"'),
        ('"barman-plugin-leader', f'"{CHART_NAME}-leader'),
    ):
        text = text.replace(old, new)
    manifests: list[Manifest] = json.loads(text)
    for manifest in manifests:
        metadata = manifest["metadata"]
        metadata.setdefault("labels", {})["app.kubernetes.io/managed-by"] = "Helm"
        metadata.setdefault("annotations", {})["meta.helm.sh/release-name"] = CHART_RELEASE
        if manifest["kind"] == "Deployment":
            metadata["name"] = CHART_NAME
    return manifests
