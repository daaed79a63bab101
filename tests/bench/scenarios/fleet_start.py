"""A start of the operator beside the fleet: with room, and with the memory that the chart gives.

A plugin is Ready again once the new process has passed over it and says so in its metrics.
"""

import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from tests.bench.audit import AuditLog
from tests.bench.environment import AFTERMATH_SECONDS, SETTLE_SECONDS, Bench, pause
from tests.bench.figures import BenchError, Budget, Sheet
from tests.bench.operator_pod import ROOM
from tests.bench.process import Memory, Process, sum_of
from tests.bench.scenarios import fleet
from tests.bench.scenarios.start import time_watches
from tests.cluster import ClusterError
from tests.cluster.progress import heartbeat
from tests.support import wait

TABLE: Final = {
    "peak RSS": Budget("MB", 150),
    "RSS after it": Budget("MB", 140),
    "start to all watches": Budget("s", 15),
    "start to all plugins Ready again": Budget("s", 15),
    "chart's limit: times killed": Budget("", 0),
    "chart's limit: start to all plugins Ready again": Budget("s", 15),
}
PATIENCE: Final = 120.0
PAUSE: Final = 0.2


@dataclass(frozen=True)
class Start:
    """What was measured of one start."""

    watches: float
    ready: float
    """Seconds until all plugins were Ready again; more than `PATIENCE` if they were not by then."""
    memory: Memory


def run(bench: Bench, sheet: Sheet) -> None:
    """Start the operator with room, then with the chart's limit."""
    fleet.prepare(bench, sheet)
    with heartbeat("starting the operator beside the fleet"):
        found = observe(bench, bench.options.plugins)
    sheet.put("peak RSS", found.memory.peak)
    sheet.put("RSS after it", found.memory.resident, str(found.memory))
    sheet.put("start to all watches", found.watches)
    sheet.put("start to all plugins Ready again", found.ready)
    with heartbeat(f"starting it with {bench.operator.memory_limit}"):
        _try_limit(bench, sheet)
    bench.operator.restart(memory=ROOM)


def observe(bench: Bench, plugins: int) -> Start:
    """Start the operator with room beside so many plugins, and wait until it has settled."""
    audit = AuditLog(bench.cluster.audit_log)
    bench.operator.restart(memory=ROOM, await_ready=False)
    process = Process(bench.cluster)
    started = process.started_at()
    with suppress(wait.TooLateError):
        wait.until("all are Ready", lambda: _all_ready(process, plugins), within=PATIENCE)
    ready = (datetime.now(UTC) - started).total_seconds()
    pause(max(AFTERMATH_SECONDS, SETTLE_SECONDS))
    return Start(time_watches(audit.requests(), started), ready, process.memory())


def _try_limit(bench: Bench, sheet: Sheet) -> None:
    limit = bench.operator.memory_limit
    bench.operator.restart(await_ready=False)
    begun = time.monotonic()
    while time.monotonic() - begun < PATIENCE:
        if _answers_ready(bench):
            taken = time.monotonic() - begun
            sheet.put("chart's limit: start to all plugins Ready again", taken, limit)
            break
        pause(PAUSE)
    pause(SETTLE_SECONDS)
    kills = bench.operator.kills()
    detail = f"{limit}, within {time.monotonic() - begun:.0f} s"
    sheet.put("chart's limit: times killed", kills, detail)


def _answers_ready(bench: Bench) -> bool:
    """Whether all plugins are Ready again; not while the process is being killed or started."""
    try:
        return _all_ready(Process(bench.cluster), bench.options.plugins)
    except (BenchError, ClusterError):
        return False


def _all_ready(process: Process, plugins: int) -> bool:
    try:
        status, text = process.ask("/metrics")
    except OSError:
        return False
    return status == 200 and sum_of(text, "cnpg_plugin_ready{") >= plugins
