"""When a take-over scales the previous Deployment, so that one Lease is not fought over.

Many plugins listen only on the pod that holds a leader election Lease. The new pods then run and
wait, until the previous ones give the Lease back. That is the only moment in which no pod serves,
so the previous Deployment goes last, and comes back if the plugin does not serve soon. The record
is on that Deployment, so an operator that is killed at any point goes on from there.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from cnpg_plugin_operator.api.conditions import Reason, Status, Verdict, no, unknown
from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.decide import first
from cnpg_plugin_operator.decide.facts.take_over import Previous, PreviousDeployment, Scaling

TRIAL: Final = timedelta(seconds=60)
"""How long the plugin may take to serve without the previous one: a Lease that was not given back
takes 15 s to expire (controller-runtime's default), and is tried for every 2 s."""

WAITING: Final = frozenset({Reason.NOT_LISTENING, Reason.UNREACHABLE})
"""How a plugin looks that waits for a Lease: not ready, or ready by a probe of another port."""


@dataclass(frozen=True, slots=True)
class ScalingInput:
    """The input of the decision."""

    plugin: Plugin
    previous: Previous
    verdict: Verdict
    """The plugin's verdict so far, of its pods or of the handshake."""
    now: datetime

    @property
    def cause(self) -> str:
        """What a scaling is for: each change of the spec is tried again."""
        return find_cause(self.plugin)

    @property
    def scaled(self) -> tuple[PreviousDeployment, ...]:
        """The Deployments that were scaled for this generation."""
        return tuple(each for each in self.previous.deployments if _is_for(each, self.cause))

    @property
    def names(self) -> str:
        """Names the previous Deployments."""
        return ", ".join(each.name for each in self.previous.deployments)


@dataclass(frozen=True, slots=True)
class Step:
    """What comes next."""

    verdict: Verdict
    """What the condition says instead."""
    scale: tuple[tuple[str, int, Scaling], ...] = ()
    """Deployments to scale, with their replicas and the record."""
    look: datetime | None = None
    """When to look again."""


def find_cause(plugin: Plugin) -> str:
    """Name the resource and generation that a scaling is for."""
    return f"{plugin.uid}/{plugin.generation}"


def gave_way(plugin: Plugin, previous: Previous | None) -> bool:
    """Whether the plugin must not run, because the previous one was scaled up in its place."""
    if previous is None or not previous.published:
        return False
    cause = find_cause(plugin)
    return any(_is_for(d, cause) and _is_restored(d) for d in previous.deployments)


def decide_scaling(given: ScalingInput) -> Step | None:
    """Decide the next step; None where there is nothing to do but to wait for the plugin."""
    return first(CHECKS, given) if given.previous.published else None


def _failed(given: ScalingInput) -> Step | None:
    """The previous Deployment was scaled up again."""
    if not any(_is_restored(each) for each in given.scaled):
        return None
    return Step(
        no(
            Reason.TAKE_OVER_FAILED,
            f"The plugin did not serve within {TRIAL.seconds} s after Deployment {given.names} was "
            "scaled to zero, so that one serves again, and this plugin does not run. Correct the "
            "spec: every change of it is tried.",
        )
    )


def _trying(given: ScalingInput) -> Step | None:
    """The previous Deployment is scaled to zero; the plugin has to serve now."""
    if not given.scaled or given.verdict.is_true:
        return None
    records = [(each, each.scaling) for each in given.scaled if each.scaling is not None]
    ends = max(record.at for _, record in records) + TRIAL
    if given.now < ends:
        return Step(
            unknown(
                Reason.ROLLOUT_IN_PROGRESS,
                f"Deployment {given.names} is scaled to zero, so that this plugin gets its Lease: "
                f"{given.verdict.message}",
            ),
            look=ends,
        )
    back = tuple((d.name, r.replicas, replace(r, restored=True)) for d, r in records)
    return Step(
        no(
            Reason.TAKE_OVER_FAILED,
            f"The plugin does not serve: Deployment {given.names} is scaled up again. Last: "
            f"{given.verdict.message}",
        ),
        back,
        given.now + timedelta(seconds=1),
    )


def _held(given: ScalingInput) -> Step | None:
    """The plugin's pods run and wait, and pods of the previous installation hold a Lease."""
    running = [each for each in given.previous.deployments if each.replicas > 0]
    waits = given.verdict.reason in WAITING and given.verdict.status is Status.FALSE
    take_over = given.plugin.spec.take_over
    if not (waits and running and given.previous.leases) or take_over is None:
        return None
    leases = ", ".join(given.previous.leases)
    held = f"Pods of Deployment {given.names}, which CloudNativePG uses, hold Lease {leases}"
    if take_over.scale_down == "Never":
        return Step(
            no(
                given.verdict.reason,
                f"{held}, and this plugin seems to wait for it. spec.takeOver.scaleDown is Never: "
                f"scale that Deployment to zero yourself. {given.verdict.message}",
            )
        )
    at = given.now.replace(microsecond=0)
    down = tuple((d.name, 0, Scaling(at, given.cause, d.replicas)) for d in running)
    return Step(
        unknown(
            Reason.ROLLOUT_IN_PROGRESS,
            f"{held}, and this plugin waits for it: that Deployment is scaled to zero.",
        ),
        down if given.previous.recorded else (),
        given.now + timedelta(seconds=1),
    )


CHECKS: Final = (_failed, _trying, _held)
"""In order: how it ended, how it goes, whether it begins."""


def _is_for(deployment: PreviousDeployment, cause: str) -> bool:
    return deployment.scaling is not None and deployment.scaling.cause == cause


def _is_restored(deployment: PreviousDeployment) -> bool:
    return deployment.scaling is not None and deployment.scaling.restored
