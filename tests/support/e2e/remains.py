"""Leftovers of a killed run of the tests in their cluster, and their removal.

The cluster outlives a run. Everything that tests apply has a label, so that the next run can
distinguish it from permanent objects. (`tests.support.e2e.cnpg_install` reverts what they change of
CloudNativePG.)
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from tests.cluster import Cluster

MARK: Final = "example.com/made-by"
MAKER: Final = "e2e"

ORPHANED: Final = "--selector=cnpgplugin.dev/orphaned=true"

_LEFT: Final = (
    "services,secrets,serviceaccounts,deployments,certificates,issuers,rolebindings,roles,"
    "resourcequotas"
)
"""The kinds that tests apply, apart from Clusters and plugins, which need no label: all are the
tests'."""

_LEFT_ANYWHERE: Final = (
    "validatingadmissionpolicybindings,validatingadmissionpolicies,namespaces,clusterissuers"
)


def marked(manifest: dict[str, Any]) -> dict[str, Any]:
    """The manifest of an object, with the tests' label."""
    labels = {**(manifest["metadata"].get("labels") or {}), MARK: MAKER}
    return {**manifest, "metadata": {**manifest["metadata"], "labels": labels}}


@contextmanager
def present(cluster: Cluster, *manifests: dict[str, Any]) -> Iterator[None]:
    """Objects that exist until the end, unless the test deletes them."""
    listing = {"apiVersion": "v1", "kind": "List", "items": [marked(each) for each in manifests]}
    body = json.dumps(listing)
    try:
        cluster.kubectl("apply", "-f", "-", input=body)
        yield
    finally:
        cluster.kubectl("delete", "--ignore-not-found", "-f", "-", input=body)


def remove_leftovers(cluster: Cluster) -> None:
    """Delete the leftovers of an earlier run; Clusters before the plugins that they use."""
    ours = f"--selector={MARK}={MAKER}"
    cluster.kubectl("delete", "clusters.postgresql.cnpg.io", "--all", "-A", "--timeout=300s")
    cluster.kubectl("delete", "cnpgplugins", "--all", "-A", "--timeout=300s")
    cluster.kubectl("delete", _LEFT, "-A", ours, "--timeout=300s")
    cluster.kubectl("delete", _LEFT, "-A", ORPHANED, "--timeout=300s")
    cluster.kubectl("delete", _LEFT_ANYWHERE, ours, "--timeout=300s")


@contextmanager
def temporary_namespace(cluster: Cluster, name: str) -> Iterator[None]:
    """A namespace that is deleted at the end with its content, however the test ends."""
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    cluster.kubectl("delete", "namespace", name, "--ignore-not-found", "--timeout=300s")
    cluster.kubectl("create", "-f", "-", input=json.dumps(marked(body)))
    try:
        yield
    finally:
        cluster.kubectl("delete", "namespace", name, "--timeout=300s")
