"""What grows while the fleet changes: updates of all kinds, and Clusters that come and go."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from tests.bench import cluster_bodies as bodies
from tests.bench.environment import Bench, pause
from tests.bench.figures import Budget, Series, Sheet
from tests.bench.process import Process
from tests.bench.scenarios import fleet
from tests.cluster.progress import heartbeat
from tests.support.e2e.api import Api
from tests.support.e2e.meanwhile import meanwhile

TABLE: Final = {
    "growth of RSS": Budget("MB", 2),
    "growth of anonymous memory": Budget("MB"),
    "RSS": Budget("MB", 140),
    "CPU": Budget("%"),
}
RATE: Final = 10
"""Updates a second that matter to no plugin."""
REPLACED_EVERY: Final = 2.0
"""Seconds until another Cluster is deleted and created again, and one more changes its phase."""
WARM_UP_SECONDS: Final = 30.0
SAMPLE_SECONDS: Final = 5.0


def run(bench: Bench, sheet: Sheet) -> None:
    """Change the fleet for minutes, and compare the memory of the last fifth with the first."""
    fleet.prepare(bench, sheet)
    minutes = bench.options.churn_minutes
    sheet.size += f", {minutes:g} minutes"
    stop, changes = threading.Event(), _Changes(bench)
    seconds = WARM_UP_SECONDS + minutes * 60
    with (
        heartbeat(f"{minutes:g} minutes of churn"),
        ThreadPoolExecutor(1) as pool,
        meanwhile(changes.make, REPLACED_EVERY),
    ):
        streaming = pool.submit(bench.fleet.stream, RATE, seconds, stop=stop)
        try:
            _sample(bench, sheet, minutes)
        finally:
            stop.set()
    sheet.lines.append(f"{streaming.result()} updates, {changes.made} Clusters replaced")
    changes.api.close()


def _sample(bench: Bench, sheet: Sheet, minutes: float) -> None:
    pause(WARM_UP_SECONDS)
    process, begun = Process(bench.cluster), time.monotonic()
    cpu, memories = process.cpu_seconds(), [process.memory()]
    while time.monotonic() - begun < minutes * 60:
        pause(SAMPLE_SECONDS)
        memories.append(process.memory())
    percent = (process.cpu_seconds() - cpu) / (time.monotonic() - begun) * 100
    resident = Series.of(memory.resident for memory in memories)
    anonymous = Series.of(memory.anonymous for memory in memories)
    detail = f"{resident.values[0]:.1f} first, {resident.values[-1]:.1f} last"
    sheet.put("growth of RSS", max(resident.growth, 0.0), detail)
    sheet.put("growth of anonymous memory", max(anonymous.growth, 0.0))
    sheet.put("RSS", resident.most, str(memories[-1]))
    sheet.put("CPU", percent)


class _Changes:
    """One Cluster after the other is replaced, and another one changes its phase."""

    def __init__(self, bench: Bench) -> None:
        self.api, self.made = Api(bench.cluster), 0
        self._bench = bench
        self._reported = bench.plugins.reported(bench.options.plugins)

    def make(self) -> None:
        """Make the next change."""
        fleet, number = self._bench.fleet, self.made
        # The upper half of the fleet comes and goes, the lower half changes.
        half = fleet.size // 2
        fleet.replace(self.api, half + number % (fleet.size - half), self._reported)
        healthy = number // max(half, 1) % 2 == 1
        fleet.change(self.api, number % max(half, 1), bodies.build_relevant(healthy=healthy))
        self.made += 1
