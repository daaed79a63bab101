"""Starts the operator again: with other limits, another way to the API server, or as it is."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy

from tests.demo import installing
from tests.support import wait
from tests.support.e2e.api import APPS, CORE, Api, Object

DEPLOYMENT = f"{APPS}/namespaces/{installing.NAMESPACE}/deployments/{installing.RELEASE}"
PODS = f"{CORE}/namespaces/{installing.NAMESPACE}/pods"
SELECTOR = f"app.kubernetes.io/instance={installing.RELEASE}"
RESTARTED = "bench.cnpgplugin.dev/restarted"
PATIENCE = 120.0
ROOM = "1Gi"
"""A limit that no measurement comes near."""


class OperatorPod:
    """The operator's Deployment, which replaces its pod at each change."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._installed: Object = self._containers()[0]

    def restart(
        self,
        *,
        memory: str = "",
        environment: Mapping[str, str] | None = None,
        await_ready: bool = True,
    ) -> None:
        """Replace the pod by one as the chart has it, but for the memory limit and variables."""
        container = deepcopy(self._installed)
        if memory:
            container["resources"]["limits"]["memory"] = memory
        variables = {each["name"]: each for each in container.get("env", [])}
        for name, value in (environment or {}).items():
            variables[name] = {"name": name, "value": value}
        container["env"] = list(variables.values())
        template = {
            "metadata": {"annotations": {RESTARTED: str(time.time_ns())}},
            "spec": {"containers": [container]},
        }
        before = {pod["metadata"]["uid"] for pod in self._pods()}
        self._api.patch(DEPLOYMENT, {"spec": {"template": template}})
        wait.until("the operator's pod is replaced", lambda: self._runs(before), within=PATIENCE)
        if await_ready:
            wait.until("the operator is ready", self.is_ready, within=PATIENCE)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Let no operator run; in the end, wait until it is ready again."""
        self._api.patch(DEPLOYMENT, {"spec": {"replicas": 0}})
        wait.until("the operator is stopped", lambda: not self._pods(), within=PATIENCE)
        try:
            yield
        finally:
            self._api.patch(DEPLOYMENT, {"spec": {"replicas": 1}})
            wait.until("the operator is ready", self.is_ready, within=PATIENCE)

    @property
    def memory_limit(self) -> str:
        """The limit that the chart sets."""
        return str(self._installed["resources"]["limits"]["memory"])

    def is_ready(self) -> bool:
        """Whether the kubelet says that it is ready."""
        return any(self._status(pod).get("ready") for pod in self._pods())

    def kills(self) -> int:
        """How often the present pod's container was started again."""
        return max(
            (int(self._status(pod).get("restartCount", 0)) for pod in self._pods()), default=0
        )

    def _runs(self, before: set[str]) -> bool:
        pods = self._pods()
        fresh = [pod for pod in pods if pod["metadata"]["uid"] not in before]
        return len(pods) == len(fresh) == 1 and "running" in self._status(fresh[0]).get("state", {})

    def _status(self, pod: Object) -> Object:
        found: Sequence[Object] = pod.get("status", {}).get("containerStatuses") or [{}]
        return found[0]

    def _pods(self) -> list[Object]:
        return self._api.list(PODS, labelSelector=SELECTOR)

    def _containers(self) -> list[Object]:
        found: list[Object] = self._api.get(DEPLOYMENT)["spec"]["template"]["spec"]["containers"]
        return found
