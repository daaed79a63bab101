"""The last stage: whether CloudNativePG took an announcement, and the restart where it must."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from cnpg_plugin_operator.api.conditions import Reason, Verdict
from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.cluster.gather import Snapshot
from cnpg_plugin_operator.decide.facts import Announcement
from cnpg_plugin_operator.decide.registration import RegistrationInput, decide_registration
from cnpg_plugin_operator.decide.restart import Action, RestartInput, decide_restart
from cnpg_plugin_operator.reconciler.tools import Tools

SOON: Final = timedelta(seconds=5)
"""CloudNativePG registers a published Service within a second or two (1.30.0)."""


@dataclass(frozen=True, slots=True)
class Step:
    """How far the registration got."""

    verdict: Verdict
    overdue: bool = False
    """Whether CloudNativePG takes longer than it should: no reason to ask it ever so often."""
    restarted: str = ""
    """What to tell of a restart that was asked for just now; empty where it was not."""
    after: timedelta | None = None
    """When a restart that waits is to be decided on again."""


async def judge(
    tools: Tools,
    plugin: Plugin,
    seen: Snapshot,
    announcement: Announcement,
    registered: str,
    now: datetime,
) -> Step:
    """Judge the registration of an announcement; restart CloudNativePG if that is due."""
    verdict = decide_registration(
        RegistrationInput(
            name=plugin.name,
            service=plugin.service_name,
            policy=plugin.spec.restart_policy or tools.policy.restart_policy,
            announcement=announcement,
            cnpg=seen.cnpg[0],
            event=seen.event,
            clusters=seen.clusters,
            registered_revision=registered,
            now=now,
        )
    )
    waited = now - announcement.announced_at
    awaiting = verdict.reason in (Reason.AWAITING_REGISTRATION, Reason.REREGISTERING)
    step = Step(verdict, overdue=awaiting and waited >= SOON)
    if verdict.reason is Reason.RESTART_PENDING:
        return await _restart(tools, plugin.namespace, step)
    return step


async def _restart(tools: Tools, namespace: str, step: Step) -> Step:
    """Restart CloudNativePG if now is the moment; one plugin at a time looks at its namespace."""
    async with tools.locks[namespace]:
        found = await tools.gatherer.cnpg(namespace)
        if len(found) != 1:
            return step
        now, pace = tools.clock(), tools.policy.pace
        published = await tools.gatherer.published(namespace)
        siblings = await tools.gatherer.siblings(namespace)
        decision = decide_restart(
            RestartInput(
                cnpg=found[0],
                published=published,
                coming=await tools.gatherer.coming(namespace, published, now - pace.settle_max),
                pace=pace,
                now=now,
                known=_known(siblings, published),
            )
        )
        if decision.action is Action.WAIT:
            return replace(step, after=decision.after)
        if decision.action is Action.NOTHING:
            return step
        await tools.writer.restart_cnpg(namespace, found[0], decision.revisions, now)
    tools.metrics.restarts.labels(namespace).inc()
    note = f"Deployment {found[0].deployment} is restarted: {decision.reason}."
    return replace(step, restarted=note)


def _known(
    siblings: Iterable[Mapping[str, Any]], published: Mapping[str, Announcement]
) -> frozenset[str]:
    """Name the plugins whose status calls the announced revision registered."""
    registered = {
        body["metadata"]["name"]: ((body.get("status") or {}).get("cnpg") or {}).get(
            "registeredRevision"
        )
        for body in siblings
    }
    return frozenset(n for n, a in published.items() if registered.get(n) == a.revision)
