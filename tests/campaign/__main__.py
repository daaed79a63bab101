"""`python -m tests.campaign`: runs the plans, resumes, replays one by its name.

make campaign CAMPAIGN_ARGS="--only create/patch-services-p-1/409-after"
"""

import argparse
import asyncio
import fnmatch
import json
import os
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, TypeVar
from zlib import crc32

from tests.campaign.admin import Admin
from tests.campaign.classes import CLASSES
from tests.campaign.classes.undisturbed import undisturbed
from tests.campaign.lane import Lane
from tests.campaign.mutants import MUTANTS, Mutant
from tests.campaign.plans import Plan, Recording, spread
from tests.campaign.results import FOUND, MUTANT, SURVIVED, VIOLATED, Report, Result, read, record
from tests.campaign.runner import Pace, Track
from tests.campaign.workloads import WORKLOADS
from tests.cluster import Cluster
from tests.support.e2e.installation import (
    ROOT,
    apply_crd,
    image_key,
    load_once,
    provide_image,
    stop_operator,
)

USUAL: Final = 900
"""Plans of a run of two hours on two cores."""

TRIES: Final = 4
"""Plans of one mutant at most."""

DIRECTORY: Final = ROOT / ".campaign"
_GATED: Final = frozenset({"sidecar", "mode", "steady"})
"""Workloads of which some plans have sidecars, whose gate is the operator's image."""

Work = TypeVar("Work")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="make campaign", description="Disturb the operator on a real cluster, plan by plan."
    )
    option = parser.add_argument
    option("--only", nargs="+", metavar="PLAN", help="plans or classes by name; * is a wildcard")
    option("--workloads", nargs="+", choices=WORKLOADS, metavar="WORKLOAD", help="of these only")
    option("--sample", type=int, metavar="N", help=f"how many plans, of all classes ({USUAL})")
    option("--list", action="store_true", help="list the plans, of recorded workloads, and end")
    option("--again", action="store_true", help="run also what has a result")
    option("--lanes", type=int, default=10, help="plans side by side (default: 10)")
    option("--silence", type=float, default=30, help="seconds without a write at the end")
    option("--patience", type=float, default=1, help="factor of all deadlines on a busy machine")
    option("--minutes", type=float, default=0, help="begin no plan after this time")
    option("--name", default=os.environ.get("CNPGP_TEST_CLUSTER", "campaign"), help="which cluster")
    option("--record", action="store_true", help="put the results so far into the record, and end")
    option("--mutants", action="store_true", help="run the operator's mutants, or those named")
    option("--keep", action="store_true", help="keep the lanes")
    return parser


class Campaign:
    """One run of the program."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.operator = image_key()
        self.work = DIRECTORY / self.operator
        self.work.mkdir(parents=True, exist_ok=True)
        self.cluster = Cluster(options.name)
        self.pace = Pace(options.silence, options.patience)
        self.recordings = self._load()
        self.unrecorded: list[str] = []
        self._end = time.monotonic() + 60 * options.minutes if options.minutes else float("inf")

    def prepare(self) -> None:
        """Provide the cluster, with this tree's CRD, and no other operator."""
        self.cluster.up()
        stop_operator(self.cluster)
        apply_crd(self.cluster)
        if not _GATED.isdisjoint(self._wanted()):
            key = image_key()
            load_once(self.cluster, provide_image(key), key)

    def chosen(self) -> list[Plan]:
        """The plans that the command line names."""
        plans = self._plans()
        if self.options.only:
            plans = [each for each in plans if _is_named(each, self.options.only)]
        count = self.options.sample or (len(plans) if self.options.only else USUAL)
        return spread(plans, count)

    def _plans(self) -> list[Plan]:
        known = {name: self.recordings[name] for name in self._workloads()}
        return [plan for build in CLASSES.values() for plan in build(known)]

    async def run(self) -> bool:
        """Record what is not recorded, then run the plans; say whether none was violated."""
        async with Admin(self.cluster.layout.pki) as admin, self._tracks(admin) as tracks:
            missing = [name for name in self._wanted() if name not in self.recordings]
            await _share(tracks, missing, self._record)
            if self.options.mutants:
                return await self._run_mutants(tracks)
            return await self._run_plans(tracks)

    async def _run_plans(self, tracks: list[Track]) -> bool:
        plans, recorded = self.chosen(), read()
        known = {n: each for n, each in recorded.items() if each.operator == self.operator}
        report = Report(self.results, plans, known)
        todo = report.todo(again=self.options.again or bool(self.options.only))
        left = len(todo)

        async def run_plan(track: Track, plan: Plan) -> None:
            nonlocal left
            if time.monotonic() > self._end:
                return
            result = await track.run(plan, self.recordings[plan.workload.name])
            result.operator = self.operator
            left -= 1
            report.take(result, left)

        # What was never tried first. Mixed, so that lanes do not all do the same, and a run that is
        # ended has seen all classes.
        mixed = sorted(todo, key=lambda plan: (plan.name in recorded, crc32(plan.name.encode())))
        await _share(tracks, [each for each in mixed if not each.alone], run_plan)
        if alone := [each for each in todo if each.alone]:
            for track in tracks[1:]:
                await track.lane.leave()
            await _share(tracks[:1], alone, run_plan)
        print(report.table(), flush=True)
        self.keep()
        return report.is_clean and not self.unrecorded

    @property
    def results(self) -> Path:
        """Where each result is kept as soon as it is there."""
        return self.work / "results.jsonl"

    def keep(self) -> None:
        """Put the results so far into the record."""
        record(read(self.results).values())

    async def _run_mutants(self, tracks: list[Track]) -> bool:
        """Run each mutant until one of its plans is violated; say whether all were found."""
        plans, only = self._plans(), self.options.only or ["*"]
        mutants = [each for each in MUTANTS if _fits(each.name, only)]
        found: list[Result] = []

        async def run_mutant(track: Track, mutant: Mutant) -> None:
            result = Result(mutant.name, MUTANT, SURVIVED, operator=self.operator)
            await track.use(mutant.build(track.lane.directory / "operator"))
            named = [plan for plan in plans if _is_named(plan, mutant.plans)]
            for plan in spread(named, TRIES):
                tried = await track.run(plan, self.recordings[plan.workload.name])
                result.seconds += tried.seconds
                if tried.result == VIOLATED:
                    result.result = FOUND
                    result.violations = [f"{plan.name}: {tried.violations[0]}"]
                    break
            found.append(result)
            print(f"{result.result:9} {mutant.name}{_why(result, tried=bool(named))}", flush=True)

        await _share(tracks, mutants, run_mutant)
        record(found)
        return all(each.result == FOUND for each in found)

    def _wanted(self) -> Iterable[str]:
        """The workloads that have to be recorded."""
        if self.options.workloads:
            return list(self.options.workloads)
        named = [each.partition("/")[0] for each in self.options.only or ()]
        known = [name for name in named if name in WORKLOADS]
        return {*known, "restart"} if named and len(known) == len(named) else list(WORKLOADS)

    def _workloads(self) -> list[str]:
        return [name for name in self._wanted() if name in self.recordings]

    async def _record(self, track: Track, name: str) -> None:
        """Record a workload; without that, its plans cannot be judged, and do not run."""
        try:
            found = await track.record(WORKLOADS[name], undisturbed(WORKLOADS[name]))
        except (TimeoutError, AssertionError) as error:
            self.unrecorded.append(name)
            print(f"violated  {name}, undisturbed: {error}", flush=True)
            return
        self.recordings[name] = found
        (self.work / f"recorded-{name}.json").write_text(json.dumps(found.to_json(), indent=1))
        print(f"recorded  {name}: {len(found.writes)} writes, {found.seconds} s", flush=True)

    def _load(self) -> dict[str, Recording]:
        bodies = (json.loads(each.read_text()) for each in self.work.glob("recorded-*.json"))
        found = {body["workload"]: Recording(**body) for body in bodies}
        return {name: found[name] for name in WORKLOADS if name in found}

    @asynccontextmanager
    async def _tracks(self, admin: Admin) -> AsyncIterator[list[Track]]:
        lanes = [
            Lane(self.cluster, admin, number, self.work) for number in range(self.options.lanes)
        ]
        try:
            yield [Track(lane, self.pace) for lane in lanes]
        finally:
            begun = [lane for lane in lanes if lane.rights]
            for lane in begun:
                await lane.stop()
            if not self.options.keep:
                await asyncio.gather(*(lane.remove() for lane in begun))


async def _share(
    tracks: Sequence[Track], work: Iterable[Work], run: Callable[[Track, Work], Awaitable[None]]
) -> None:
    """Give each track that is free the next piece of work."""
    rest = deque(work)

    async def pull(track: Track) -> None:
        while rest:
            await run(track, rest.popleft())

    async with asyncio.TaskGroup() as group:
        for track in tracks[: len(rest)]:
            group.create_task(pull(track))


def _is_named(plan: Plan, names: Collection[str]) -> bool:
    return plan.group in names or _fits(plan.name, names)


def _fits(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, each) for each in patterns)


def _why(mutant: Result, *, tried: bool) -> str:
    """By which plan a mutant was found, or why it was not tried."""
    if mutant.violations:
        return f", by {mutant.violations[0]}"
    return "" if tried else ": none of its plans is among those of the workloads"


def main(words: Sequence[str] | None = None) -> int:
    """Run; exit 1 if a plan was violated."""
    options = _parser().parse_args(words)
    campaign = Campaign(options)
    if options.list:
        for plan in campaign.chosen():
            print(f"{plan.group:12} {plan.name}")
        return 0
    if options.record:
        campaign.keep()
        return 0
    campaign.prepare()
    campaign.cluster.enter_network()
    return 0 if asyncio.run(campaign.run()) else 1


if __name__ == "__main__":
    sys.exit(main())
