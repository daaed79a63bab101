"""The restart of CloudNativePG: decided once for all plugins, recorded, then requested."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from cnpg_plugin_operator.api.plugin import names_sidecar
from cnpg_plugin_operator.cluster import kinds, observe
from cnpg_plugin_operator.cluster.clusters import ClusterRecord, name_busy
from cnpg_plugin_operator.decide.facts.cnpg import Announcement, CNPGFacts
from cnpg_plugin_operator.decide.registration.restart import (
    Action,
    Pace,
    RestartDecision,
    RestartInput,
    RestartNeed,
    decide_restart,
    find_uncovered,
)
from cnpg_plugin_operator.errors import ForbiddenError
from cnpg_plugin_operator.reconcile.records import Records
from cnpg_plugin_operator.reconcile.sidecar.mode_change import hide_services
from cnpg_plugin_operator.reconcile.stages import Progress
from cnpg_plugin_operator.reconcile.writes import Delete, RestartCNPG

REFUSED_AGAIN: Final = timedelta(seconds=10)
"""Pause before a refused deletion of a pod is tried again: no event reports a granted right."""

NEXT_POD: Final = timedelta(seconds=1)
"""Pause before CloudNativePG's next pod is evaluated, after one was deleted."""

RECORDED: Final = timedelta(seconds=0.1)
"""Until what was recorded or requested is looked at."""

EVENT_REASON: Final = "RestartingCNPG"


@dataclass(frozen=True, slots=True)
class Restarting:
    """The outcome of the plugins' need for a restart."""

    decision: RestartDecision | None = None
    refused: tuple[str, str] | None = None
    """The pod that the operator may not delete, and the API server's message."""
    after: timedelta | None = None


def plan_restart(
    cnpg: CNPGFacts,
    needs: Mapping[str, RestartNeed],
    resources: Collection[Mapping[str, Any]],
    services: Collection[Mapping[str, Any]],
    clusters: Collection[ClusterRecord],
    *,
    pace: Pace,
    sidecars_change: bool,
    now: datetime,
) -> tuple[RestartInput, RestartDecision]:
    """Decide whether CloudNativePG is restarted now."""
    published = read_published(services, now)
    given = RestartInput(
        cnpg=cnpg,
        needs=needs,
        published=published,
        coming=sum(
            observe.may_become_ready(body, now - pace.settle_max)
            and body["metadata"]["name"] not in published
            and not names_sidecar(body.get("spec"))
            for body in resources
        ),
        pace=pace,
        now=now,
        busy=tuple(name_busy(clusters, cnpg.watches)),
        sidecars_change=sidecars_change,
    )
    return given, decide_restart(given)


async def restart_cnpg(
    progress: Progress,
    given: RestartInput,
    decision: RestartDecision,
    records: Records,
    services: Collection[Mapping[str, Any]],
    coming: Collection[str],
) -> Restarting:
    """Carry out a decision. `coming` names the sidecars that CloudNativePG's next pods contain."""
    cnpg, record = given.cnpg, decision.record
    match decision.action:
        case Action.WAIT:
            return Restarting(decision, after=decision.after)
        case Action.DELETE_POD:
            uid = next((e.pod.uid for e in cnpg.pods if e.pod.name == decision.pod), None)
            try:
                await progress.make(Delete(kinds.POD, cnpg.namespace, decision.pod, uid))
            except ForbiddenError as error:
                refused = (decision.pod, str(error))
                return Restarting(decision, refused, after=REFUSED_AGAIN)
            return Restarting(decision, after=NEXT_POD)
        case Action.RESTART if record is not None:
            pass
        case _:
            return Restarting()
    names = sorted(record.revisions)
    await progress.make(*records.record_restart(names, cnpg.deployment, record))
    if not cnpg.olm:
        await hide_services(progress, cnpg, services, coming)
        await progress.make(RestartCNPG(cnpg, record))
    progress.env.metrics.restarts.labels(cnpg.namespace).inc()
    message = f"Deployment {cnpg.deployment} is restarted: {decision.reason}."
    await progress.make(*records.record_event(sorted(find_uncovered(given)), EVENT_REASON, message))
    return Restarting(replace(decision, record=None), after=RECORDED)


def read_published(
    services: Collection[Mapping[str, Any]], now: datetime
) -> dict[str, Announcement]:
    """Read what all plugins of a namespace have announced, by the names of their resources."""
    read = {observe.plugin_of(body): observe.read_service(body, now) for body in services}
    return {name: each.announcement for name, each in read.items() if each.announcement is not None}
