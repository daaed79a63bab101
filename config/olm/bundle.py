"""The bundle for OLM, made from what the chart renders: one source of deployment and rights.

OLM decides the namespace at installation, so every value in which the chart writes it is taken from
the pod; the namespaces of CNPG are those of the OperatorGroup.
"""

import base64
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

Manifest = dict[str, Any]

HERE = Path(__file__).parent
PACKAGE = "cnpg-plugin-operator"
CHANNEL = "beta"
NAMESPACE = "namespace-of-the-operator"
"""What the chart is rendered for; no object of the bundle may contain it."""
VALUES: Mapping[str, Any] = {
    "cnpg": {"olm": True, "namespaces": [NAMESPACE]},
    # OpenShift assigns the user.
    "podSecurityContext": {"runAsUser": None, "runAsGroup": None},
}
_LABELS = {
    "mediatype": "registry+v1",
    "manifests": "manifests/",
    "metadata": "metadata/",
    "package": PACKAGE,
    "channels": CHANNEL,
    "channel.default": CHANNEL,
}
_OF_OLM = frozenset(
    {"ServiceAccount", "Role", "RoleBinding", "ClusterRoleBinding", "Deployment"},
)
"""OLM creates these itself from the ClusterServiceVersion."""


def build_bundle(rendered: str, samples: list[Manifest], version: str) -> dict[str, str]:
    """Build the files of the bundle by their path, from the chart rendered with VALUES."""
    objects = [each for each in yaml.safe_load_all(rendered) if each]
    labels = {
        f"operators.operatorframework.io.bundle.{name}.v1": text for name, text in _LABELS.items()
    }
    files = {
        f"manifests/{PACKAGE}.clusterserviceversion.yaml": _csv(objects, samples, version),
        "metadata/annotations.yaml": {"annotations": labels},
    }
    for each in _further(objects):
        name = each["metadata"]["name"].replace(":", "-")
        files[f"manifests/{name}.{each['kind'].lower()}.yaml"] = each
    written = {path: yaml.safe_dump(content, sort_keys=False) for path, content in files.items()}
    lines = ["FROM scratch", *(f"LABEL {name}={text}" for name, text in labels.items())]
    lines += ["COPY manifests /manifests/", "COPY metadata /metadata/"]
    return {**written, "Dockerfile": "\n".join([*lines, ""])}


def _further(objects: list[Manifest]) -> Iterator[Manifest]:
    """Find what OLM creates as it is written: the resource type, the Service, roles of users."""
    own = {_of_kind(objects, "ClusterRoleBinding")[0]["roleRef"]["name"]}
    for each in objects:
        metadata = each["metadata"]
        if each["kind"] in _OF_OLM or metadata["name"] in own:
            continue
        kept = {key: value for key, value in metadata.items() if key != "namespace"}
        kept["name"] = kept["name"].removeprefix(f"{NAMESPACE}:")
        yield {**each, "metadata": kept}


def _csv(objects: list[Manifest], samples: list[Manifest], version: str) -> Manifest:
    csv: Manifest = yaml.safe_load((HERE / "clusterserviceversion.yaml").read_text())
    [crd] = _of_kind(objects, "CustomResourceDefinition")
    [account] = _of_kind(objects, "ServiceAccount")
    [deployment] = _of_kind(objects, "Deployment")
    who = account["metadata"]["name"]
    [binding] = _of_kind(objects, "ClusterRoleBinding")
    cluster_wide = [
        role
        for role in _of_kind(objects, "ClusterRole")
        if role["metadata"]["name"] == binding["roleRef"]["name"]
    ]
    metadata = {"name": f"{PACKAGE}.v{version}", "namespace": "placeholder"}
    image = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
    annotations = {"alm-examples": json.dumps(samples, indent=2), "containerImage": image}
    csv["metadata"] = {**metadata, "annotations": {**csv["metadata"]["annotations"], **annotations}}
    icon = base64.b64encode((HERE / "icon.svg").read_bytes()).decode()
    csv["spec"] |= {
        "version": version,
        "icon": [{"base64data": icon, "mediatype": "image/svg+xml"}],
        "relatedImages": [{"name": "operator", "image": image}],
        "customresourcedefinitions": {"owned": [_owned(crd)]},
        "install": {
            "strategy": "deployment",
            "spec": {
                "permissions": _permissions(who, _of_kind(objects, "Role")),
                "clusterPermissions": _permissions(who, cluster_wide),
                "deployments": [_deployment(deployment)],
            },
        },
    }
    return csv


def _of_kind(objects: list[Manifest], kind: str) -> list[Manifest]:
    return [each for each in objects if each["kind"] == kind]


def _owned(crd: Manifest) -> Manifest:
    [version] = crd["spec"]["versions"]
    return {
        "name": crd["metadata"]["name"],
        "kind": crd["spec"]["names"]["kind"],
        "version": version["name"],
        "displayName": "CNPG-I plugin",
        "description": "A running, proven and registered plugin of CloudNativePG",
    }


def _permissions(account: str, roles: list[Manifest]) -> list[Manifest]:
    rules = [rule for role in roles for rule in role["rules"]]
    return [{"serviceAccountName": account, "rules": rules}]


def _deployment(deployment: Manifest) -> Manifest:
    spec = deployment["spec"]
    [container] = spec["template"]["spec"]["containers"]
    given = "metadata.annotations['olm.targetNamespaces']"
    environment = [_from_pod("POD_NAMESPACE", "metadata.namespace")]
    for variable in container["env"]:
        if variable["name"] == "CNPGP_NAMESPACES":
            environment.append(_from_pod(variable["name"], given))
        elif "value" in variable:
            value = variable["value"].replace(NAMESPACE, "$(POD_NAMESPACE)")
            environment.append({**variable, "value": value})
        else:
            environment.append(variable)
    container["env"] = environment
    metadata = deployment["metadata"]
    return {"name": metadata["name"], "label": metadata["labels"], "spec": spec}


def _from_pod(name: str, path: str) -> Manifest:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}
