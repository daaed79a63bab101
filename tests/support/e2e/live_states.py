"""The states of a plugin on a real API server, with a real generation and real defaults.

No operator may run meanwhile, for it would report what it sees.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from cnpg_plugin_operator import names
from cnpg_plugin_operator.cluster import kinds
from tests.cluster import Cluster
from tests.support.e2e.api import Api, Object
from tests.support.e2e.plugins import collection
from tests.support.e2e.remains import temporary_namespace
from tests.support.resources import Manifest
from tests.support.unit.stage.readings import READINGS, Reading


@contextmanager
def namespace(cluster: Cluster, api: Api, name: str) -> Iterator[None]:
    """A namespace for them; at the end they may be deleted, whatever their state says."""
    with temporary_namespace(cluster, name):
        try:
            yield
        finally:
            for reading in READINGS:
                path = _path(reading, name)
                if api.find(path) is not None:
                    api.patch(path, {"metadata": {"finalizers": None}})
                    api.delete(path)


async def build(reading: Reading) -> Manifest:
    """Let the operator's passes make the state; return the resource with its status."""
    stage = await reading.make()
    body: Manifest = stage.client.the(kinds.PLUGIN, "hello")
    return body


def manifest(reading: Reading, body: Mapping[str, Any], namespace: str) -> Manifest:
    """What a user writes to come to this state."""
    metadata: dict[str, Any] = {"name": reading.name, "namespace": namespace}
    if "deletionTimestamp" in body["metadata"]:
        metadata["finalizers"] = [names.resource.FINALIZER]
    return {**{key: body[key] for key in ("apiVersion", "kind", "spec")}, "metadata": metadata}


def report(api: Api, reading: Reading, body: Mapping[str, Any], namespace: str) -> Object:
    """Bring the created resource into its state; return it as the API server shows it."""
    path = _path(reading, namespace)
    status, generation = body.get("status", {}), api.get(path)["metadata"]["generation"]
    if status.get("observedGeneration") == body["metadata"]["generation"]:
        seen = [{**each, "observedGeneration": generation} for each in status["conditions"]]
        status = {**status, "observedGeneration": generation, "conditions": seen}
        api.patch(f"{path}/status", {"status": status})
    if "deletionTimestamp" in body["metadata"]:
        api.delete(path)
    return api.get(path)


def _path(reading: Reading, namespace: str) -> str:
    return f"{collection('CNPGPlugin', namespace)}/{reading.name}"
