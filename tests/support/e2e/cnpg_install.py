"""CloudNativePG in the tests' cluster: as its manifest installs it, or as Helm does.

The chart wraps CloudNativePG's own manifest, because no registry of charts is reachable; names and
labels are those of the official chart (charts/cloudnative-pg/templates), which are all that matters
here. CRDs and the namespace belong to the cluster and stay unchanged.
"""

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import yaml

from tests.cluster import Cluster
from tests.cluster.addons import cnpg_manifest
from tests.cluster.cluster import DEFAULT_CNPG
from tests.cluster.errors import fails
from tests.support import wait
from tests.support.resources import NAMESPACE

_CHART: Final = Path(__file__).parent / "charts" / "cloudnative-pg"
_WHERE: Final = ("--namespace", NAMESPACE)
_SECRETS: Final = ("cnpg-ca-secret", "cnpg-webhook-cert")
"""CloudNativePG's own certificates. It creates them only beside a Deployment with the label
`app.kubernetes.io/name=cloudnative-pg` (1.30.0, pkg/certs/operator_deployment.go): under a
`nameOverride` it uses existing ones, and does not run without them."""

_ROLLOUT: Final = "deployment.kubernetes.io/revision"
"""Kubernetes' own number of the rollout; without it the Deployment would differ."""


def manifest_objects() -> list[dict[str, Any]]:
    """What the manifest installs, apart from the CRDs and the namespace."""
    documents = yaml.safe_load_all(cnpg_manifest(DEFAULT_CNPG))
    kept = ("Namespace", "CustomResourceDefinition")
    return [each for each in documents if each and each["kind"] not in kept]


def restore_cnpg(cluster: Cluster) -> None:
    """Restore CloudNativePG from its manifest, whatever was changed, and wait for it.

    Its Deployment is replaced, not applied, so additions by others are removed, too. Nothing
    happens if nothing differs.
    """
    for release in cluster.helm("list", *_WHERE, "--all", "--short").split():
        cluster.helm("uninstall", release, *_WHERE, "--timeout", "300s")
        cluster.kubectl("delete", "secrets", *_SECRETS, *_WHERE, "--ignore-not-found")
    objects = manifest_objects()
    (deployment,) = (each for each in objects if each["kind"] == "Deployment")
    # Right after its start, a busy API server takes half a minute to serve what validation needs.
    flags = ("--server-side", "--force-conflicts", "--validate=false", "-f", "-")
    cluster.kubectl("apply", *flags, input=_listing(objects))
    name = f"deployment/{deployment['metadata']['name']}"
    live = json.loads(cluster.kubectl("get", name, *_WHERE, "--output=json"))
    number = (live["metadata"].get("annotations") or {}).get(_ROLLOUT)
    deployment["metadata"]["annotations"] = {_ROLLOUT: number} if number else {}
    wait.until("the Deployment is replaced", lambda: _replace(cluster, deployment), within=30)
    cluster.kubectl("rollout", "status", name, *_WHERE, "--timeout=300s")


def _replace(cluster: Cluster, deployment: Mapping[str, Any]) -> bool:
    """Replace it; False where a controller wrote its status at the same moment."""
    replacing = ("replace", "--validate=false", "-f", "-")
    body = json.dumps(deployment)
    return not fails("(Conflict)", lambda: cluster.kubectl(*replacing, input=body))


@contextmanager
def installed_by_helm(cluster: Cluster, release: str, values: Mapping[str, str]) -> Iterator[Path]:
    """CloudNativePG from a Helm release instead of the manifest; restored at the end.

    Yields the chart, for upgrades.
    """
    objects = manifest_objects()
    # Only the manifest contains the roles for users.
    objects = [
        each
        for each in objects
        if each["kind"] != "ClusterRole" or each["metadata"]["name"] == "cnpg-manager"
    ]
    try:
        ownerless = json.dumps({"metadata": {"ownerReferences": None}})
        patch = ("--type=merge", "--patch", ownerless)
        cluster.kubectl("patch", "secrets", *_SECRETS, *_WHERE, *patch)
        cluster.kubectl("delete", "--timeout=300s", "-f", "-", input=_listing(objects))
        chosen = [f"--set={key}={value}" for key, value in values.items()]
        with tempfile.TemporaryDirectory() as directory:
            chart = shutil.copytree(_CHART, Path(directory) / _CHART.name)
            (chart / "manifest.json").write_text(json.dumps(objects))
            flags = (*_WHERE, *chosen, "--wait", "--timeout", "300s")
            cluster.helm("install", release, str(chart), *flags)
            yield chart
    finally:
        restore_cnpg(cluster)


def _listing(objects: list[dict[str, Any]]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
