"""All scenarios, in the order in which they run: what one leaves, the next one can use."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from tests.bench.environment import Bench
from tests.bench.figures import Budget, Sheet
from tests.bench.scenarios import (
    apply,
    churn,
    fleet,
    fleet_start,
    hundred,
    late,
    memory,
    quiet,
    restart,
    start,
)


@dataclass(frozen=True)
class Scenario:
    """A part of the bench that can run alone. `run` brings about all that it needs."""

    name: str
    about: str
    table: Mapping[str, Budget]
    run: Callable[[Bench, Sheet], None]
    usual: bool = True
    """Whether it runs if none is named."""


SCENARIOS: Final = (
    Scenario("restart", "a plugin that needs a restart of CNPG", restart.TABLE, restart.run),
    Scenario("apply", "apply to Ready, beside static manifests", apply.TABLE, apply.run),
    Scenario("start", "process start to all watches", start.TABLE, start.run),
    Scenario("quiet", "many Ready plugins that do not change", quiet.TABLE, quiet.run),
    Scenario("fleet", "updates of Clusters beside many of them", fleet.TABLE, fleet.run),
    Scenario("fleet-start", "a start beside the fleet", fleet_start.TABLE, fleet_start.run),
    Scenario("churn", "what grows while the fleet changes", churn.TABLE, churn.run),
    Scenario("ten", "a few plugins applied at once", hundred.TABLE, hundred.run_ten),
    Scenario("hundred", "many plugins applied at once", hundred.TABLE, hundred.run_hundred),
    Scenario("late", "an API server that answers 100 ms late", late.TABLE, late.run),
    Scenario("memory", "by Clusters and plugins", memory.TABLE, memory.run, usual=False),
)
