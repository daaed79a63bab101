"""Puts the set of sidecars into CloudNativePG's Deployment: one plugin's pass does it for all.

A sidecar that the API server refuses keeps no other one out.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from cnpg_plugin_operator import errors
from cnpg_plugin_operator.api.conditions import Reason, Verdict, no
from cnpg_plugin_operator.api.deletion import Leaving
from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.cluster.clusters import name_busy
from cnpg_plugin_operator.cluster.sidecars import SidecarSnapshot
from cnpg_plugin_operator.decide.facts.cnpg_pod import HostFacts
from cnpg_plugin_operator.decide.registration.obstacles import LOOK_AGAIN
from cnpg_plugin_operator.decide.sidecar.rollout import Move, Placing, PlacingInput, decide_placing
from cnpg_plugin_operator.decide.sidecar.sidecar_set import Roster
from cnpg_plugin_operator.desired.objects import digest
from cnpg_plugin_operator.reconcile.environment import Environment
from cnpg_plugin_operator.reconcile.sidecar.candidates import seat
from cnpg_plugin_operator.reconcile.sidecar.mode_change import hide_services


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


REFUSING: Final = (
    errors.RejectedError,
    errors.ForbiddenError,
    RecursionError,
    TypeError,
    ValueError,
)
"""How an apply fails because of what is in it: it is invalid, admission refuses it, or it cannot
even be written as JSON."""


async def place(env: Environment, resource: Plugin | Leaving) -> Placed:
    """Bring CloudNativePG's Deployment closer to the set of sidecars that is wanted.

    Everything is read again under the namespace's lock: another pass may just have applied the set.
    """
    async with env.locks[resource.namespace]:
        seen = await env.sidecars.snapshot(resource)
        if seen.host is None:
            return Placed(Placing(Move.NOTHING))
        now = env.clock()
        roster = compose_set(env, resource.namespace, seen, seen.host, now)
        placing = _decide(env, resource.namespace, seen, seen.host, roster, now)
        if placing.move is not Move.APPLY:
            return Placed(placing, roster)
        coming = {
            name
            for name, seat in roster.seats.items()
            if seat.wanted is not None and seat.placed is not None
        }
        hidden = await hide_services(env, resource.namespace, seen.host.deployment, coming)
        # Without a pod, nothing rolls.
        rolled_at = now if seen.host.replicas else seen.cnpg[0].rolled_at
        try:
            await env.sidecars.apply(resource.namespace, seen.host, roster.template, rolled_at)
        except REFUSING as error:
            await _isolate(env, resource.namespace, seen, roster, error)
            roster = compose_set(env, resource.namespace, seen, seen.host, now)
            rest = Placing(Move.WAIT, "a sidecar was refused", LOOK_AGAIN)
            return Placed(rest if roster.drift else Placing(Move.NOTHING), roster)
        env.placements.settle(resource.namespace)
        for name in roster.changed:
            env.placements.accept(resource.namespace, name)
    if seen.host.replicas:
        env.metrics.restarts.labels(resource.namespace).inc()
    deployment = seen.host.deployment
    reason = f"sidecars change ({', '.join(sorted(roster.changed)) or roster.drift})"
    note = f"Deployment {deployment} is rolled: {reason}."
    return Placed(placing, roster, [*hidden, f"Deployment {deployment}"], reason, note)


def compose_set(
    env: Environment, namespace: str, seen: SidecarSnapshot, host: HostFacts, now: datetime
) -> Roster:
    """Compose the set of sidecars, as far as the API server takes them."""
    return seat(seen, host, env.policy, now, env.placements.refused(namespace, now))


async def _isolate(
    env: Environment, namespace: str, seen: SidecarSnapshot, roster: Roster, error: Exception
) -> None:
    """Find out which of the changed sidecars cannot be applied, and leave those out for a while.

    Each is tried alone, with the others as they are, in a dry run: it rolls nothing. Raises the
    error where no sidecar that is to come or to change is at fault.
    """
    now, host = env.clock(), seen.host
    coming = sorted(n for n in roster.changed if (s := roster.seats.get(n)) and s.placed)
    if host is None or not coming:
        raise error
    found: dict[str, Exception] = {}
    if roster.changed == {*coming} and len(coming) == 1:
        found = {coming[0]: error}
    else:
        for name in coming:
            alone = seat(seen, host, env.policy, now, only=name)
            try:
                await env.sidecars.apply(namespace, host, alone.template, None, dry_run=True)
            except REFUSING as refusal:
                found[name] = refusal
    # Where each could be applied alone, they only do not go together: the last one waits.
    for name, reason in (found or {coming[-1]: error}).items():
        placed = roster.seats[name].placed
        revision = placed.revision if placed is not None else ""
        env.placements.refuse(namespace, name, revision, _judge(host, reason), now)


def _judge(host: HostFacts, error: Exception) -> Verdict:
    """Say why a sidecar cannot be put into CloudNativePG's Deployment."""
    target = f"Deployment {host.deployment} cannot take the sidecar"
    # A ValidatingAdmissionPolicy refuses with status 422, like a schema, but says "is forbidden".
    if isinstance(error, errors.ForbiddenError) or "is forbidden:" in str(error):
        return no(Reason.PODS_REFUSED, f"{target}: {error}")
    if isinstance(error, errors.ClusterError):
        return no(Reason.INVALID_SPEC, f"{target}: {error}")
    kind = "nested too deep" if isinstance(error, RecursionError) else "no valid JSON"
    return no(Reason.INVALID_SPEC, f"{target}: a field of its spec is {kind}.")


def _decide(
    env: Environment,
    namespace: str,
    seen: SidecarSnapshot,
    host: HostFacts,
    roster: Roster,
    now: datetime,
) -> Placing:
    placements, cnpg = env.placements, seen.cnpg[0]
    wanted = digest([roster.template, sorted(roster.changed)])
    first, last = placements.note(namespace, wanted, now)
    placing = decide_placing(
        PlacingInput(
            differs=roster.drift is not None,
            forbidden=roster.forbidden,
            unblocking=roster.unblocking,
            expecting=roster.expecting,
            replicas=host.replicas,
            cnpg=cnpg,
            busy=tuple(name_busy(seen.clusters, cnpg.watches)),
            first=first,
            last=last,
            pace=env.policy.pace,
            now=now,
        )
    )
    if placing.move is Move.NOTHING:
        placements.settle(namespace)
    else:
        placements.wait(namespace, waiting=placing.move is Move.WAIT)
    return placing
