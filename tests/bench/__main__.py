"""The command line: `python3 -m tests.bench`."""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from tests.bench import cnpg, saved
from tests.bench.audit import AuditLog
from tests.bench.catalogue import SCENARIOS, Scenario
from tests.bench.environment import FAILURES, Bench, Options
from tests.bench.figures import Outcome, Sheet
from tests.bench.fleet import Fleet
from tests.bench.operator_pod import OperatorPod
from tests.bench.plugins import Plugins
from tests.bench.report import Run, compare, render_json, render_text, to_json
from tests.bench.scenarios import handshake
from tests.cluster import Cluster
from tests.cluster.progress import say
from tests.demo.installing import install_operator
from tests.support.e2e.api import Api

HANDSHAKE = "handshake"
"""The scenario that needs no cluster."""


def _parser() -> argparse.ArgumentParser:
    scenarios = "\n".join(f"  {each.name:12} {each.about}" for each in SCENARIOS)
    parser = argparse.ArgumentParser(
        prog="python3 -m tests.bench",
        description="Measure the operator against its budgets.",
        epilog=f"scenarios:\n  {HANDSHAKE:12} the verdict on TLS; no cluster\n{scenarios}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = [HANDSHAKE, *(each.name for each in SCENARIOS)]
    option = parser.add_argument
    option("--only", nargs="+", choices=names, metavar="SCENARIO", help="run these, not all")
    option("--against", metavar="FILE", help="compare with a saved run; `last`: the newest one")
    option("-o", "--output", choices=("text", "json"), default="text")
    option("--name", default="bench", help="which cluster (default: bench)")
    option("--keep", action="store_true", help="keep the cluster running")
    sizes = parser.add_argument_group("sizes")
    option = sizes.add_argument
    option("--clusters", type=int, default=2000, help="Clusters of the fleet (default: 2000)")
    option("--plugins", type=int, default=20, help="plugins beside them (default: 20)")
    option("--seconds", type=float, default=60, help="of each stream of updates (default: 60)")
    option("--churn-minutes", type=float, default=1, help="length of churn (default: 1)")
    option("--quiet-minutes", type=float, default=2, help="length of quiet (default: 2)")
    option("--runs", type=int, default=10, help="pairs of apply, after a warm-up (default: 10)")
    option("--ten", type=int, default=10, help="plugins of ten (default: 10)")
    option("--hundred", type=int, default=100, help="plugins of hundred (default: 100)")
    option("--delay", type=float, default=0.1, help="seconds of late (default: 0.1)")
    return parser


def _perform(name: str, sheet: Sheet, run: Callable[[Sheet], None]) -> Outcome:
    """Run a scenario; one that fails keeps what it has measured until then."""
    say(f"scenario {name}")
    begun, error = time.monotonic(), ""
    try:
        run(sheet)
    except FAILURES as failure:
        error = str(failure)
        say(f"scenario {name} FAILED: {error}")
    seconds = time.monotonic() - begun
    return Outcome(name, sheet.size, seconds, tuple(sheet.figures), tuple(sheet.lines), error)


@contextmanager
def _bench(arguments: argparse.Namespace) -> Iterator[Bench]:
    """Provide the cluster with the operator, and remove it in the end, or what is in it."""
    cluster = Cluster(arguments.name)
    cluster.up()
    api, fleet = Api(cluster), Fleet(cluster)
    # What a killed run has left would keep the operator from becoming ready.
    fleet.remove()
    install_operator(cluster)
    named = {field: getattr(arguments, field) for field in Options.__dataclass_fields__}
    bench = Bench(
        cluster,
        api,
        AuditLog(cluster.audit_log),
        Plugins(cluster),
        fleet,
        OperatorPod(api),
        Options(**named),
    )
    try:
        bench.clear()
        with cnpg.with_room(api):
            yield bench
    finally:
        if arguments.keep:
            bench.clear()
        else:
            cluster.down()
        api.close()


def _run(arguments: argparse.Namespace) -> Iterator[Outcome]:
    only = arguments.only or [HANDSHAKE, *(each.name for each in SCENARIOS if each.usual)]
    if HANDSHAKE in only:
        each_row = arguments.only == [HANDSHAKE]
        sheet = Sheet(handshake.TABLE)
        yield _perform(HANDSHAKE, sheet, lambda sheet: handshake.run(sheet, each_row=each_row))
    chosen = [each for each in SCENARIOS if each.name in only]
    if chosen:
        with _bench(arguments) as bench:
            yield from (_perform_on(bench, each) for each in chosen)


def _perform_on(bench: Bench, scenario: Scenario) -> Outcome:
    sheet = Sheet(scenario.table)
    return _perform(scenario.name, sheet, lambda sheet: scenario.run(bench, sheet))


def _measure(arguments: argparse.Namespace) -> int:
    """Measure, save after each scenario, print; say whether everything was measured."""
    earlier = saved.load(arguments.against) if arguments.against else None
    path = saved.path_of(datetime.now(UTC))
    about = [saved.describe_moment("began"), saved.describe_revision()]
    outcomes: list[Outcome] = []
    try:
        for outcome in _run(arguments):
            outcomes.append(outcome)
            saved.save(path, to_json([*about, saved.describe_moment("ended")], outcomes))
    finally:
        about.append(saved.describe_moment("ended"))
        _report(arguments, to_json(about, outcomes), outcomes, earlier)
        say(f"saved as {path}")
    return 1 if any(outcome.error for outcome in outcomes) else 0


def _report(
    arguments: argparse.Namespace, run: Run, outcomes: Sequence[Outcome], earlier: Run | None
) -> None:
    """Print what was measured, also if the bench itself failed later."""
    as_json = arguments.output == "json"
    print(render_json(run) if as_json else render_text(run["about"], outcomes), flush=True)
    if earlier is not None:
        comparison = compare(earlier, run)
        print(comparison, file=sys.stderr if as_json else sys.stdout, flush=True)


def main(words: Sequence[str] | None = None) -> int:
    """Run; exit 1 only if a scenario could not be measured, never because one is slow."""
    try:
        return _measure(_parser().parse_args(words))
    except FAILURES as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
