"""An API server that answers each request late: how much of that reaches the users.

Many plugins, applied at once, may take half as long again as without the delay, and the delay once
for each request on the longest path of a single plugin. The path is counted in the audit log, from
a plugin that is applied alone: the longest chain of requests of which none overlaps another.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tests.bench.audit import AuditLog
from tests.bench.environment import AFTERMATH_SECONDS, Bench, pause
from tests.bench.figures import Budget, Sheet, count_in_sequence
from tests.cluster.network import NODE_ADDRESS
from tests.cluster.progress import heartbeat
from tests.support.e2e.slow_api import ApiProxy

TABLE: Final = {
    "requests in sequence for one plugin": Budget(""),
    "all Ready without the delay": Budget("s"),
    "all Ready with the delay": Budget("s"),
    "time with the delay, of the time allowed": Budget("x", 1.0),
}
SLOWER: Final = 1.5


def run(bench: Bench, sheet: Sheet) -> None:
    """Apply one plugin alone, many at once, and as many with the delay."""
    number, delay = bench.options.plugins, bench.options.delay
    sheet.size = f"{number} plugins, {delay * 1000:.0f} ms"
    bench.clear()
    bench.operator.restart()
    pause(AFTERMATH_SECONDS)
    path = _count_path(bench)
    usual = _time(bench, "without the delay")
    with _slow_way(bench, delay) as way:
        bench.operator.restart(environment=way)
        pause(AFTERMATH_SECONDS)
        late = _time(bench, f"with every answer {delay * 1000:.0f} ms late")
        bench.operator.restart()
    allowed = SLOWER * usual + delay * path
    sheet.put("requests in sequence for one plugin", path)
    sheet.put("all Ready without the delay", usual)
    sheet.put("all Ready with the delay", late, f"{allowed:.1f} s are allowed")
    sheet.put("time with the delay, of the time allowed", late / allowed)


@contextmanager
def _slow_way(bench: Bench, delay: float) -> Iterator[dict[str, str]]:
    """Open a slow way to the API server; gives the variables with which a pod takes it."""
    proxy = ApiProxy(bench.cluster, delay)
    proxy.start()
    try:
        yield {
            "KUBERNETES_SERVICE_HOST": NODE_ADDRESS,
            "KUBERNETES_SERVICE_PORT": str(proxy.port),
        }
    finally:
        proxy.stop()


def _count_path(bench: Bench) -> int:
    audit = AuditLog(bench.cluster.audit_log)
    bench.plugins.time_operator("alone")
    spans = [
        (request.begun.timestamp(), request.at.timestamp())
        for request in audit.requests()
        if request.verb != "watch"
    ]
    bench.plugins.remove_all()
    return count_in_sequence(spans)


def _time(bench: Bench, how: str) -> float:
    number = bench.options.plugins
    with heartbeat(f"applying {number} plugins {how}"):
        bench.plugins.apply_many(number)
        taken = bench.plugins.await_ready(number)
    pause(AFTERMATH_SECONDS)
    bench.plugins.remove_all()
    return taken
