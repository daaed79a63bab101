"""How long the verdict on a plugin's TLS takes, compared with Go: no cluster, seconds.

The timed code runs in another process than the bench, which has threads of its own.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Final

from tests.bench.figures import BenchError, Budget, Series, Sheet
from tests.cluster.progress import heartbeat
from tests.demo.installing import ROOT

TABLE: Final = {
    "TLS verdict: median": Budget("ms", 50),
    "TLS verdict: slowest": Budget("ms", 50),
    "TLS verdict and gRPC calls: median": Budget("ms"),
}
RUNS: Final = 11
"""Number of runs of each row."""


@dataclass(frozen=True)
class Timed:
    """The milliseconds of one row."""

    row: str
    ours: Series
    go: Series
    whole: tuple[float, ...]
    """Of the whole handshake: TLS and the gRPC calls to a plugin."""

    def __str__(self) -> str:
        ratio = self.ours.median / self.go.median
        return f"{self.row}: {_brief(self.ours)}; Go {_brief(self.go)}: {ratio:.1f}x Go"


def run(sheet: Sheet, *, each_row: bool) -> None:
    """Time the rows of the handshake's tests."""
    timed = _run(RUNS)
    ours = Series.of(value for row in timed for value in row.ours.values)
    go = Series.of(value for row in timed for value in row.go.values)
    whole = Series.of(value for row in timed for value in row.whole)
    sheet.size = f"{len(timed)} cases, {RUNS} times each"
    ratio = f"Go {_brief(go)}: {ours.median / go.median:.1f}x Go"
    sheet.put("TLS verdict: median", ours.median, ratio)
    sheet.put("TLS verdict: slowest", ours.most, f"Go {go.most:.1f}")
    sheet.put("TLS verdict and gRPC calls: median", whole.median, _brief(whole))
    sheet.lines += [str(row) for row in timed if each_row]


def _run(runs: int) -> list[Timed]:
    """Run `tests.bench.tls` and read its output."""
    with heartbeat("timing handshakes, ours and Go's"):
        done = subprocess.run(
            [sys.executable, "-m", "tests.bench.tls", str(runs)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
    if done.returncode != 0:
        raise BenchError("timing the handshakes failed; see above")
    return [_timed(json.loads(line)) for line in done.stdout.splitlines()]


def _timed(said: dict[str, list[float]]) -> Timed:
    ours, go = Series.of(said["ours"]), Series.of(said["go"])
    return Timed(str(said["row"]), ours, go, tuple(said["whole"]))


def _brief(series: Series) -> str:
    return f"{series.median:.1f}, max {series.most:.1f}"
