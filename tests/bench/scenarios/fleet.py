"""Clusters whose status changes all the time: what that costs, and how soon what matters is seen.

The fleet is not reconciled by CloudNativePG, so each update of a status is one of the bench. Passes
and requests of a quiet period just before are taken off: those are not caused by updates.
"""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from tests.bench import cluster_bodies as bodies
from tests.bench.audit import counted
from tests.bench.environment import SETTLE_SECONDS, Bench, Used, pause
from tests.bench.figures import Budget, Series, Sheet, find_caused
from tests.bench.operator_pod import ROOM
from tests.bench.plugins import name_of
from tests.cluster.progress import heartbeat
from tests.demo.installing import CNPG_NAMESPACE
from tests.support import wait
from tests.support.e2e.api import PLUGINS, Object, Recorder

RATES: Final = {10: 2.0, 50: 8.0}
"""Updates a second, and how many percent of a core they may cost."""
TABLE: Final = {
    "quiet: CPU": Budget("%"),
    "quiet: passes": Budget(""),
    **{
        f"{rate}/s: {name}": budget
        for rate, percent in RATES.items()
        for name, budget in {
            "CPU": Budget("%", percent),
            "passes caused": Budget("", 0),
            "requests caused": Budget("", 0),
        }.items()
    },
    "RSS": Budget("MB", 140),
    "relevant update to status: median": Budget("s"),
    "relevant update to status: most": Budget("s", 2),
    "relevant updates: requests each": Budget(""),
    "relevant updates: CPU each": Budget("ms"),
}
RELEVANT: Final = 100
PACE: Final = 0.5
"""Seconds between two relevant updates."""
PATIENCE: Final = 60.0
"""Seconds after which an update counts as not seen."""
RESOURCES: Final = f"{PLUGINS}/namespaces/{CNPG_NAMESPACE}/cnpgplugins"


def prepare(bench: Bench, sheet: Sheet) -> None:
    """Have the plugins and the fleet, and room for the operator: its limit is measured apart."""
    options = bench.options
    if bench.fleet.size != options.clusters or bench.plugins.count() != options.plugins:
        bench.fleet.remove()
        bench.operator.restart(memory=ROOM)
        bench.plugins.ensure(options.plugins)
        grow(bench, options.clusters, bench.plugins.reported(options.plugins))
    sheet.size = f"{bench.fleet.describe()}, {options.plugins} plugins"


def grow(bench: Bench, clusters: int, reported: Sequence[Mapping[str, Any]]) -> None:
    """Create Clusters while no operator runs: its passes would take most of the time."""
    with heartbeat(f"creating Clusters until there are {clusters}"), bench.operator.stopped():
        bench.fleet.ensure(clusters, reported)


def run(bench: Bench, sheet: Sheet) -> None:
    """Measure a quiet period, streams that matter to no plugin, and updates that do."""
    prepare(bench, sheet)
    seconds = bench.options.seconds
    with heartbeat(f"waiting {SETTLE_SECONDS:.0f} s, then {seconds:g} quiet s"):
        pause(SETTLE_SECONDS)
        period = bench.measure()
        pause(seconds)
        quiet = period.end()
    sheet.put("quiet: CPU", quiet.cpu_percent)
    sheet.put("quiet: passes", quiet.passes, f"{len(quiet.requests)} requests")
    for rate in RATES:
        _stream(bench, sheet, rate, quiet)
    memory = period.process.memory()
    sheet.put("RSS", memory.resident, str(memory))
    _follow_relevant(bench, sheet)


def _stream(bench: Bench, sheet: Sheet, rate: int, quiet: Used) -> None:
    seconds = bench.options.seconds
    with heartbeat(f"{rate} updates a second for {seconds:g} s"):
        period = bench.measure()
        made = bench.fleet.stream(rate, seconds)
        used = period.end()
    reached = f"{made / used.seconds:.1f} updates/s reached"
    sheet.put(f"{rate}/s: CPU", used.cpu_percent, reached)
    # By chance, each key may come to one pass more than in the quiet period.
    keys = bench.options.plugins + 1
    scale = used.seconds / quiet.seconds
    passes = find_caused(used.passes, quiet.passes * scale, keys)
    each = len(quiet.requests) / quiet.passes if quiet.passes else 0
    requests = find_caused(len(used.requests), len(quiet.requests) * scale, keys * each)
    sheet.put(f"{rate}/s: passes caused", passes, f"{used.passes:.0f} passes in all")
    sheet.put(f"{rate}/s: requests caused", requests, counted(used.requests))


@dataclass(frozen=True)
class _Sent:
    """An update that the status of a plugin has to show."""

    plugin: str
    unready: int
    """How many Clusters of the plugin are not healthy from then on."""
    at: float


def _follow_relevant(bench: Bench, sheet: Sheet) -> None:
    """Make one Cluster after another unhealthy, of each plugin in turn."""
    number = min(RELEVANT, bench.fleet.size)
    with heartbeat(f"{number} relevant updates"), Recorder(bench.api, RESOURCES) as resources:
        period = bench.measure()
        sent = _send(bench, number)
        taken = Series.of(_time(resources, update) for update in sent)
        used = period.end()
    sheet.put("relevant update to status: median", taken.median)
    unseen = sum(seconds >= PATIENCE for seconds in taken.values)
    sheet.put(
        "relevant update to status: most", taken.most, f"{unseen} not within {PATIENCE:.0f} s"
    )
    detail = f"{used.passes:.0f} passes in all"
    sheet.put("relevant updates: requests each", len(used.requests) / number, detail)
    sheet.put("relevant updates: CPU each", used.cpu_seconds / number * 1000)
    for index in range(number):
        bench.fleet.change(bench.api, index, bodies.build_relevant(healthy=True))


def _send(bench: Bench, number: int) -> list[_Sent]:
    plugins = bench.options.plugins
    before = {name: _unready(bench.api.get(f"{RESOURCES}/{name}")) for name in _names(plugins)}
    sent, begun = [], time.monotonic()
    for index in range(number):
        name = name_of(index % plugins)
        sent.append(_Sent(name, before[name] + index // plugins + 1, time.monotonic()))
        bench.fleet.change(bench.api, index, bodies.build_relevant(healthy=False))
        pause(max(begun + PACE * (index + 1) - time.monotonic(), 0))
    return sent


def _names(plugins: int) -> list[str]:
    return [name_of(place) for place in range(plugins)]


def _time(resources: Recorder, update: _Sent) -> float:
    """Seconds until the plugin's status showed the update; `PATIENCE` if it did not until then."""

    def seen() -> float | None:
        known = resources.of(update.plugin)
        shown = (each.at for each in known if _unready(each.object) >= update.unready)
        return next((at for at in shown if at >= update.at), None)

    left = update.at + PATIENCE - time.monotonic()
    with suppress(wait.TooLateError):
        return wait.until("the status shows it", seen, within=max(left, 0)) - update.at
    return PATIENCE


def _unready(resource: Object) -> int:
    clusters = (resource.get("status") or {}).get("clusters") or {}
    return int(clusters.get("unready") or 0)
