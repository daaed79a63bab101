"""From `kubectl apply` to Ready, beside the same plugin as static manifests, in turns.

The first plugin of a namespace includes the certificate chain, the following do not.

Ready says more than Available: CloudNativePG can call the plugin. kube-proxy lets it up to a second
later, so the same is measured of the manifests, too.

The kubelet looks at its containers once a second, and a removal ends when it does. So each run
waits for another part of a second after a removal: otherwise all applies of a kind would meet the
kubelet at the same moment of its second, and the ratio would tell of luck.
"""

from dataclasses import dataclass, field
from typing import Final

from tests.bench.audit import counted
from tests.bench.environment import AFTERMATH_SECONDS, Bench, pause
from tests.bench.figures import Budget, Series, Sheet
from tests.bench.timeline import follow
from tests.cluster.progress import say

WRITES: Final = 14
ROUND: Final = 1.0
"""Seconds between two looks of the kubelet."""
TABLE: Final = {
    "manifests: apply to Available": Budget("s"),
    "manifests: apply to the first connection": Budget("s"),
    "first plugin: apply to Ready": Budget("s"),
    "following plugin: apply to Ready": Budget("s"),
    "first plugin: times manifests": Budget("x", 1.2),
    "following plugin: times manifests": Budget("x", 1.2),
    "first plugin: times the first connection": Budget("x"),
    "following plugin: times the first connection": Budget("x"),
    "first plugin: most writes": Budget("", WRITES),
    "following plugin: most writes": Budget("", WRITES),
    "following plugin: requests": Budget(""),
}
KINDS: Final = ("first", "following")


@dataclass
class _Runs:
    """What all runs measured."""

    times: dict[str, list[float]] = field(default_factory=dict)
    writes: dict[str, list[int]] = field(default_factory=dict)
    details: dict[str, str] = field(default_factory=dict)
    requests: list[float] = field(default_factory=list)


def run(bench: Bench, sheet: Sheet) -> None:
    """Apply manifests and two plugins in turns, after a warm-up; then follow one plugin."""
    number = bench.options.runs
    sheet.size = f"{number} pairs"
    bench.clear()
    runs = _Runs()
    for place in range(number + 1):
        say(f"applying: {f'run {place} of {number}' if place else 'warm-up'}")
        one = _Runs() if place == 0 else runs
        _run_once(bench, one, ROUND * place / number)
        bench.plugins.remove_all()
        say("  ".join(f"{kind} {seconds[-1]:.2f} s" for kind, seconds in one.times.items()))
    _enter(sheet, runs)
    sheet.lines += follow(bench)
    bench.plugins.remove_all()


def _run_once(bench: Bench, runs: _Runs, moment: float) -> None:
    pause(moment)
    available, called = bench.plugins.time_static()
    runs.times.setdefault("static", []).append(available)
    runs.times.setdefault("called", []).append(called)
    bench.plugins.remove_static()
    for kind in KINDS:
        pause(moment)
        bench.audit.restart()
        runs.times.setdefault(kind, []).append(bench.plugins.time_operator(kind))
        pause(AFTERMATH_SECONDS)
        requests = bench.audit.requests()
        written = [request for request in requests if request.writes]
        if len(written) > max(runs.writes.get(kind, ()), default=0):
            runs.details[kind] = counted(written)
        runs.writes.setdefault(kind, []).append(len(written))
    runs.requests.append(len(requests))


def _enter(sheet: Sheet, runs: _Runs) -> None:
    series = {kind: Series.of(seconds) for kind, seconds in runs.times.items()}
    static, called = series["static"].median, series["called"].median
    sheet.put("manifests: apply to Available", static, str(series["static"]))
    sheet.put("manifests: apply to the first connection", called, str(series["called"]))
    for kind in KINDS:
        taken = series[kind]
        sheet.put(f"{kind} plugin: apply to Ready", taken.median, str(taken))
        sheet.put(f"{kind} plugin: times manifests", taken.median / static)
        sheet.put(f"{kind} plugin: times the first connection", taken.median / called)
        sheet.put(f"{kind} plugin: most writes", max(runs.writes[kind]), runs.details[kind])
    sheet.put("following plugin: requests", Series.of(runs.requests).median)
