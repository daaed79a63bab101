"""Puts the set of sidecars into CloudNativePG's Deployment: one plugin's pass does it for all."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cnpg_plugin_operator import errors
from cnpg_plugin_operator.api.leaving import Leaving
from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.cluster.databases import name_busy
from cnpg_plugin_operator.cluster.sidecars import SidecarSnapshot
from cnpg_plugin_operator.decide.host_facts import HostFacts
from cnpg_plugin_operator.decide.placing import Move, Placing, PlacingInput, decide_placing
from cnpg_plugin_operator.decide.roster import Roster
from cnpg_plugin_operator.desired.objects import digest
from cnpg_plugin_operator.reconciler.seating import seat
from cnpg_plugin_operator.reconciler.tools import Tools


@dataclass(frozen=True, slots=True)
class Placed:
    """What became of the difference between a Deployment and what it is to hold."""

    placing: Placing
    roster: Roster | None = None
    """The set as it was composed; None where there is no Deployment."""
    wrote: list[str] = field(default_factory=list)
    reason: str = ""
    """What a roll that was begun just now is for."""
    note: str = ""
    """What to tell of it."""

    @property
    def after(self) -> timedelta | None:
        """When to decide again."""
        return self.placing.after or None


async def place(tools: Tools, plugin: Plugin | Leaving) -> Placed:
    """Bring CloudNativePG's Deployment closer to the set of sidecars that is wanted.

    Everything is read anew under the namespace's lock: another pass may just have applied the set.
    """
    async with tools.locks[plugin.namespace]:
        seen = await tools.sidecars.snapshot(plugin)
        if seen.host is None:
            return Placed(Placing(Move.NOTHING))
        now = tools.clock()
        roster = seat(seen, seen.host, tools.policy, now)
        placing = _decide(tools, plugin.namespace, seen, seen.host, roster, now)
        if placing.move is not Move.APPLY:
            return Placed(placing, roster)
        try:
            await tools.sidecars.apply(plugin.namespace, seen.host, roster.template)
        except (errors.RejectedError, errors.ForbiddenError):
            # By somebody's spec. If it is this one's, it is refused alone as well.
            roster = seat(seen, seen.host, tools.policy, now, alone=plugin.name)
            if roster.drift is None or roster.forbidden:
                move = Move.FORBIDDEN if roster.forbidden else Move.NOTHING
                return Placed(Placing(move), roster)
            await tools.sidecars.apply(plugin.namespace, seen.host, roster.template)
        tools.placements.settle(plugin.namespace)
    if seen.host.replicas:
        tools.metrics.restarts.labels(plugin.namespace).inc()
    deployment = seen.host.deployment
    reason = f"sidecars change ({', '.join(sorted(roster.changed)) or roster.drift})"
    note = f"Deployment {deployment} is rolled: {reason}."
    return Placed(placing, roster, [f"Deployment {deployment}"], reason, note)


def _decide(
    tools: Tools,
    namespace: str,
    seen: SidecarSnapshot,
    host: HostFacts,
    roster: Roster,
    now: datetime,
) -> Placing:
    placements, cnpg = tools.placements, seen.cnpg[0]
    wanted = digest([roster.template, sorted(roster.changed)])
    first, last = placements.note(namespace, wanted, now)
    placing = decide_placing(
        PlacingInput(
            differs=roster.drift is not None,
            forbidden=roster.forbidden,
            mending=not roster.changed.isdisjoint(roster.failing),
            expecting=any(roster.may_be_held(name) for name in roster.failing),
            replicas=host.replicas,
            cnpg=cnpg,
            busy=tuple(name_busy(seen.clusters, cnpg.watches)),
            first=first,
            last=last,
            pace=tools.policy.pace,
            now=now,
        )
    )
    if placing.move is Move.NOTHING:
        placements.settle(namespace)
    else:
        placements.wait(namespace, waiting=placing.move is Move.WAIT)
    return placing
