"""The API server accepts what the chart renders: a dry run, server-side, with strict fields.

Stronger than a comparison with schemas: defaults, validation and admission are the real ones. Only
the kinds of the Prometheus operator are left out, which the test cluster does not serve.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.cluster import Cluster
from tests.support.chart.rendering import NAMESPACE, Manifest, render
from tests.support.chart.value_sets import MATRIX
from tests.support.e2e.api import CORE, Api

RENDERED = (
    "the defaults",
    "everything switched on",
    "several operators",
    "metrics only for some",
    "no rights beyond single namespaces",
    "plugins, one of them a sidecar",
)
"""The value sets that together render every template, and each branch that adds fields."""
NOT_SERVED = "monitoring.coreos.com"
NAMESPACES = (NAMESPACE, "databases", "grafana", "app", "one", "two")
"""Those of the values, which the cluster lacks."""


@pytest.fixture(scope="module")
def api(cluster: Cluster) -> Iterator[Api]:
    own = Api(cluster)
    with namespaces(own, NAMESPACES):
        yield own
    own.close()


@contextmanager
def namespaces(api: Api, names: Collection[str]) -> Iterator[None]:
    """Create the namespaces of the values, and delete them at the end."""
    for name in names:
        api.apply(f"{CORE}/namespaces/{name}", _namespace(name), "tests", force=True)
    yield
    for name in names:
        api.delete(f"{CORE}/namespaces/{name}")


def _namespace(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def path_of(body: dict[str, Any]) -> str:
    """The URL of an object."""
    version, kind, metadata = body["apiVersion"], body["kind"].lower(), body["metadata"]
    root = "api" if "/" not in version else "apis"
    plural = f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}s"
    cluster_wide = kind.startswith(("clusterrole", "customresource"))
    where = "" if cluster_wide else f"/namespaces/{metadata.get('namespace', NAMESPACE)}"
    return f"/{root}/{version}{where}/{plural}/{metadata['name']}"


@pytest.mark.parametrize("name", RENDERED)
def test_the_api_server_accepts_every_object(api: Api, name: str) -> None:
    try_to_apply(api, render(MATRIX[name]))


def try_to_apply(api: Api, objects: list[Manifest]) -> None:
    """Have the API server judge every object that it serves."""
    for body in objects:
        if not body["apiVersion"].startswith(NOT_SERVED):
            options = {"fieldValidation": "Strict"}
            # Admission looks for the account of a pod.
            options |= {} if body["kind"] == "ServiceAccount" else {"dryRun": "All"}
            accepted = api.apply(path_of(body), body, "tests", force=True, **options)
            assert accepted["metadata"]["name"] == body["metadata"]["name"]
