"""Runs plans on lanes side by side, and judges each by the oracle."""

import asyncio
import json
import time
import traceback
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tests.campaign.admin import Object
from tests.campaign.lane import Lane
from tests.campaign.observer import announced, call, observing
from tests.campaign.oracle import (
    Seen,
    State,
    differences,
    judge_leftovers,
    judge_requests,
    snapshot,
)
from tests.campaign.plans import Plan, Recording, RefusedError, UnpreparedError
from tests.campaign.results import PASSED, REFUSED, UNREACHED, VIOLATED, Result
from tests.campaign.workloads import Workload
from tests.support.e2e.api import PLUGINS
from tests.support.e2e.plugins import is_ready

REACHED_WITHIN: Final = 90.0
"""Seconds in which a disturbance has to happen."""

GONE_WITHIN: Final = 120.0
"""Seconds for the deletion of everything."""

CALM: Final = 2.0
"""Seconds without a write before a disturbance begins."""


@dataclass
class Pace:
    """How long things are awaited."""

    silence: float = 30.0
    """Seconds without a write at the end of each plan."""
    patience: float = 1.0
    """Factor of all deadlines on a busy machine."""


class Track:
    """A lane, and how it runs plans."""

    def __init__(self, lane: Lane, pace: Pace) -> None:
        self.lane, self.pace = lane, pace
        self._empty: State = {}
        self._is_fit = False

    async def run(self, plan: Plan, recording: Recording) -> Result:
        """Run a plan; whatever happens, the lane is fit for the next one."""
        begun = time.monotonic()
        result = Result(plan.name, plan.group, PASSED)
        try:
            try:
                await self._perform(plan, recording, result)
            except UnpreparedError:
                self._is_fit = False
                await self._perform(plan, recording, result)
        except RefusedError:
            result.result = REFUSED
            result.violations += await self._clean_up(plan.workload)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this plan's result
            result.violations.append(f"{type(error).__name__}: {error}")
            if not isinstance(error, TimeoutError):
                result.violations.append(traceback.format_exc(limit=-3))
        if result.violations:
            result.result = VIOLATED
            await self._keep_evidence(result)
            self._is_fit = False
        result.seconds = round(time.monotonic() - begun, 1)
        result.when = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return result

    async def use(self, source: Path) -> None:
        """Let the operator run from other code."""
        await self.lane.end_operator()
        self.lane.source = source

    async def record(self, workload: Workload, plan: Plan) -> Recording:
        """Run a workload undisturbed, twice: what differs by itself is no violation."""
        runs = [await self._record(plan) for _ in range(2)]
        (state, calls, seen, seconds), (other, others, _, _) = runs
        mask = [each.partition(": ")[0] for each in differences(state, other)]
        kept = {position for position, _, _ in others}
        return Recording(
            workload.name,
            state,
            mask,
            [call for call in calls if call[0] in kept],
            max(len(calls), len(others)),
            seen.rolls,
            len(seen.failed),
            seconds,
        )

    async def _record(self, plan: Plan) -> tuple[State, list[tuple[str, str, str]], Seen, float]:
        async with self._running(plan) as seen:
            begun = time.monotonic()
            await plan.workload.act(self.lane)
            await self._settle(plan, lambda: True)
            seconds = time.monotonic() - begun - self.pace.silence
            state = await snapshot(self.lane.admin, self.lane.namespace)
            calls = [(c.position, c.verb, c.resource) for c in self.lane.calls]
        leftovers = await self._clean_up(plan.workload)
        if leftovers:
            raise AssertionError(f"{plan.workload.name}, undisturbed: {leftovers}")
        return state, calls, seen, round(seconds, 1)

    @asynccontextmanager
    async def _running(self, plan: Plan) -> AsyncIterator[Seen]:
        """Provide a lane with what the workload needs, and observe it."""
        try:
            await self._prepare(plan)
        except TimeoutError as error:
            raise UnpreparedError(str(error)) from error
        self.lane.proxy.begin()
        async with observing(self.lane) as seen:
            yield seen

    async def _prepare(self, plan: Plan) -> None:
        await self._make_fit()
        await plan.workload.prepare(self.lane)
        if await self._resources():
            await self._until(self._all_ready, "everything is ready before the plan", 120)
            await self._until(lambda: self._is_silent(CALM), "calm before the plan", 60)
        # The workload itself may have announced one: kube-proxy needs a moment then.
        await self._until(self._all_answer, "what is announced answers before the plan", 60)

    async def _perform(self, plan: Plan, recording: Recording, result: Result) -> None:
        found = result.violations
        async with self._running(plan) as seen:
            async with plan.disturb(self.lane) as reached:
                await plan.workload.act(self.lane)
                try:
                    await asyncio.wait_for(reached.wait(), REACHED_WITHIN * self.pace.patience)
                except TimeoutError:
                    result.result = UNREACHED
            if not self.lane.runs:
                found.append("the operator has ended by itself")
                await self.lane.start_again()
            state: State = {}

            async def is_as_expected() -> bool:
                nonlocal state
                state = await snapshot(self.lane.admin, self.lane.namespace)
                return not unmasked(recording, state, plan.may_leave)

            try:
                await self._settle(plan, is_as_expected)
            except TimeoutError as error:
                found.append(str(error))
                found += unmasked(recording, state, plan.may_leave)
            calls = {name: await call(self.lane, name) for name in sorted(seen.announced)}
            found += [f"{name} fails in the end: {why}" for name, why in calls.items() if why]
            found += judge_requests(self.lane.calls, recording.requests, plan.requests)
        may_interrupt = plan.workload.interrupts or plan.interrupts
        fewest = 0 if plan.recounts else recording.rolls
        rolls = range(fewest, recording.rolls + plan.rolls + 1)
        found += seen.faults(may_interrupt=may_interrupt, rolls=rolls)
        if not found:
            found += await self._clean_up(plan.workload)

    async def _settle(self, plan: Plan, judge: Callable[[], object]) -> None:
        """Wait for the end state, and for a silence after it."""
        within = plan.within + self.pace.silence
        workload, silence = plan.workload, self.pace.silence

        async def is_settled() -> bool:
            if not await self._is_done(workload) or not await self._is_silent(silence):
                return False
            judged = judge()
            return bool(await judged if asyncio.iscoroutine(judged) else judged)

        last = [str(call) for call in self.lane.calls if call.writes][-5:]
        await self._until(is_settled, f"the end state, then silence (last: {last})", within)

    async def _is_done(self, workload: Workload) -> bool:
        found = await self._resources()
        judged = [each for each in found if each.get("status", {}).get("conditions")]
        ready = sum(map(is_ready, found))
        return (len(judged), len(found), ready) == (
            workload.resources,
            workload.resources,
            workload.ready,
        )

    async def _all_ready(self) -> bool:
        return all(map(is_ready, await self._resources()))

    async def _all_answer(self) -> bool:
        names = set((await announced(self.lane)).values())
        return not any([await call(self.lane, name) for name in names])

    async def _is_silent(self, seconds: float) -> bool:
        last = max((call.at for call in self.lane.calls if call.writes), default=0.0)
        return time.monotonic() - max(last, self._since) >= seconds

    async def _until(self, look: Callable[[], object], what: str, within: float) -> None:
        self._since = time.monotonic()

        async def look_now() -> bool:
            found = look()
            return bool(await found if asyncio.iscoroutine(found) else found)

        await self.lane.until(look_now, what, within=within * self.pace.patience, pause=0.5)

    async def _resources(self) -> list[Object]:
        return await self.lane.admin.list(self.lane.path("cnpgplugins", PLUGINS))

    async def _clean_up(self, workload: Workload) -> list[str]:
        """Delete all resources; give what is left of them."""
        for each in await self._resources():
            path = f"{self.lane.path('cnpgplugins', PLUGINS)}/{each['metadata']['name']}"
            await self.lane.admin.delete(path)
        left: list[str] = []

        async def is_clean() -> bool:
            nonlocal left
            if resources := await self._resources():
                left = [f"{each['metadata']['name']} is not deleted" for each in resources]
                return False
            await workload.undo(self.lane)
            after = await snapshot(self.lane.admin, self.lane.namespace)
            left = [*judge_leftovers(self._empty, after), *_changed(self._empty, after)]
            return not left

        try:
            await self._until(is_clean, "everything is deleted", GONE_WITHIN)
            await self._until(self.lane.cnpg_is_available, "CloudNativePG is available", 120)
        except TimeoutError as error:
            return [str(error), *left]
        return []

    async def _make_fit(self) -> None:
        """Make the lane as new, unless the last plan has left it so."""
        if self._is_fit:
            if not self.lane.runs:
                await self.lane.start()
            return
        await self.lane.end_operator()
        await self.lane.build()
        self._empty = await snapshot(self.lane.admin, self.lane.namespace)
        self._is_fit = True

    async def _keep_evidence(self, result: Result) -> None:
        """Write down what a person needs to find the cause."""
        file = self.lane.directory.parent / "evidence" / f"{result.plan.replace('/', ':')}.txt"
        file.parent.mkdir(exist_ok=True)
        resources = json.dumps(await self._resources(), indent=1)
        log = self.lane.log.read_text(errors="replace")[-20000:] if self.lane.log.exists() else ""
        begun = self.lane.calls[0].at if self.lane.calls else 0.0
        calls = [f"{call.at - begun:8.2f} {call}" for call in self.lane.calls]
        parts = (*result.violations, "requests:", *calls, "resources:", resources, "log:", log)
        file.write_text("\n".join(parts))


def unmasked(recording: Recording, state: State, may_leave: Sequence[str] = ()) -> list[str]:
    """Where a state differs from that of the undisturbed run, and neither always nor allowedly."""
    ignored = tuple(f"{each}:" for each in (*recording.mask, *may_leave))
    return [each for each in differences(recording.state, state) if not each.startswith(ignored)]


def _changed(before: State, after: State) -> list[str]:
    """What others own, and was changed."""
    return [each for each in differences(before, after) if each.partition(":")[0].count("/") > 1]
