"""Whether a plugin's pod has a token of its account."""

import json

from tests.support.e2e.api import Object
from tests.support.e2e.plugins import Plugins, collection


def the_pod(plugins: Plugins, name: str) -> Object:
    [pod] = plugins.api.list(collection("Pod"), labelSelector=f"cnpgplugin.dev/name={name}")
    return pod


def holds_token(pod: Object) -> bool:
    mounts = [m["mountPath"] for c in pod["spec"]["containers"] for m in c["volumeMounts"]]
    return "serviceAccountToken" in json.dumps(pod["spec"]["volumes"]) or any(
        "kubernetes.io/serviceaccount" in path for path in mounts
    )
