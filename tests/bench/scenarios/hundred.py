"""Many plugins in one namespace, applied at once under `restartPolicy: Always`.

The chart gives a restart a minute to settle, then five to cool down. A small machine needs longer
to start a hundred pods: here settling takes as long as it has to, so that what is counted is
whether all plugins share one restart.
"""

from collections.abc import Callable
from typing import Final

from tests.bench import cnpg
from tests.bench.audit import counted
from tests.bench.environment import AFTERMATH_SECONDS, SETTLE_SECONDS, Bench, Used, pause
from tests.bench.figures import Budget, Sheet, find_caused
from tests.bench.operator_pod import ROOM
from tests.bench.passes import TABLE as PASSES
from tests.bench.passes import measure_passes
from tests.cluster.progress import heartbeat
from tests.support.e2e.api import Api

TABLE: Final = {
    "until all are Ready": Budget("s"),
    "requests per plugin": Budget("", 50),
    "CPU per plugin": Budget("ms", 200),
    "writes per plugin": Budget("", 14),
    "rolls of CNPG": Budget("", 1),
    "RSS": Budget("MB"),
    **PASSES,
    "CNPG's Deployment changes: requests caused": Budget("", 300),
    "CNPG's Deployment changes: passes caused": Budget(""),
    "CNPG is rolled: requests caused": Budget(""),
}
PATIENT: Final = {"CNPGP_RESTART_SETTLE_MAX": "20m", "CNPGP_RESTART_COOLDOWN": "1s"}
ROUNDS: Final = 3
WATCH_SECONDS: Final = 20.0
"""How long the consequences of a change are counted."""


def run_ten(bench: Bench, sheet: Sheet) -> None:
    """Measure a few plugins: what a single one costs must not depend on their number."""
    _run(bench, sheet, bench.options.ten)


def run_hundred(bench: Bench, sheet: Sheet) -> None:
    """Measure many plugins."""
    _run(bench, sheet, bench.options.hundred)


def _run(bench: Bench, sheet: Sheet, number: int) -> None:
    sheet.size = f"{number} plugins"
    bench.clear()
    bench.operator.restart(memory=ROOM, environment=PATIENT)
    pause(AFTERMATH_SECONDS)
    _apply(bench, sheet, number)
    measure_passes(bench, sheet, number, ROUNDS)
    _change_cnpg(bench, sheet, number)
    bench.plugins.remove_all()
    bench.operator.restart()


def _apply(bench: Bench, sheet: Sheet, number: int) -> None:
    revisions, period = cnpg.count_revisions(bench.api), bench.measure()
    with heartbeat(f"applying {number} plugins at once"):
        bench.plugins.apply_many(number, cnpg={"restartPolicy": "Always"})
        sheet.put("until all are Ready", bench.plugins.await_ready(number))
    pause(AFTERMATH_SECONDS)
    used, memory = period.end(), period.process.memory()
    sheet.put("requests per plugin", len(used.requests) / number, counted(used.requests))
    sheet.put("CPU per plugin", used.cpu_seconds / number * 1000, f"{used.passes:.0f} passes")
    sheet.put("writes per plugin", len(used.writes) / number)
    sheet.put("rolls of CNPG", cnpg.count_revisions(bench.api) - revisions)
    sheet.put("RSS", memory.resident, str(memory))


def _change_cnpg(bench: Bench, sheet: Sheet, number: int) -> None:
    """Change CNPG's Deployment, then roll it; a quiet period of the same length is taken off."""
    with heartbeat("a quiet period, a change of CNPG's Deployment, and a roll"):
        pause(SETTLE_SECONDS)
        quiet = _watch(bench, lambda _: None)
        changed = _watch(bench, cnpg.touch)
        rolled = _watch(bench, cnpg.roll)
    scale = rolled.seconds / quiet.seconds
    requests, before = len(changed.requests), len(quiet.requests)
    detail = f"{requests} in all, {before} in the quiet {WATCH_SECONDS:.0f} s"
    name = "CNPG's Deployment changes"
    sheet.put(f"{name}: requests caused", find_caused(requests, before, 0), detail)
    sheet.put(f"{name}: passes caused", find_caused(changed.passes, quiet.passes, 0))
    caused = find_caused(len(rolled.requests), before * scale, 0)
    sheet.put("CNPG is rolled: requests caused", caused, f"within {rolled.seconds:.0f} s")
    bench.plugins.await_ready(number)


def _watch(bench: Bench, change: Callable[[Api], object]) -> Used:
    period = bench.measure()
    change(bench.api)
    pause(WATCH_SECONDS)
    return period.end()
