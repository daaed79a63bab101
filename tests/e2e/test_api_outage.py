"""An operator without an API server waits for it: it neither exits nor needs a restart."""

import json
import signal

import pytest

from tests.cluster.cgroups import signal_pod
from tests.support import wait
from tests.support.e2e.api import CORE
from tests.support.e2e.operator import Operator, output_of
from tests.support.e2e.plugins import Plugins
from tests.support.e2e.slow_api import slowed_down
from tests.support.resources import plugin

pytestmark = pytest.mark.cnpg("untouched")

TRIES = 4
"""Attempts to reach the API server that the process survives."""


def test_an_operator_that_starts_without_the_api_server_waits_for_it(
    operator: Operator, plugins: Plugins
) -> None:
    with slowed_down(operator.cluster, 0) as proxy:
        metadata = operator.pod()["metadata"]
        pod = f"{CORE}/namespaces/{operator.namespace}/pods/{metadata['name']}"

        def restarts() -> int:
            (container,) = operator.api.get(pod)["status"]["containerStatuses"]
            return int(container["restartCount"])

        def failed_tries() -> int:
            argv = operator.cluster.kubectl_argv(
                *("logs", metadata["name"], "--namespace", operator.namespace)
            )
            lines = [json.loads(each) for each in output_of(argv).splitlines() if each[:1] == "{"]
            return sum("the Lease cannot be read" in line["msg"] for line in lines)

        before = restarts()
        with proxy.closed():
            signal_pod(operator.cluster.layout, metadata["uid"], signal.SIGKILL)
            wait.until("its container is restarted", lambda: restarts() == before + 1, within=30)
            wait.until(
                f"{TRIES} attempts failed",
                lambda: failed_tries() >= TRIES,
                within=90,
                explain=operator.log_tail,
            )
            assert restarts() == before + 1
            plugins.apply(plugin("patient"))
        plugins.until_ready("patient", within=90)
        assert restarts() == before + 1
        assert operator.pod()["metadata"]["uid"] == metadata["uid"]
