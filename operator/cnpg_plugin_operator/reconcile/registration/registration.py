"""The last stage: the announcement, its registration, and the need for a restart."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.conditions import Reason, Type, Verdict, unknown
from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.api.spec import ClusterRefresh
from cnpg_plugin_operator.api.untrusted import mapping
from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.cluster.ownership import is_own
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
from cnpg_plugin_operator.decide.registration.restart_need import RegistrationInput, is_lost
from cnpg_plugin_operator.decide.registration.touch import (
    TOUCH_GRACE,
    TouchInput,
    decide_touch,
    find_blocked,
    record_end,
    record_rivals,
)
from cnpg_plugin_operator.desired.objects import digest
from cnpg_plugin_operator.desired.service import build_endpoint
from cnpg_plugin_operator.reconcile.certificates.certificates import Certified
from cnpg_plugin_operator.reconcile.context import Context
from cnpg_plugin_operator.reconcile.shared import CNPGView
from cnpg_plugin_operator.reconcile.stages import Plan
from cnpg_plugin_operator.reconcile.writes import Delete, Nudge, RecordRivals

AFTER_DELETION: Final = timedelta(seconds=1)
"""CloudNativePG sees at once that a Service is deleted."""

SOON: Final = timedelta(seconds=5)
"""CloudNativePG registers a published Service within a second or two (1.30.0)."""


def dial_hash(plugin: Plugin, cnpg: CNPGFacts, certified: Certified) -> str:
    """Digest what CloudNativePG dials and has to read again when it changes.

    Versions that watch Secrets (#7029) read renewed certificates by themselves; the others keep
    presenting the previous pair, trusting the previous certificates and dialling the previous
    Service, until they are restarted.
    """
    endpoint, version = build_endpoint(plugin), parse_version(cnpg.version)
    if version is None or reregisters(version):
        return digest(endpoint)
    trusted = sorted(c.fingerprint for c in certified.trust.servers) if certified.trust else []
    dialled: list[object] = [endpoint, trusted, certified.client.fingerprint]
    # The Service that has the resource's name was not part of it in the first release.
    named = [] if plugin.service_name == plugin.name else [plugin.service_name]
    return digest([*dialled, *named])


def build_revision(plugin: Plugin, template: Mapping[str, Any], dialled: str) -> str:
    """Digest what is announced: another revision is another announcement.

    With the uid, a resource of the same name that is created later has another one. The plugin's
    identity is not part of it, because it may change with every call.
    """
    return digest([plugin.uid, template, dialled])


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
    moved: bool = False,
) -> Mapping[str, str]:
    """Return the annotations that announce a proven plugin, with a touch where that helps.

    `moved` says that CloudNativePG keeps a connection to a previous Service of the plugin.
    """
    revision, touch = build_revision(plugin, template, dialled), None
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
        replaces=moved or is_still_in_use(plugin.spec.plugin_name, cnpg),
    )


def is_taking_over(seen: Snapshot) -> bool:
    """Whether CloudNativePG uses the Service of a previous installation."""
    return seen.previous is not None and seen.previous.published


@dataclass(frozen=True, slots=True)
class Registering:
    """The progress of the registration."""

    plan: Plan
    overdue: bool = False
    """Whether CloudNativePG takes longer than it should, so it is checked rarely."""
    need: RestartNeed | None = None
    """The restart that the plugin needs."""


def plan_registration(
    given: RegistrationInput, view: CNPGView, plugin: Plugin, *, refreshing: bool
) -> Registering:
    """Evaluate the registration of an announcement, and whether it needs a restart.

    The Clusters of a registered plugin that would not notice are nudged where the resource and the
    administrator (`refreshing`) want that. Raises the error that ended the restart.
    """
    verdict, last_announced_at = decide_registration(given), given.announcement.last_announced_at
    replacing = verdict.reason is Reason.RESTARTING and bool(given.cnpg.olm)
    if verdict.reason is Reason.RESTART_PENDING or replacing:
        revision, announced_at = given.announcement.revision, given.announcement.announced_at
        need = RestartNeed(revision, announced_at, is_lost(given))
        return Registering(Plan(await_restart(verdict, view)), need=need)
    awaiting = verdict.reason in (Reason.AWAITING_REGISTRATION, Reason.REREGISTERING)
    if not verdict.is_true:
        return Registering(
            Plan(verdict), overdue=awaiting and given.now - last_announced_at >= SOON
        )
    wanted = plugin.spec.cnpg.cluster_refresh is ClusterRefresh.ANNOTATE
    nudges = _nudge(given, plugin.name) if wanted and refreshing else ()
    looks = tuple(given.now + pause for pause in _find_pauses(given))
    return Registering(Plan(verdict, nudges, looks=looks))


async def find_kept(context: Context, cnpg: CNPGFacts) -> list[Mapping[str, Any]]:
    """Find previous Services of the plugin to which CloudNativePG keeps its connection.

    Only versions that read a plugin once do so. Started again, they would read whichever labelled
    Service comes first, so these have to lose their label before.
    """
    version = parse_version(cnpg.version)
    if context.announcement is not None or version is None or reregisters(version):
        return []
    plugin = context.plugin
    return [
        body
        for body in await context.env.reader.children(kinds.SERVICE, plugin)
        if is_own(plugin, body) and body["metadata"]["name"] != plugin.service_name
        if names.annotations.REVISION in mapping(body["metadata"].get("annotations"))
    ]


def plan_rivals(context: Context) -> tuple[RecordRivals, ...]:
    """Record that other Services have the plugin's name; it outlives them and this process."""
    record = record_rivals(context.announcement, context.seen.foreign, context.now)
    service = context.live.get(("Service", context.plugin.service_name))
    if record is None or service is None or not is_own(context.plugin, service):
        return ()
    return (RecordRivals(dict(service), record),)


def record_ended(context: Context, version: str, pruned: Plan) -> Plan:
    """Record the end of the plugin's previous Services before they are deleted.

    Where CloudNativePG forgets the plugin then, without an Event, the next pass touches the present
    Service, and CloudNativePG registers the plugin again.
    """
    ended = (each for each in pruned.writes if isinstance(each, Delete))
    previous = [f"{each.name} ({each.uid})" for each in ended if each.kind is kinds.SERVICE]
    record = record_end(context.announcement, previous, version, context.now)
    service = context.live.get(("Service", context.plugin.service_name))
    if record is None or service is None:
        return pruned
    writes = (RecordRivals(dict(service), record), *pruned.writes)
    return replace(pruned, writes=writes, looks=(*pruned.looks, context.now + AFTER_DELETION))


def await_pods(context: Context) -> Verdict:
    """Keep announcing what CloudNativePG uses; not all pods accept the new pair yet."""
    plugin = context.plugin
    kept = f"CloudNativePG keeps Secret {context.announced_client}"
    if context.bridged_until is not None:
        return unknown(
            Reason.AWAITING_PODS,
            f"{kept} until no call of Service {plugin.service_name} reaches a previous pod.",
        )
    return unknown(
        Reason.AWAITING_PODS,
        f"Pods of Deployment {plugin.name} have not loaded the new certificates yet; {kept} until "
        "they do.",
    )


def await_restart(verdict: Verdict, view: CNPGView) -> Verdict:
    """Add what a plugin's restart waits for, as its namespace's pass decided."""
    if (error := view.failed.get(Type.REGISTERED)) is not None:
        raise error
    cnpg = view.cnpg[0]
    if view.refused is not None:
        return refuse_deletion(cnpg, cnpg.namespace, *view.refused)
    if view.restart is None or view.restart.action is not Action.WAIT:
        return verdict
    message = f"{verdict.message.removesuffix('.')}. It waits: {view.restart.reason}."
    return replace(verdict, message=message)


def _find_pauses(given: RegistrationInput) -> list[timedelta]:
    """Say when to look again at Clusters that lag behind, or are blocked."""
    waited = given.now - given.announcement.last_announced_at
    users = any(cluster.plugin_status is not None for cluster in given.clusters)
    pauses = [t - waited for t in (REBUILD_TIME, STALE_GRACE) if users and waited < t]
    # Blocked Clusters may be so for a moment; nothing wakes while they stay so.
    return [*pauses, *([TOUCH_GRACE] if find_blocked(given.clusters) else [])]


def _nudge(given: RegistrationInput, plugin: str) -> tuple[Nudge, ...]:
    """Nudge the Clusters that would not notice."""
    announcement = given.announcement
    chosen = choose_nudged(
        given.clusters, given.identity, announcement, given.cnpg.version, given.now
    )
    return tuple(Nudge(cluster, plugin, nudge_token(announcement)) for cluster in chosen)
