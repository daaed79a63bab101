"""Many Ready plugins that do not change: what the operator costs while nothing happens."""

from typing import Final

from tests.bench.audit import counted
from tests.bench.environment import SETTLE_SECONDS, Bench, pause
from tests.bench.figures import Budget, Sheet
from tests.bench.passes import TABLE as PASSES
from tests.bench.passes import measure_passes
from tests.cluster.progress import heartbeat

TABLE: Final = {
    "all applied at once, until Ready": Budget("s"),
    "writes": Budget("", 0),
    "passes": Budget(""),
    "CPU": Budget("%", 0.2),
    "RSS": Budget("MB", 100),
    **PASSES,
}
ROUNDS: Final = 10


def run(bench: Bench, sheet: Sheet) -> None:
    """Apply plugins, let time pass, then wake them a few times for nothing."""
    number, minutes = bench.options.plugins, bench.options.quiet_minutes
    sheet.size = f"{number} plugins, {minutes:g} minutes"
    bench.clear()
    bench.operator.restart()
    with heartbeat(f"applying {number} plugins at once"):
        bench.plugins.apply_many(number)
        sheet.put("all applied at once, until Ready", bench.plugins.await_ready(number))
    with heartbeat(f"waiting {SETTLE_SECONDS:.0f} s, then measuring {minutes:g} quiet minutes"):
        pause(SETTLE_SECONDS)
        period = bench.measure()
        pause(minutes * 60)
        used = period.end()
    memory = period.process.memory()
    sheet.put("writes", len(used.writes), counted(used.writes))
    sheet.put("passes", used.passes)
    sheet.put("CPU", used.cpu_percent)
    sheet.put("RSS", memory.resident, str(memory))
    measure_passes(bench, sheet, number, ROUNDS)
