"""How a plugin takes over from its previous installation: what each stage of the pass plans for it.

The plugin runs and is proven beside the previous installation, which CloudNativePG keeps using.
Then there are two ways.
- Its own Service is another one: that is announced first, then the previous Service gets another
  plugin's name. CloudNativePG has one entry for each name, and the last announcement counts; at
  every moment there is one.
- Its own Service is the previous one: one write changes its pods and what CloudNativePG dials. For
  some seconds calls reach pods of both, so CloudNativePG goes on to present the previous pair,
  which both accept, and trusts both. The registration stage then announces the plugin's own pair.

Nothing of the previous installation is deleted; the status says what is left of it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.conditions import Reason, Verdict, unknown
from cnpg_plugin_operator.api.plugin import Plugin, Resource
from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.cluster.take_over import Scaled
from cnpg_plugin_operator.decide.facts.take_over import Previous
from cnpg_plugin_operator.decide.registration.announcement import announce
from cnpg_plugin_operator.decide.workload.take_over import ScalingInput, decide_scaling
from cnpg_plugin_operator.desired.objects import Object, digest
from cnpg_plugin_operator.desired.service import build_endpoint
from cnpg_plugin_operator.desired.take_over import (
    build_adoption,
    build_retirement,
    build_scaling,
)
from cnpg_plugin_operator.reconcile.context import Context
from cnpg_plugin_operator.reconcile.registration.registration import build_revision, plan_rivals
from cnpg_plugin_operator.reconcile.stages import NOTHING, Plan
from cnpg_plugin_operator.reconcile.writes import PatchPrevious, RecordEvent

ADOPT: Final = "take it over: its label stays, its pods are the plugin's from now on"
RETIRE: Final = "let CloudNativePG use the plugin's own Service only"
SCALE: Final = "scale it, so that one of two plugins gets the Lease that both need"
"""What the changes of a previous installation are for."""

SCALING: Final = "ScalingPreviousDeployment"
"""Reason of the Event about a previous Deployment that is scaled."""

LOOK_FOR_LEFT: Final = timedelta(seconds=30)
"""How often to look what is still left: no watch tells of most of it."""

LEFT: Final = "PreviousInstallationLeft"
"""Reason of the Event about what can be deleted."""


def plan_scaling(context: Context, plan: Plan) -> Plan:
    """Add what the previous Deployment's scale makes of a plan that judges the plugin."""
    plugin, previous, verdict = context.plugin, context.seen.previous, plan.verdict
    if previous is None or verdict is None:
        return plan
    step = decide_scaling(ScalingInput(plugin, previous, verdict, context.now))
    if step is None:
        return plan
    scales = tuple(
        _patch(plugin, kinds.DEPLOYMENT, name, build_scaling(replicas, scaling), SCALE)
        for name, replicas, scaling in step.scale
    )
    reported = (RecordEvent(plugin, SCALING, step.verdict.message),) if scales else ()
    looks = (step.look,) if step.look is not None else ()
    return Plan(step.verdict, (*plan.writes, *scales, *reported), (*plan.looks, *looks))


def restore_scale(resource: Resource, scaled: Iterable[Scaled]) -> tuple[PatchPrevious, ...]:
    """Plan to scale up again what was scaled to zero for a resource that goes."""
    return tuple(
        _patch(
            resource,
            kinds.DEPLOYMENT,
            name,
            build_scaling(scaling.replicas, replace(scaling, restored=True)),
            SCALE,
        )
        for name, scaling in scaled
    )


def plan_adoption(
    context: Context, template: Mapping[str, Any], final: Mapping[str, str] | None
) -> Plan:
    """Plan to make the previous Service the plugin's own.

    `final` is the plugin's own announcement, None where pods of the previous installation would not
    accept what CloudNativePG would present then.
    """
    plugin, previous = context.plugin, context.seen.previous
    if previous is None or not previous.recorded:
        # The status has to say first what was behind the Service.
        return Plan(_await_adoption(plugin, "is taken over next"))
    annotations = final or _bridge(context, template)
    live = context.live["Service", plugin.service_name] or {}
    patch = build_adoption(context.build_service(annotations), live)
    write = _patch(plugin, kinds.SERVICE, plugin.service_name, patch, ADOPT)
    return Plan(_await_adoption(plugin, "is taken over; CloudNativePG registers it"), (write,))


def _await_adoption(plugin: Plugin, what: str) -> Verdict:
    return unknown(Reason.AWAITING_REGISTRATION, f"Service {plugin.service_name} {what}.")


def _bridge(context: Context, template: Mapping[str, Any]) -> Mapping[str, str]:
    """Announce the plugin's trust, and the pair that CloudNativePG presents already."""
    plugin = context.plugin
    endpoint = {**build_endpoint(plugin), names.cnpg.CLIENT_SECRET: context.announced_client}
    dialled = digest(endpoint)
    return announce(
        None,
        endpoint,
        endpoint_hash=dialled,
        revision=build_revision(plugin, template, dialled),
        now=context.now,
    )


def plan_retirement(context: Context) -> Plan:
    """Plan that CloudNativePG uses no other Service than the plugin's own, just announced."""
    plugin, previous = context.plugin, context.seen.previous
    if previous is None or not previous.published or plugin.adopts:
        return NOTHING
    patch = build_retirement(plugin)
    retired = _patch(plugin, kinds.SERVICE, previous.service, patch, RETIRE)
    return Plan(writes=(*plan_rivals(context), retired))


def _patch(
    resource: Resource, kind: kinds.Kind, name: str, patch: Object, purpose: str
) -> PatchPrevious:
    return PatchPrevious(kind, resource.namespace, name, patch, purpose)


def plan_leftovers(context: Context, plan: Plan, *, first: bool) -> Plan:
    """Add to the plan of a registered plugin what can be deleted now; `first` as an Event, too."""
    previous, verdict = context.seen.previous, plan.verdict
    if previous is None or not previous.left or verdict is None or not verdict.is_true:
        return plan
    words = describe_left(previous)
    told = (RecordEvent(context.plugin, LEFT, words),) if first else ()
    verdict = Verdict(verdict.status, verdict.reason, f"{verdict.message} {words}")
    return Plan(verdict, (*plan.writes, *told), (*plan.looks, context.now + LOOK_FOR_LEFT))


def describe_left(previous: Previous) -> str:
    """Say how to delete what is left."""
    namespace = previous.left[0][1]
    objects = " ".join(f"{kind.lower()}/{name}" for kind, _, name in previous.left)
    return (
        "Nothing uses the previous installation any more; to delete what is left of it: kubectl "
        f"delete -n {namespace} {objects}"
    )
