"""How long the verdict on a plugin's TLS takes, beside Go's: no cluster, seconds.

What is timed needs the operator's own packages, so it runs in the tests' environment, apart from
the bench.
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
"""Of each row."""


@dataclass(frozen=True)
class Timed:
    """The milliseconds of one row, or of several."""

    row: str
    ours: Series
    go: Series
    whole: Series
    """Of the handshake that goes on after TLS: gRPC's calls to a plugin."""

    @property
    def result(self) -> Result:
        ratio = self.ours.median / self.go.median
        detail = f"max {max(self.ours.values):.1f}; Go {_brief(self.go)}: {ratio:.1f}x Go"
        return Result(self.row, self.ours.median, "ms", VERDICT_MILLISECONDS, detail)


def measure_handshake(runs: int = RUNS) -> tuple[list[Result], list[Result]]:
    """Time the rows of the handshake's tests: the summary, and each row."""
    timed = _run(runs)
    every = [value for row in timed for value in row.ours.values]
    gos = [value for row in timed for value in row.go.values]
    whole = Series(tuple(value for row in timed for value in row.whole.values))
    label = f"TLS verdict, {len(timed)} cases, {runs} times each"
    summary = [
        Timed(f"{label}: median", Series(tuple(every)), Series(tuple(gos)), whole).result,
        Result(f"{label}: slowest", max(every), "ms", VERDICT_MILLISECONDS, f"Go {max(gos):.1f}"),
        Result("TLS verdict and gRPC's calls: median", whole.median, "ms", None, _brief(whole)),
    ]
    return summary, [row.result for row in timed]


def _run(runs: int) -> list[Timed]:
    """Run `tests.bench.tls` and read what it says."""
    python = ROOT / ".venv" / "bin" / "python"
    made = subprocess.run(["make", "--silent", "venv"], cwd=ROOT, stdout=sys.stderr, check=False)
    if made.returncode != 0:
        raise BenchError("the tests' environment could not be made; see above")
    with heartbeat("handshakes beside Go's"):
        done = subprocess.run(
            [python, "-m", "tests.bench.tls", str(runs)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
    if done.returncode != 0:
        raise BenchError("the handshakes could not be timed; see above")
    return [_timed(json.loads(line)) for line in done.stdout.splitlines()]


def _timed(said: dict[str, list[float]]) -> Timed:
    series = {key: Series(tuple(said[key])) for key in ("ours", "go", "whole")}
    return Timed(str(said["row"]), **series)


def _brief(series: Series) -> str:
    return f"{series.median:.1f}, max {max(series.values):.1f}"
