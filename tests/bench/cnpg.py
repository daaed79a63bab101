"""CloudNativePG beside the bench: it gets room, for its own limits are not what is measured."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tests.cluster.progress import heartbeat
from tests.demo.installing import CNPG_NAMESPACE
from tests.support import wait
from tests.support.e2e.api import APPS, Api, Object

NAME: Final = "cnpg-controller-manager"
DEPLOYMENT: Final = f"{APPS}/namespaces/{CNPG_NAMESPACE}/deployments/{NAME}"
TOUCHED: Final = "bench.cnpgplugin.dev/touched"
PATIENCE: Final = 180.0


@contextmanager
def with_room(api: Api) -> Iterator[None]:
    """Take its limits away: a tenth of a core does not follow thousands of Clusters."""
    container = api.get(DEPLOYMENT)["spec"]["template"]["spec"]["containers"][0]
    with heartbeat("giving CloudNativePG room"):
        _set_container(api, {**container, "resources": {}})
    try:
        yield
    finally:
        _set_container(api, container)


def _set_container(api: Api, container: Object) -> None:
    """Roll it out with this container; what sidecars added is gone by then."""
    api.patch(DEPLOYMENT, {"spec": {"template": {"spec": {"containers": [container]}}}})
    wait.until("CloudNativePG is rolled out", lambda: _is_rolled_out(api), within=PATIENCE)


def _is_rolled_out(api: Api) -> bool:
    body = api.get(DEPLOYMENT)
    status, wanted = body.get("status", {}), body["spec"]["replicas"]
    current = status.get("observedGeneration") == body["metadata"]["generation"]
    numbers = {status.get(key) for key in ("replicas", "updatedReplicas", "availableReplicas")}
    return current and numbers == {wanted}


def count_revisions(api: Api) -> int:
    """How many pod templates it has had."""
    body = api.get(DEPLOYMENT)
    return int(body["metadata"]["annotations"]["deployment.kubernetes.io/revision"])


def touch(api: Api) -> None:
    """Change its Deployment, but not its pods."""
    api.patch(DEPLOYMENT, {"metadata": {"annotations": {TOUCHED: str(time.time_ns())}}})


def roll(api: Api) -> None:
    """Replace its pods."""
    annotations = {TOUCHED: str(time.time_ns())}
    change = {"spec": {"template": {"metadata": {"annotations": annotations}}}}
    api.patch(DEPLOYMENT, change)
    wait.until("CloudNativePG is rolled out", lambda: _is_rolled_out(api), within=PATIENCE)
