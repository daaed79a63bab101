"""The restart of CloudNativePG: decided for a namespace under its lock, noted, then asked for."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final

from cnpg_plugin_operator.api.conditions import Verdict
from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.api.spec import Mode
from cnpg_plugin_operator.api.status import build_restart, read_status
from cnpg_plugin_operator.api.untrusted import mapping
from cnpg_plugin_operator.cluster import observe
from cnpg_plugin_operator.cluster.plugins import with_record
from cnpg_plugin_operator.decide.facts.cnpg import Announcement, CNPGFacts, RestartRecord
from cnpg_plugin_operator.decide.registration.registration import refuse_deletion
from cnpg_plugin_operator.decide.registration.restart import (
    Action,
    RestartDecision,
    RestartInput,
    decide_restart,
)
from cnpg_plugin_operator.errors import ForbiddenError
from cnpg_plugin_operator.reconcile.environment import Environment
from cnpg_plugin_operator.reconcile.sidecar.mode_change import hide_services
from cnpg_plugin_operator.reconcile.status import note_restart

REFUSED_AGAIN: Final = timedelta(seconds=10)
"""Until a refused deletion of a pod is tried again: no event tells of a right that is granted."""


@dataclass(frozen=True, slots=True)
class Step:
    """How far the registration got."""

    verdict: Verdict
    overdue: bool = False
    """Whether CloudNativePG takes longer than it should: no reason to ask it ever so often."""
    restarted: str = ""
    """What to tell of a restart that was asked for just now; empty where it was not."""
    record: RestartRecord | None = None
    """The note of that restart."""
    after: timedelta | None = None
    """When to decide again."""
    nudged: tuple[str, ...] = ()
    """The Clusters that were annotated."""


async def restart_cnpg(
    env: Environment,
    plugin: Plugin,
    status: Mapping[str, Any],
    step: Step,
    *,
    insisting: bool = False,
    late: Announcement | None = None,
) -> Step:
    """Restart CloudNativePG if now is the moment; one plugin at a time looks at its namespace.

    `late` stands for a sidecar that CloudNativePG started too early for.
    """
    namespace = plugin.namespace
    async with env.locks[namespace]:
        looked = await _look(env, plugin, insisting, {plugin.name: late} if late else {})
        if looked is None:
            return step
        cnpg, decision = looked
        match decision.action:
            case Action.NOTHING:
                return step
            case Action.WAIT:
                return _waiting(step, decision)
            case Action.DELETE_POD:
                return await _delete_pod(env, namespace, cnpg, decision.pod, step)
            case Action.RESTART:
                pass
        record = decision.record
        if record is None:
            return step
        if record != cnpg.record:
            await _note(env, plugin, status, cnpg, record)
        if not cnpg.olm:
            coming = await _find_sidecars(env, namespace, cnpg)
            await hide_services(env, namespace, cnpg.deployment, coming)
            await env.restarter.restart(namespace, cnpg, record)
    env.metrics.restarts.labels(namespace).inc()
    note = f"Deployment {cnpg.deployment} is restarted: {decision.reason}."
    return replace(step, restarted=note, record=record)


async def _delete_pod(
    env: Environment, namespace: str, cnpg: CNPGFacts, pod: str, step: Step
) -> Step:
    """Delete a pod of CloudNativePG; say what is missing where the operator may not."""
    try:
        await env.restarter.delete_pod(namespace, cnpg, pod)
    except ForbiddenError as error:
        verdict = refuse_deletion(cnpg, namespace, pod, str(error))
        return replace(step, verdict=verdict, after=REFUSED_AGAIN)
    return replace(step, after=timedelta(seconds=1))


async def _look(
    env: Environment,
    plugin: Plugin,
    insisting: bool,  # noqa: FBT001 - handed on
    late: Mapping[str, Announcement],
) -> tuple[CNPGFacts, RestartDecision] | None:
    """Read anew what a restart is decided from, and decide; None where CloudNativePG is gone."""
    namespace, pace = plugin.namespace, env.policy.pace
    siblings = await env.gatherer.siblings(namespace)
    located, now = await env.gatherer.cnpg(namespace, plugin.cnpg_reference), env.clock()
    found = with_record(located, siblings, now)
    if len(found) != 1:
        return None
    published = {**await env.gatherer.published(namespace), **late}
    decision = decide_restart(
        RestartInput(
            cnpg=found[0],
            published=published,
            coming=sum(
                observe.may_become_ready(body, now - pace.settle_max)
                and body["metadata"]["name"] not in published
                and mapping(body.get("spec")).get("mode") != Mode.SIDECAR
                for body in siblings
            ),
            pace=pace,
            now=now,
            busy=tuple(await env.gatherer.busy_clusters(found[0].watches)),
            asking=plugin.name,
            insisting=insisting,
            known=_known(siblings, published),
            placing=env.placements.is_waiting(namespace, now),
        )
    )
    return found[0], decision


async def _find_sidecars(env: Environment, namespace: str, cnpg: CNPGFacts) -> frozenset[str]:
    """Name the resources whose sidecars CloudNativePG's next pods hold, as their specs want it."""
    if not cnpg.sidecars:
        return frozenset()
    return frozenset(
        body["metadata"]["name"]
        for body in await env.gatherer.siblings(namespace)
        if (body.get("spec") or {}).get("mode") == Mode.SIDECAR
        and not body["spec"].get("suspend")
        and body["metadata"]["name"] in cnpg.sidecars
    )


def _known(
    siblings: Iterable[Mapping[str, Any]], published: Mapping[str, Announcement]
) -> frozenset[str]:
    """Name the resources whose status calls their announced revision registered."""
    registered = {
        body["metadata"]["name"]: mapping(read_status(body).get("cnpg")).get("registeredRevision")
        for body in siblings
    }
    return frozenset(
        name for name, each in published.items() if registered.get(name) == each.revision
    )


async def _note(
    env: Environment,
    plugin: Plugin,
    status: Mapping[str, Any],
    cnpg: CNPGFacts,
    record: RestartRecord,
) -> None:
    """Write down a restart before it is asked for, where nobody takes it back."""
    section = {**(status.get("cnpg") or {}), "deployment": cnpg.deployment}
    section["lastRestart"] = build_restart(note_restart(record))
    await env.writer.report(plugin, {**status, "cnpg": section})


def _waiting(step: Step, decision: RestartDecision) -> Step:
    """Say what a restart waits for."""
    verdict = step.verdict
    message = f"{verdict.message.removesuffix('.')}. It waits: {decision.reason}."
    return replace(step, verdict=replace(verdict, message=message), after=decision.after)
