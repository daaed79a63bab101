"""The last stage: how CloudNativePG is told, whether it took it, and whether it must restart."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from cnpg_plugin_operator.api.conditions import Reason, Type, Verdict
from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.cluster.snapshot import Snapshot
from cnpg_plugin_operator.decide.facts.cnpg import Announcement, CNPGFacts
from cnpg_plugin_operator.decide.facts.cnpg_versions import parse_version, reregisters
from cnpg_plugin_operator.decide.facts.plugin import Identity
from cnpg_plugin_operator.decide.registration.announcement import announce, is_still_in_use
from cnpg_plugin_operator.decide.registration.cluster_reports import (
    REBUILD_TIME,
    STALE_GRACE,
    choose_nudged,
    nudge_token,
)
from cnpg_plugin_operator.decide.registration.registration import (
    decide_registration,
    refuse_deletion,
)
from cnpg_plugin_operator.decide.registration.restart import Action, RestartNeed
from cnpg_plugin_operator.decide.registration.restart_need import RegistrationInput, insists
from cnpg_plugin_operator.decide.registration.touch import (
    REMEDY_TAKES,
    TouchInput,
    decide_touch,
    find_blocked,
)
from cnpg_plugin_operator.desired.objects import digest
from cnpg_plugin_operator.desired.service import build_endpoint
from cnpg_plugin_operator.reconcile.certificates.certificates import Certified
from cnpg_plugin_operator.reconcile.environment import Environment
from cnpg_plugin_operator.reconcile.shared import CNPGView

SOON: Final = timedelta(seconds=5)
"""CloudNativePG registers a published Service within a second or two (1.30.0)."""


def dial_hash(plugin: Plugin, cnpg: CNPGFacts, certified: Certified) -> str:
    """Digest what CloudNativePG dials and has to read again when it changes.

    Versions that watch Secrets (#7029) read renewed certificates by themselves; the others go on
    presenting the previous pair, and trusting the previous certificates, until they are restarted.
    """
    endpoint, version = build_endpoint(plugin), parse_version(cnpg.version)
    if version is None or reregisters(version):
        return digest(endpoint)
    trusted = sorted(c.fingerprint for c in certified.trust.servers) if certified.trust else []
    return digest([endpoint, trusted, certified.client.fingerprint])


def announcing(
    plugin: Plugin,
    cnpg: CNPGFacts,
    seen: Snapshot,
    live: Announcement | None,
    *,
    dialled: str,
    template: Mapping[str, Any],
    identity: Identity | None,
    now: datetime,
) -> Mapping[str, str]:
    """Give the annotations that announce a proven plugin, touched once more where that helps."""
    # With the uid, a resource of the same name that is created later is another revision. What the
    # plugin says of itself is no part of it: it may say something else every time.
    revision, touch = digest([plugin.uid, template, dialled]), None
    if live is not None:
        given = TouchInput(live, cnpg, seen.clusters, identity, seen.rival, now)
        touch = decide_touch(given, revision)
    return announce(
        live,
        build_endpoint(plugin),
        endpoint_hash=dialled,
        revision=revision,
        now=now,
        touch=touch,
        replaces=is_still_in_use(plugin.spec.plugin_name, cnpg),
    )


@dataclass(frozen=True, slots=True)
class Registering:
    """How far the registration got."""

    verdict: Verdict
    overdue: bool = False
    """Whether CloudNativePG takes longer than it should: no reason to ask it often."""
    need: RestartNeed | None = None
    """The restart that the plugin needs."""
    after: timedelta | None = None
    """When to decide again."""
    nudged: tuple[str, ...] = ()
    """The Clusters that were annotated."""


async def judge(
    env: Environment,
    plugin: Plugin,
    view: CNPGView,
    seen: Snapshot,
    announcement: Announcement,
    identity: Identity | None,
    registered: str,
    now: datetime,
) -> Registering:
    """Judge the registration of an announcement, and say whether it needs a restart."""
    given = RegistrationInput(
        name=plugin.name,
        service=plugin.service_name,
        policy=plugin.spec.restart_policy or env.settings.restart_policy,
        announcement=announcement,
        cnpg=view.cnpg[0],
        event=seen.event,
        clusters=seen.clusters,
        registered_revision=registered,
        now=now,
        identity=identity,
    )
    verdict = decide_registration(given)
    awaiting = verdict.reason in (Reason.AWAITING_REGISTRATION, Reason.REREGISTERING)
    step = Registering(verdict, overdue=awaiting and now - announcement.told_at >= SOON)
    replacing = verdict.reason is Reason.RESTARTING and bool(given.cnpg.olm)
    if verdict.reason is Reason.RESTART_PENDING or replacing:
        need = RestartNeed(announcement.revision, announcement.announced_at, insists(given))
        return Registering(await_restart(verdict, view), need=need)
    if verdict.is_true:
        step = await _refresh(env, plugin, given, step)
        if find_blocked(given.clusters):
            # It may be for a moment; nothing wakes while it stays so.
            step = replace(step, after=min(step.after or REMEDY_TAKES, REMEDY_TAKES))
    return step


def await_restart(verdict: Verdict, view: CNPGView) -> Verdict:
    """Say what a restart that a plugin needs waits for, as its namespace's pass decided."""
    if (error := view.failed.get(Type.REGISTERED)) is not None:
        raise error
    cnpg = view.cnpg[0]
    if view.refused is not None:
        return refuse_deletion(cnpg, cnpg.namespace, *view.refused)
    if view.restart is None or view.restart.action is not Action.WAIT:
        return verdict
    message = f"{verdict.message.removesuffix('.')}. It waits: {view.restart.reason}."
    return replace(verdict, message=message)


async def _refresh(
    env: Environment, plugin: Plugin, given: RegistrationInput, step: Registering
) -> Registering:
    """Nudge the Clusters that would not notice, as far as it is allowed; look again if some lag."""
    waited = given.now - given.announcement.told_at
    users = [cluster for cluster in given.clusters if cluster.plugin_status is not None]
    waits = [t - waited for t in (REBUILD_TIME, STALE_GRACE) if waited < t]
    after = min(waits, default=None) if users else None
    chosen = choose_nudged(
        given.clusters, given.identity, given.announcement, given.cnpg.version, given.now
    )
    if not plugin.spec.nudge_clusters or not env.settings.grants.nudging:
        return replace(step, after=after)
    for cluster in chosen:
        await env.restarter.nudge(cluster, plugin.name, nudge_token(given.announcement))
    named = tuple(f"Cluster {cluster.namespace}/{cluster.name}" for cluster in chosen)
    return replace(step, after=after, nudged=named)
