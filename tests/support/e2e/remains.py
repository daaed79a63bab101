"""What a run of the tests that was killed leaves in their cluster, and its removal.

The cluster outlives a run. Whatever tests apply bears a mark, so that the next run can tell it from
what belongs there. (`tests.support.e2e.cnpg_install` reverts what they change of CloudNativePG.)
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from tests.cluster import Cluster

MARK: Final = "example.com/made-by"
MAKER: Final = "e2e"

_LEFT: Final = (
    "services,secrets,serviceaccounts,deployments,certificates,issuers,rolebindings,roles,"
    "resourcequotas"
)
"""What tests apply, apart from Clusters and plugins; those need no mark: all are the tests'."""

_LEFT_ANYWHERE: Final = (
    "validatingadmissionpolicybindings,validatingadmissionpolicies,namespaces,clusterissuers"
)


def marked(manifest: dict[str, Any]) -> dict[str, Any]:
    """The manifest of an object that can be told to be the tests' own."""
    labels = {**(manifest["metadata"].get("labels") or {}), MARK: MAKER}
    return {**manifest, "metadata": {**manifest["metadata"], "labels": labels}}


def take_away_remains(cluster: Cluster) -> None:
    """Leave nothing of an earlier run; users of plugins go before the plugins."""
    ours = f"--selector={MARK}={MAKER}"
    cluster.kubectl("delete", "clusters.postgresql.cnpg.io", "--all", "-A", "--timeout=300s")
    cluster.kubectl("delete", "cnpgplugins", "--all", "-A", "--timeout=300s")
    cluster.kubectl("delete", _LEFT, "-A", ours, "--timeout=300s")
    cluster.kubectl("delete", _LEFT_ANYWHERE, ours, "--timeout=300s")


@contextmanager
def temporary_namespace(cluster: Cluster, name: str) -> Iterator[None]:
    """A namespace that goes in the end, with all that is in it and however that end comes."""
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    cluster.kubectl("delete", "namespace", name, "--ignore-not-found", "--timeout=300s")
    cluster.kubectl("create", "-f", "-", input=json.dumps(marked(body)))
    try:
        yield
    finally:
        cluster.kubectl("delete", "namespace", name, "--timeout=300s")
