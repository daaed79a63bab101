"""Which process of `pytest -n` runs which module.

Unit tests need a processor; tests with a cluster mostly wait for it. So both run at the same time:
the last process starts no cluster and runs unit tests. The others wait for their clusters: if they
helped meanwhile, the clusters would be up later. With only one or two processes, all run unit tests
until their clusters are up. It must not matter to a module where it runs, or after which one.
"""

from typing import Final

import pytest
from xdist.scheduler.loadscope import LoadScopeScheduling
from xdist.workermanage import WorkerController

from tests.support.e2e import whole_run

UNIT: Final = "tests/unit/"
INTEGRATION: Final = "tests/integration/"

FEWEST: Final = 3
"""With fewer processes than these, each starts a cluster."""


def starts_no_cluster(worker: str, workers: int) -> bool:
    """Whether a process runs unit tests only, where there are any."""
    return workers >= FEWEST and worker == f"gw{workers - 1}"


class Distribution(LoadScopeScheduling):  # type: ignore[misc]
    """Assigns modules in their order, each to a free process.

    Modules that use a bare API server stay together: the last of them starts the operator. The last
    module of all may evaluate the run, so it starts when no other is left.
    """

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.partition("::")[0]
        return INTEGRATION if module.startswith(INTEGRATION) else module

    def _reschedule(self, node: WorkerController) -> None:
        """Give a process its next module once it can only begin its last test: a process begins
        a test when it knows the one after it.
        """
        if node.shutting_down or self._pending_of(self.assigned_work[node]) > 1:
            return
        chosen = self._choose(node.gateway.id)
        if chosen is None:
            node.shutdown()
        else:
            self.workqueue.move_to_end(chosen, last=False)
            self._assign_work_unit(node)

    def _choose(self, worker: str) -> str | None:
        """Choose the next module of a process; none if it has to run no more."""
        queue: list[str] = list(self.workqueue)
        units = [scope for scope in queue if scope.startswith(UNIT)]
        others = [scope for scope in queue if not scope.startswith(UNIT)]
        if starts_no_cluster(worker, self.numnodes) and self._has_units():
            return units[-1] if units else None
        if others and not units:
            return others[0]
        if len(others) > 1 and (self.numnodes >= FEWEST or worker in whole_run.prepared()):
            return others[0]
        return units[0] if units else None

    def _has_units(self) -> bool:
        return any(nodeid.startswith(UNIT) for nodeid in self.collection or ())


def distribute(config: pytest.Config, log: object) -> Distribution:
    """Keep the order of the tests; xdist would begin with the largest modules."""
    config.option.loadscopereorder = False
    return Distribution(config, log)
