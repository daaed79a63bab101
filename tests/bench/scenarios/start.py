"""From the start of the operator's process until the last of its watches is open."""

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from tests.bench.audit import AuditLog, Request
from tests.bench.environment import AFTERMATH_SECONDS, Bench, pause
from tests.bench.figures import BenchError, Budget, Series, Sheet
from tests.bench.process import Process
from tests.cluster.progress import heartbeat

TABLE: Final = {"process start to all watches": Budget("s", 1.5)}
STARTS: Final = 3


def run(bench: Bench, sheet: Sheet) -> None:
    """Start the operator a few times."""
    sheet.size = f"{STARTS} starts"
    seconds = []
    for number in range(1, STARTS + 1):
        with heartbeat(f"restarting the operator: {number} of {STARTS}"):
            audit = AuditLog(bench.cluster.audit_log)
            bench.operator.restart()
            pause(AFTERMATH_SECONDS)
        seconds.append(time_watches(audit.requests(), Process(bench.cluster).started_at()))
    series = Series.of(seconds)
    sheet.put("process start to all watches", series.median, str(series))


def time_watches(requests: Iterable[Request], started: datetime) -> float:
    """Seconds from the start until each path that is watched was watched for the first time."""
    first: dict[str, float] = {}
    for request in requests:
        after = (request.at - started).total_seconds()
        if request.verb == "watch" and after > 0:
            first.setdefault(request.path, after)
    if not first:
        raise BenchError("the audit log shows no watch of the operator")
    return max(first.values())
