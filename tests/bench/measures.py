"""The measurements. The docstring of each says what is measured, and from when to when."""

import threading
from dataclasses import dataclass

from tests.bench.audit import AuditLog, counted
from tests.bench.plugins import Plugins
from tests.bench.process import Process
from tests.bench.results import BenchError, Result, Series
from tests.cluster import Cluster
from tests.cluster.progress import heartbeat, say
from tests.demo import installing

APPLY_RATIO = 2.0
WRITES_PER_PLUGIN = 14.0
QUIET_CPU_PERCENT = 0.5
QUIET_MEGABYTES = 110.0
START_SECONDS = 2.0

AFTERMATH_SECONDS = 5.0
"""The last writes for a plugin can follow its Ready by this much."""
SETTLE_SECONDS = 30.0
"""Wait before a quiet period begins."""
RESTARTS = 3
TOUCHES = 10
TOUCH_SECONDS = 2.0


def pause(seconds: float) -> None:
    """Let time pass: here, the time itself is measured."""
    threading.Event().wait(seconds)


@dataclass(frozen=True)
class Bench:
    """A cluster with the operator installed."""

    cluster: Cluster
    plugins: Plugins
    audit: AuditLog

    def measure_applying(self, runs: int) -> list[Result]:
        """Time and writes per plugin, alternating with the manifests applied by hand; one warm-up.

        The first plugin of a namespace includes the certificate chain, the following do not.
        """
        times: dict[str, list[float]] = {"static": [], "first": [], "following": []}
        writes: dict[str, list[float]] = {"first": [], "following": []}
        details: dict[str, str] = {}
        for run in range(runs + 1):
            say(f"applying: {f'run {run} of {runs}' if run else 'warm-up'}")
            taken = {"static": self.plugins.time_static()}
            self.plugins.remove_static()
            for kind in ("first", "following"):
                self.audit.restart()
                taken[kind] = self.plugins.time_operator(kind)
                pause(AFTERMATH_SECONDS)
                written = self.audit.writes()
                if run:
                    if len(written) > max(writes[kind], default=0):
                        details[kind] = counted(written)
                    writes[kind].append(len(written))
            self.plugins.remove_all()
            say("  ".join(f"{kind} {seconds:.2f} s" for kind, seconds in taken.items()))
            if run:
                for kind, seconds in taken.items():
                    times[kind].append(seconds)
        return _applying_results(times, writes, details)

    def measure_quiet(self, number: int, minutes: float) -> list[Result]:
        """Writes, CPU and memory of the operator while many Ready plugins do not change."""
        with heartbeat(f"applying {number} plugins at once"):
            self.plugins.apply(*(f"plugin-{index:02}" for index in range(1, number + 1)))
            ready = self.plugins.await_ready(number)
        with heartbeat(f"waiting {SETTLE_SECONDS:.0f} s, then measuring {minutes:g} quiet minutes"):
            pause(SETTLE_SECONDS)
            process = Process(self.cluster)
            self.audit.restart()
            before = process.cpu_seconds()
            pause(minutes * 60)
            used = process.cpu_seconds() - before
            resident = process.resident_megabytes()
            written = self.audit.writes()
        label = f"{number} Ready plugins, {minutes:g} quiet min"
        return [
            Result(f"{number} plugins at once, until all are Ready", ready, "s"),
            Result(f"{label}: writes", len(written), "", 0, counted(written)),
            Result(f"{label}: CPU", used / (minutes * 60) * 100, "%", QUIET_CPU_PERCENT),
            Result(f"{label}: RSS", resident, "MB", QUIET_MEGABYTES),
        ]

    def measure_passes(self) -> list[Result]:
        """The cost of a pass with nothing to do: an annotation wakes every resource each time."""
        process = Process(self.cluster)
        with heartbeat(f"{TOUCHES} rounds of passes with nothing to do"):
            self.audit.restart()
            (passes, seconds), cpu = process.passes(), process.cpu_seconds()
            for touch in range(TOUCHES):
                self.plugins.touch(touch)
                pause(TOUCH_SECONDS)
            used = process.cpu_seconds() - cpu
            after_passes, after_seconds = process.passes()
        done, requests = after_passes - passes, self.audit.requests()
        if not done:
            raise BenchError("no pass ran after the resources were annotated")
        written = [request for request in requests if request.writes]
        detail = f"{done:.0f} passes"
        return [
            Result("a pass with nothing to do: writes", len(written) / done, "", 0, detail),
            Result("a pass with nothing to do: reads", len(requests) / done, "requests"),
            Result("a pass with nothing to do: CPU", used / done * 1000, "ms"),
            Result(
                "a pass with nothing to do: duration", (after_seconds - seconds) / done * 1000, "ms"
            ),
        ]

    def measure_start(self) -> list[Result]:
        """From the start of the process until the last of its watches is open."""
        seconds = []
        for run in range(1, RESTARTS + 1):
            with heartbeat(f"restarting the operator: {run} of {RESTARTS}"):
                self.audit.restart()
                seconds.append(self._time_start())
        series = Series(tuple(seconds))
        detail = f"of {RESTARTS}: {series}"
        return [Result("process start to all watches", series.median, "s", START_SECONDS, detail)]

    def _time_start(self) -> float:
        deployment = f"deployment/{installing.RELEASE}"
        where = ("--namespace", installing.NAMESPACE)
        self.cluster.kubectl("rollout", "restart", deployment, *where)
        self.cluster.kubectl("rollout", "status", deployment, *where, "--timeout=120s")
        pause(AFTERMATH_SECONDS)
        started = Process(self.cluster).started_at()
        first: dict[str, float] = {}
        for request in self.audit.requests():
            after = (request.at - started).total_seconds()
            if request.verb == "watch" and after > 0:
                first.setdefault(request.path, after)
        if not first:
            raise BenchError("the audit log shows no watch of the operator")
        return max(first.values())


def _applying_results(
    times: dict[str, list[float]], writes: dict[str, list[float]], details: dict[str, str]
) -> list[Result]:
    series = {kind: Series(tuple(seconds)) for kind, seconds in times.items()}
    static = series["static"]
    results = [
        Result("manifests by hand: apply to Available", static.median, "s", None, f"{static}")
    ]
    for kind, words in (("first", "first plugin"), ("following", "following plugin")):
        taken, budget = series[kind], APPLY_RATIO * static.median
        ratio = f"{taken.median / static.median:.2f}x by hand; {taken}"
        results.append(Result(f"{words}: apply to Ready", taken.median, "s", budget, ratio))
    for kind, words in (("first", "first plugin"), ("following", "following plugin")):
        most = max(writes[kind])
        results.append(
            Result(f"{words}: writes, most of all runs", most, "", WRITES_PER_PLUGIN, details[kind])
        )
    return results
