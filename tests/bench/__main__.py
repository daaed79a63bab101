"""The command line: `python3 -m tests.bench`."""

import argparse
import os
import sys
from datetime import UTC, datetime

from tests.bench.audit import AuditLog
from tests.bench.handshake import measure_handshake
from tests.bench.measures import Bench
from tests.bench.plugins import Plugins
from tests.bench.restarting import measure_restart
from tests.bench.results import BenchError, Result, render_json, render_text
from tests.cluster import Cluster, ClusterError
from tests.demo.installing import install_operator


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python3 -m tests.bench", description="Measure the operator against its budgets."
    )
    parser.add_argument(
        "what",
        nargs="?",
        choices=("all", "handshake"),
        default="all",
        help="handshake needs no cluster (default: all)",
    )
    parser.add_argument("--name", default="bench", help="which cluster (default: bench)")
    parser.add_argument(
        "--runs", type=int, default=5, help="runs of applying, after a warm-up (default: 5)"
    )
    parser.add_argument(
        "--plugins", type=int, default=20, help="plugins in the quiet period (default: 20)"
    )
    parser.add_argument(
        "--quiet-minutes", type=float, default=10, help="length of the quiet period (default: 10)"
    )
    parser.add_argument("--keep", action="store_true", help="keep the cluster running")
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")
    return parser


def _moment(word: str) -> str:
    """Describe the time and the load: on a busy machine, durations mean little."""
    load = " ".join(f"{value:.2f}" for value in os.getloadavg())
    when = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    return f"{word} {when}, load {load} (1, 5, 15 minutes) on {os.cpu_count()} cores"


def _measure(cluster: Cluster, options: argparse.Namespace) -> list[Result]:
    plugins = Plugins(cluster)
    bench = Bench(cluster, plugins, AuditLog(cluster.audit_log))
    plugins.remove_static()
    plugins.remove_all()
    restart = measure_restart(cluster, plugins)
    plugins.remove_all()
    return [
        *restart,
        *bench.measure_applying(options.runs),
        *bench.measure_quiet(options.plugins, options.quiet_minutes),
        *bench.measure_passes(),
        *bench.measure_start(),
    ]


def _measure_on_cluster(options: argparse.Namespace) -> list[Result]:
    cluster = Cluster(options.name)
    cluster.up()
    install_operator(cluster)
    results = _measure(cluster, options)
    if not options.keep:
        cluster.down()
    return results


def main() -> int:
    """Measure and print; exit 1 only if a measurement failed."""
    options = _parser().parse_args()
    header = [_moment("began")]
    try:
        summary, rows = measure_handshake()
        further = rows if options.what == "handshake" else _measure_on_cluster(options)
        results = [*summary, *further]
        header.append(_moment("ended"))
    except (BenchError, ClusterError) as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    render = render_json if options.output == "json" else render_text
    print(render(header, results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
