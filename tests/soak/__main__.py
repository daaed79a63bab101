"""The command line: `python3 -m tests.soak`."""

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tests.bench import cnpg, saved
from tests.bench.audit import AuditLog
from tests.bench.environment import FAILURES, pause
from tests.bench.figures import Outcome, Sheet
from tests.bench.fleet import Fleet
from tests.bench.plugins import Plugins
from tests.bench.report import render_text, to_json
from tests.cluster import Cluster
from tests.cluster.progress import heartbeat, say
from tests.demo.installing import ROOT
from tests.soak import judgement
from tests.soak.disturbing import Disturber, clear, start, stream
from tests.soak.judgement import HOUR, TABLE, Sample
from tests.soak.plan import CALLED, PLUGINS, USED
from tests.soak.sampling import Sampler, read_log
from tests.support.e2e.api import Api
from tests.support.e2e.installation import install_operator
from tests.support.e2e.probe import Probe
from tests.support.e2e.probe_calls import Call

DIRECTORY: Final = ROOT / ".soak"
ELECTION: Final = {"leaseDuration": "60s", "renewDeadline": "40s", "retryPeriod": "2s"}
"""Longer than the API server is away: a process that starts over has no memory to judge."""
SAMPLE_SECONDS: Final = 10.0
SPOKEN: Final = 12
"""Samples between two words about the progress."""
CALL_SECONDS: Final = 3.0
"""Between two calls of one plugin. A hundred renewals an hour are hit often enough."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python3 -m tests.soak",
        description="Leave the operator running among disturbances, and judge what grows.",
    )
    option = parser.add_argument
    option("--minutes", type=float, default=120, help="how long (default: 120)")
    option("--seed", type=int, default=None, help="repeat the disturbances of another run")
    option("--clusters", type=int, default=200, help="Clusters of the fleet (default: 200)")
    option("--rate", type=float, default=2, help="updates of Clusters a second (default: 2)")
    option("--name", default="soak", help="which cluster (default: soak)")
    option("--keep", action="store_true", help="keep the cluster running")
    return parser


@contextmanager
def _installed(arguments: argparse.Namespace) -> Iterator[tuple[Cluster, Fleet]]:
    """Provide the cluster with operator, plugins and fleet; remove it, or what is in it."""
    cluster = Cluster(arguments.name)
    cluster.up()
    api, fleet = Api(cluster), Fleet(cluster)
    # What a killed run has left would keep the operator from becoming ready.
    fleet.remove()
    install_operator(cluster, leaderElection=ELECTION)
    clear(cluster, fleet)
    try:
        with cnpg.with_room(api):
            try:
                start(cluster)
                with heartbeat(f"creating {arguments.clusters} Clusters"):
                    fleet.ensure(arguments.clusters, Plugins(cluster).reported(USED))
                yield cluster, fleet
            finally:
                if arguments.keep:
                    clear(cluster, fleet)
    finally:
        if arguments.keep:
            install_operator(cluster)
        else:
            cluster.down()
        api.close()


def _soak(
    cluster: Cluster,
    fleet: Fleet,
    arguments: argparse.Namespace,
    sheet: Sheet,
    samples: list[Sample],
) -> None:
    """Disturb and sample, then judge."""
    api, audit = Api(cluster), AuditLog(cluster.audit_log)
    revisions, since, begun = cnpg.count_revisions(api), f"{datetime.now(UTC):%FT%TZ}", _now()
    disturber = Disturber(cluster, fleet, Plugins(cluster).reported(USED), arguments.seed)
    calls = _disturb(disturber, arguments, samples)
    hours = (_now() - begun) / HOUR
    requests = audit.requests()
    judgement.judge_samples(sheet, samples)
    judgement.judge_calls(sheet, calls, disturber.done)
    judgement.judge_disturbances(sheet, disturber.done)
    sheet.put("plugins not Ready in the end", len(disturber.missing()))
    sheet.put("rollouts of CloudNativePG", cnpg.count_revisions(api) - revisions)
    judgement.judge_rates(
        sheet,
        hours,
        requests=len(requests),
        writes=[request.subject for request in requests if request.writes],
        log=read_log(cluster, since),
    )
    disturber.close()
    api.close()


def _disturb(
    disturber: Disturber, arguments: argparse.Namespace, samples: list[Sample]
) -> list[Call]:
    """Do it for as long as is asked; return the calls of the probe."""
    names = [each.name for each in CALLED]
    with (
        tempfile.TemporaryDirectory() as directory,
        Probe(disturber.cluster, Path(directory), names, CALL_SECONDS) as probe,
        ThreadPoolExecutor(2) as pool,
    ):
        running = [
            pool.submit(disturber.run),
            pool.submit(stream, disturber.fleet, arguments.rate, disturber.stopped),
        ]
        try:
            _sample(arguments.minutes, samples, disturber, probe)
        finally:
            disturber.stopped.set()
        for each in running:
            each.result()
        return [call for name in names for call in probe.calls(name).calls]


def _sample(minutes: float, samples: list[Sample], disturber: Disturber, probe: Probe) -> None:
    """Take samples until the time is over, and say how it goes."""
    sampler, begun = Sampler(disturber.cluster), _now()
    while (past := _now() - begun) < minutes * 60:
        if sample := sampler.take():
            samples.append(sample)
        if sample and len(samples) % SPOKEN == 1:
            failed = sum(len(probe.calls(each.name).failed) for each in CALLED)
            say(
                f"{past / 60:.0f} of {minutes:g} minutes: RSS {sample.resident:.1f} MB, "
                f"{sample.descriptors} descriptors, {sample.tasks} tasks, "
                f"{len(disturber.done)} disturbances, {failed} failed calls"
            )
        pause(SAMPLE_SECONDS)


def _now() -> float:
    return time.monotonic()


def _measure(arguments: argparse.Namespace) -> int:
    begun = datetime.now(UTC)
    if arguments.seed is None:
        arguments.seed = int(begun.timestamp())
    about = [saved.describe_moment("began"), saved.describe_revision(), f"seed {arguments.seed}"]
    sheet, error, started = Sheet(TABLE), "", _now()
    samples: list[Sample] = []
    sheet.size = f"{len(PLUGINS)} plugins, {arguments.clusters} Clusters, {arguments.minutes:g} min"
    try:
        with _installed(arguments) as (cluster, fleet):
            _soak(cluster, fleet, arguments, sheet, samples)
    except FAILURES as failure:
        error = str(failure)
    figures = tuple(sheet.figures)
    outcome = Outcome("soak", sheet.size, _now() - started, figures, tuple(sheet.lines), error)
    about.append(saved.describe_moment("ended"))
    path = saved.path_of(begun, DIRECTORY)
    saved.save(path, {**to_json(about, [outcome]), "samples": [*map(asdict, samples)]})
    print(render_text(about, [outcome]), flush=True)
    say(f"saved as {path}")
    return 1 if error or any(figure.ok is False for figure in figures) else 0


def main(words: Sequence[str] | None = None) -> int:
    """Run; exit 1 if a budget is missed, or the soak could not be run to its end."""
    # Ended by either signal, it leaves neither the probe nor the cluster running.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    return _measure(_parser().parse_args(words))


if __name__ == "__main__":
    sys.exit(main())
