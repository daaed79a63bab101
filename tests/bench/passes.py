"""What a pass with nothing to do costs."""

from typing import Final

from tests.bench.environment import Bench, pause
from tests.bench.figures import BenchError, Budget, Sheet
from tests.cluster.progress import heartbeat

TABLE: Final = {
    "quiet pass: writes": Budget("", 0),
    "quiet pass: requests": Budget("", 12),
    "quiet pass: CPU": Budget("ms", 15),
    "quiet pass: duration": Budget("ms"),
}
AFTER_TOUCH: Final = 2.0
"""Seconds for the passes of a round, and for each twenty plugins more."""


def measure_passes(bench: Bench, sheet: Sheet, plugins: int, rounds: int) -> None:
    """Annotate every resource in each round, which wakes it but changes no desired state."""
    with heartbeat(f"{rounds} rounds of passes with nothing to do"):
        period = bench.measure()
        for number in range(rounds):
            bench.plugins.touch(number)
            pause(AFTER_TOUCH * (1 + plugins // 20))
        used = period.end()
    if not used.passes:
        raise BenchError("no pass ran after the resources were annotated")
    sheet.put("quiet pass: writes", len(used.writes) / used.passes, f"{used.passes:.0f} passes")
    sheet.put("quiet pass: requests", len(used.requests) / used.passes)
    sheet.put("quiet pass: CPU", used.cpu_seconds / used.passes * 1000)
    sheet.put("quiet pass: duration", used.pass_seconds / used.passes * 1000)
