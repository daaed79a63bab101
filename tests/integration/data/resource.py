"""CNPGPlugins for the tests of the CRD, and the CRD itself in a cluster."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.cluster.errors import ClusterError
from tests.support.crds import Kubectl, until_established

ROOT = Path(__file__).resolve().parents[3]
CRD = ROOT / "crds" / "cnpgplugin.dev_cnpgplugins.yaml"
CRD_NAME = "cnpgplugins.cnpgplugin.dev"
SAMPLES = sorted((ROOT / "config").glob("samples/*.yaml"))
PUBLISHED = sorted((ROOT / "config").glob("plugins/*/plugin.yaml"))
"""The resources of published plugins."""
MANAGER = "crd-tests"
GROUP_PATH = "/openapi/v3/apis/cnpgplugin.dev/v1beta1"
"""Where the API server describes the kind."""

Manifest = dict[str, Any]


def manifest(case: Mapping[str, Any]) -> Manifest:
    """A resource that differs from the shortest one only in the fields of the case."""
    spec = {"pluginName": "hello.example.com", "image": "example.com/hello:1"}
    spec |= case.get("spec", {})
    for name in case.get("without", []):
        del spec[name]
    return {
        "apiVersion": "cnpgplugin.dev/v1beta1",
        "kind": "CNPGPlugin",
        "metadata": {"name": case.get("name", "hello"), "namespace": "default"},
        "spec": spec,
    }


def to_text(case: Mapping[str, Any]) -> str:
    """The case's resource as kubectl reads it."""
    return json.dumps(manifest(case))


def _exists(cluster: Kubectl) -> bool:
    return bool(cluster.kubectl("get", "crd", CRD_NAME, "--ignore-not-found", "-o", "name"))


def is_published(cluster: Kubectl) -> bool:
    """Whether the API server lists the kind among those it describes."""
    try:
        return "CNPGPlugin" in cluster.kubectl(
            "get", "--raw", "/openapi/v3/apis/cnpgplugin.dev/v1beta1"
        )
    except ClusterError:
        return False


@contextmanager
def installed(cluster: Kubectl) -> Iterator[Kubectl]:
    """Install this repository's CRD; remove it afterwards if it was not installed before."""
    was_there = _exists(cluster)
    flags = ("--server-side", "--force-conflicts", f"--field-manager={MANAGER}")
    cluster.kubectl("apply", *flags, "-f", str(CRD))
    until_established(cluster, f"crd/{CRD_NAME}")
    attempts = iter(range(100))
    while not is_published(cluster):
        assert next(attempts, None) is not None, "the API server does not describe CNPGPlugin"
    try:
        yield cluster
    finally:
        if not was_there:
            cluster.kubectl("delete", "crd", CRD_NAME, "--timeout=300s")
