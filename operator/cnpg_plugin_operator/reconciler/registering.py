"""The last stage: how CloudNativePG is told, whether it took it, and the restart where it must."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from cnpg_plugin_operator.api.conditions import Reason, Verdict
from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.api.status import build_restart
from cnpg_plugin_operator.cluster import observe
from cnpg_plugin_operator.cluster.gather import Snapshot, with_record
from cnpg_plugin_operator.decide.announcing import announce, is_still_in_use
from cnpg_plugin_operator.decide.cnpg_facts import (
    Announcement,
    CNPGFacts,
    RestartRecord,
)
from cnpg_plugin_operator.decide.facts import Identity
from cnpg_plugin_operator.decide.freshness import (
    REBUILD_TIME,
    STALE_GRACE,
    choose_nudged,
    find_outdated,
    must_touch,
)
from cnpg_plugin_operator.decide.need import RegistrationInput, insists
from cnpg_plugin_operator.decide.registration import decide_registration
from cnpg_plugin_operator.decide.restart import (
    Action,
    RestartDecision,
    RestartInput,
    decide_restart,
)
from cnpg_plugin_operator.decide.versions import parse_version, reregisters
from cnpg_plugin_operator.desired.objects import digest
from cnpg_plugin_operator.desired.service import build_endpoint
from cnpg_plugin_operator.reconciler.certifying import Certified
from cnpg_plugin_operator.reconciler.reporting import note_restart
from cnpg_plugin_operator.reconciler.tools import Tools

SOON: Final = timedelta(seconds=5)
"""CloudNativePG registers a published Service within a second or two (1.30.0)."""

LOOK_AT_LEADER: Final = timedelta(milliseconds=125)
"""For each plugin that a restart is for, between two looks for the new leader: nothing wakes for a
Lease, and many plugins that ask at once would only slow CloudNativePG's start."""


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


def dial_hash(plugin: Plugin, cnpg: CNPGFacts, certified: Certified) -> str:
    """Digest what CloudNativePG dials and has to read anew when it changes.

    Versions that watch Secrets (#7029) read renewed certificates by themselves; the others go on
    presenting the former pair, and trusting the former certificates, until they are restarted.
    """
    endpoint, version = build_endpoint(plugin), parse_version(cnpg.version)
    if version is None or reregisters(version):
        return digest(endpoint)
    trusted = sorted(c.fingerprint for c in certified.trust.servers) if certified.trust else []
    return digest([endpoint, trusted, certified.client.fingerprint])


def announcing(
    plugin: Plugin,
    seen: Snapshot,
    live: Announcement | None,
    *,
    dialled: str,
    template: Mapping[str, Any],
    identity: Identity | None,
    now: datetime,
) -> Mapping[str, str]:
    """Give the annotations that announce a proven plugin, touched once more where that helps."""
    # With the uid, a resource that is made anew is another revision than its predecessor.
    facts = [plugin.uid, template, dialled, asdict(identity or Identity("", ""))]
    revision, outdated = digest(facts), find_outdated(seen.clusters, identity)
    return announce(
        live,
        build_endpoint(plugin),
        endpoint_hash=dialled,
        revision=revision,
        now=now,
        touched=must_touch(live, revision, outdated, seen.cnpg[0].version, now),
        replaces=is_still_in_use(plugin.spec.plugin_name, seen.cnpg[0]),
    )


async def judge(
    tools: Tools,
    plugin: Plugin,
    status: Mapping[str, Any],
    seen: Snapshot,
    announcement: Announcement,
    identity: Identity | None,
    registered: str,
    now: datetime,
) -> Step:
    """Judge the registration of an announcement; restart CloudNativePG if that is due."""
    given = RegistrationInput(
        name=plugin.name,
        service=plugin.service_name,
        policy=plugin.spec.restart_policy or tools.policy.restart_policy,
        announcement=announcement,
        cnpg=seen.cnpg[0],
        event=seen.event,
        clusters=seen.clusters,
        registered_revision=registered,
        now=now,
        identity=identity,
    )
    verdict = decide_registration(given)
    awaiting = verdict.reason in (Reason.AWAITING_REGISTRATION, Reason.REREGISTERING)
    step = Step(verdict, overdue=awaiting and now - announcement.announced_at >= SOON)
    replacing = verdict.reason is Reason.RESTARTING and bool(given.cnpg.olm)
    if verdict.reason is Reason.RESTART_PENDING or replacing:
        return await _restart(tools, plugin, status, given, step)
    if verdict.reason is Reason.RESTARTING:
        plugins = max(len(given.cnpg.restarted_for), 1)
        return replace(step, after=min(max(4, plugins), 16) * LOOK_AT_LEADER)
    if verdict.is_true:
        return await _refresh(tools, plugin, given, step)
    return step


async def _restart(
    tools: Tools,
    plugin: Plugin,
    status: Mapping[str, Any],
    given: RegistrationInput,
    step: Step,
) -> Step:
    """Restart CloudNativePG if now is the moment; one plugin at a time looks at its namespace."""
    namespace = plugin.namespace
    async with tools.locks[namespace]:
        looked = await _look(tools, plugin, given)
        if looked is None:
            return step
        cnpg, decision = looked
        match decision.action:
            case Action.NOTHING:
                return step
            case Action.WAIT:
                return _waiting(step, decision)
            case Action.DELETE_POD:
                await tools.restarter.delete_pod(namespace, cnpg, decision.pod)
                return replace(step, after=timedelta(seconds=1))
            case Action.RESTART:
                pass
        record = decision.record
        if record is None:
            return step
        if record != cnpg.record:
            await _note(tools, plugin, status, cnpg, record)
        if not cnpg.olm:
            await tools.restarter.restart(namespace, cnpg, record)
    tools.metrics.restarts.labels(namespace).inc()
    note = f"Deployment {cnpg.deployment} is restarted: {decision.reason}."
    return replace(step, restarted=note, record=record)


async def _look(
    tools: Tools, plugin: Plugin, given: RegistrationInput
) -> tuple[CNPGFacts, RestartDecision] | None:
    """Read anew what a restart is decided from, and decide; None where CloudNativePG is gone."""
    namespace, pace = plugin.namespace, tools.policy.pace
    siblings = await tools.gatherer.siblings(namespace)
    found = with_record(await tools.gatherer.cnpg(namespace, plugin.cnpg_reference), siblings)
    if len(found) != 1:
        return None
    now = tools.clock()
    published = await tools.gatherer.published(namespace)
    decision = decide_restart(
        RestartInput(
            cnpg=found[0],
            published=published,
            coming=sum(
                observe.may_become_ready(body, now - pace.settle_max)
                and body["metadata"]["name"] not in published
                for body in siblings
            ),
            pace=pace,
            now=now,
            busy=tuple(await tools.gatherer.busy_clusters(found[0].watches)),
            asking=plugin.name,
            insisting=insists(given),
            known=_known(siblings, published),
        )
    )
    return found[0], decision


def _known(
    siblings: Iterable[Mapping[str, Any]], published: Mapping[str, Announcement]
) -> frozenset[str]:
    """Name the resources whose status calls their announced revision registered."""
    registered = {
        body["metadata"]["name"]: ((body.get("status") or {}).get("cnpg") or {}).get(
            "registeredRevision"
        )
        for body in siblings
    }
    return frozenset(
        name for name, each in published.items() if registered.get(name) == each.revision
    )


async def _note(
    tools: Tools,
    plugin: Plugin,
    status: Mapping[str, Any],
    cnpg: CNPGFacts,
    record: RestartRecord,
) -> None:
    """Write down a restart before it is asked for, where nobody takes it back."""
    section = {**(status.get("cnpg") or {}), "deployment": cnpg.deployment}
    section["lastRestart"] = build_restart(note_restart(record))
    await tools.writer.report(plugin, {**status, "cnpg": section})


def _waiting(step: Step, decision: RestartDecision) -> Step:
    """Say what a restart waits for."""
    verdict = step.verdict
    message = f"{verdict.message.removesuffix('.')}. It waits: {decision.reason}."
    return replace(step, verdict=replace(verdict, message=message), after=decision.after)


async def _refresh(tools: Tools, plugin: Plugin, given: RegistrationInput, step: Step) -> Step:
    """Nudge the Clusters that would not notice, as far as it is allowed; look again if some lag."""
    waited = given.now - given.announcement.announced_at
    users = [cluster for cluster in given.clusters if cluster.plugin_status is not None]
    waits = [t - waited for t in (REBUILD_TIME, STALE_GRACE) if waited < t]
    after = min(waits, default=None) if users else None
    chosen = choose_nudged(
        given.clusters, given.identity, given.announcement, given.cnpg.version, given.now
    )
    if not plugin.spec.nudge_clusters or not tools.policy.grants.nudging:
        return replace(step, after=after)
    for cluster in chosen:
        await tools.restarter.nudge(cluster, plugin.name, given.announcement.revision)
    named = tuple(f"Cluster {cluster.namespace}/{cluster.name}" for cluster in chosen)
    return replace(step, after=after, nudged=named)
