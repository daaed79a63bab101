"""The operator's memory by Clusters and plugins, each measured after a start of its own.

Not part of a usual run: it takes as long as all others together.
"""

from collections.abc import Iterable
from typing import Final

from tests.bench.environment import Bench
from tests.bench.figures import Budget, Sheet
from tests.bench.operator_pod import ROOM
from tests.bench.scenarios.fleet import grow
from tests.bench.scenarios.fleet_start import observe
from tests.cluster.progress import heartbeat, say

TABLE: Final = {
    "most: peak RSS": Budget("MB"),
    "each Cluster: RSS": Budget("KB"),
}
CLUSTERS: Final = (0, 500, 2000, 5000)
PLUGINS: Final = (1, 20, 100)
HEADER: Final = "plugins  Clusters  RSS MB  anonymous MB  peak RSS MB  Ready again after s"


def run(bench: Bench, sheet: Sheet) -> None:
    """Start the operator beside fleets that grow, for each number of plugins."""
    sizes = _until(bench.options.clusters, CLUSTERS)
    sheet.lines.append(HEADER)
    peak, resident = 0.0, {}
    for plugins in _until(bench.options.plugins, PLUGINS):
        bench.fleet.remove()
        bench.operator.restart(memory=ROOM)
        bench.plugins.ensure(plugins)
        reported = bench.plugins.reported(plugins)
        for clusters in sizes:
            with heartbeat(f"{plugins} plugins beside {clusters} Clusters"):
                grow(bench, clusters, reported)
                found = observe(bench, plugins)
            memory = found.memory
            peak, resident[clusters] = max(peak, memory.peak), memory.resident
            sheet.lines.append(
                f"{plugins:7}  {clusters:8}  {memory.resident:6.1f}  {memory.anonymous:12.1f}  "
                f"{memory.peak:11.1f}  {found.ready:19.1f}"
            )
            say(sheet.lines[-1])
    sheet.size = f"up to {sizes[-1]} Clusters, {plugins} plugins"
    sheet.put("most: peak RSS", peak)
    if sizes[-1]:
        growth = resident[sizes[-1]] - resident[sizes[0]]
        sheet.put("each Cluster: RSS", growth / (sizes[-1] - sizes[0]) * 1000)
    bench.fleet.remove()


def _until(most: int, usual: Iterable[int]) -> list[int]:
    """Take the usual sizes below the largest, then the largest."""
    return [*(size for size in usual if size < most), most]
