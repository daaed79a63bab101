"""How long the verdict on a plugin's TLS takes, compared with Go: no cluster, seconds.

The timed code needs the operator's own packages, so it runs in the tests' environment, in another
process than the bench.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Final

from tests.bench.results import BenchError, Result, Series
from tests.cluster.progress import heartbeat
from tests.demo.installing import ROOT

VERDICT_MILLISECONDS: Final = 50.0
RUNS: Final = 11
"""Number of runs of each row."""


@dataclass(frozen=True)
class Timed:
    """The milliseconds of one or several rows."""

    row: str
    ours: Series
    go: Series
    whole: Series
    """Of the whole handshake: TLS and the gRPC calls to a plugin."""

    @property
    def result(self) -> Result:
        ratio = self.ours.median / self.go.median
        detail = f"max {max(self.ours.values):.1f}; Go {_brief(self.go)}: {ratio:.1f}x Go"
        return Result(self.row, self.ours.median, "ms", VERDICT_MILLISECONDS, detail)


def measure_handshake(runs: int = RUNS) -> tuple[list[Result], list[Result]]:
    """Time the rows of the handshake's tests; return the summary, and each row."""
    timed = _run(runs)
    every = [value for row in timed for value in row.ours.values]
    gos = [value for row in timed for value in row.go.values]
    whole = Series(tuple(value for row in timed for value in row.whole.values))
    label = f"TLS verdict, {len(timed)} cases, {runs} times each"
    summary = [
        Timed(f"{label}: median", Series(tuple(every)), Series(tuple(gos)), whole).result,
        Result(f"{label}: slowest", max(every), "ms", VERDICT_MILLISECONDS, f"Go {max(gos):.1f}"),
        Result("TLS verdict and gRPC calls: median", whole.median, "ms", None, _brief(whole)),
    ]
    return summary, [row.result for row in timed]


def _run(runs: int) -> list[Timed]:
    """Run `tests.bench.tls` and read its output."""
    python = ROOT / ".venv" / "bin" / "python"
    made = subprocess.run(["make", "--silent", "venv"], cwd=ROOT, stdout=sys.stderr, check=False)
    if made.returncode != 0:
        raise BenchError("`make venv` failed; see above")
    with heartbeat("timing handshakes, ours and Go's"):
        done = subprocess.run(
            [python, "-m", "tests.bench.tls", str(runs)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
    if done.returncode != 0:
        raise BenchError("timing the handshakes failed; see above")
    return [_timed(json.loads(line)) for line in done.stdout.splitlines()]


def _timed(said: dict[str, list[float]]) -> Timed:
    series = {key: Series(tuple(said[key])) for key in ("ours", "go", "whole")}
    return Timed(str(said["row"]), **series)


def _brief(series: Series) -> str:
    return f"{series.median:.1f}, max {max(series.values):.1f}"
