"""What happens when a resource is deleted.

The Service goes first, while CloudNativePG lives and the plugin still answers; then what no owner
reference removes; then, by the namespace's pass, the certificate chain that no other plugin uses;
the finalizer last. The spec need not be valid: what there is to remove is read
from the cluster. With `deletionPolicy: Orphan` nothing goes but the owner.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.conditions import Reason, Type, Verdict, no, unknown
from cnpg_plugin_operator.api.deletion import Leaving
from cnpg_plugin_operator.api.untrusted import mapping
from cnpg_plugin_operator.cluster import kinds, observe
from cnpg_plugin_operator.decide.facts.cnpg import ClusterFacts, CNPGFacts
from cnpg_plugin_operator.decide.facts.cnpg_versions import (
    parse_version,
    removes_finalizer,
    reregisters,
)
from cnpg_plugin_operator.decide.registration.cluster_reports import list_names
from cnpg_plugin_operator.reconcile.environment import Environment
from cnpg_plugin_operator.reconcile.pruning import delete
from cnpg_plugin_operator.reconcile.shared import CNPGView
from cnpg_plugin_operator.reconcile.stages import Progress
from cnpg_plugin_operator.reconcile.take_over import restore_scale
from cnpg_plugin_operator.reconcile.writes import (
    Orphan,
    RecordWithdrawal,
    StripFinalizer,
)


async def tear_down(
    env: Environment, leaving: Leaving, status: Mapping[str, Any], view: CNPGView
) -> Verdict | None:
    """Go one step further in the removal; None once nothing is left but the finalizer.

    The chain that the plugin used is not deleted here: the namespace's pass does that next.
    """
    services = await env.reader.own_services(leaving)
    leaving = _named(leaving, services, status)
    progress = Progress(env)
    waiting = await _leave_cnpg_pod(env, leaving, view)
    waiting = waiting or await _withdraw(progress, leaving, services)
    if waiting is not None:
        return waiting
    remover = env.remover
    await progress.make(*delete(await remover.find_cluster_bindings(leaving)))
    await progress.make(*delete(await remover.find_certificates(leaving)))
    await progress.make(*delete(await remover.find_unowned(leaving)))
    await progress.make(*restore_scale(leaving, await remover.find_scaled(leaving)))
    return None


async def leave_running(env: Environment, leaving: Leaving, view: CNPGView) -> Verdict | None:
    """Take everything from its owner but the finalizer; None once that is done.

    A sidecar from before the plugin became standalone has to go first: it cannot remain.
    """
    waiting = await _leave_cnpg_pod(env, leaving, view)
    if waiting is None:
        found = await env.remover.find_orphans(leaving)
        await Progress(env).make(*(Orphan(kind, body, leaving.uid) for kind, body in found))
    return waiting


def _named(leaving: Leaving, services: list[dict[str, Any]], status: Mapping[str, Any]) -> Leaving:
    """Add the plugin's name where the spec lacks it: as it was announced, or answered."""
    if leaving.plugin_name:
        return leaving
    labels = [mapping(body["metadata"].get("labels")) for body in services]
    announced = next((str(n) for each in labels if (n := each.get(names.cnpg.PLUGIN_NAME))), "")
    answered = str(mapping(status.get("plugin")).get("name", ""))
    return replace(leaving, plugin_name=announced or answered)


async def _withdraw(
    progress: Progress, leaving: Leaving, services: list[dict[str, Any]]
) -> Verdict | None:
    """Make CloudNativePG drop the plugin; a verdict while that takes time or is not allowed."""
    env, now = progress.env, progress.env.clock()
    seen = [(body, observe.read_service(body, now)) for body in services]
    if any(facts.announcement is not None and not facts.deleting for _, facts in seen):
        clusters = await env.reader.confirmed_clusters(leaving)
        if clusters and leaving.protected:
            return _in_use(leaving, clusters)
        await progress.make(*await _record_withdrawal(env, leaving))
    await progress.make(*delete((kinds.SERVICE, body) for body in services))
    if not any(facts.cnpg_finalizer for _, facts in seen):
        return None
    cnpg = await env.reader.cnpg(leaving.namespace, leaving.cnpg_reference)
    # CloudNativePG ignores the deletion of a Service without its label.
    remaining = ", ".join(
        body["metadata"]["name"]
        for body, facts in seen
        if facts.cnpg_finalizer and facts.announcement is not None
    )
    if remaining and any(map(_removes_finalizer, cnpg)):
        return unknown(
            Reason.DELETING, f"Service {remaining} is deleted; CloudNativePG forgets the plugin."
        )
    # Read again after their deletion, because the patch applies to one version only.
    for body in await env.reader.own_services(leaving):
        await progress.make(StripFinalizer(body))
    return None


def _removes_finalizer(cnpg: CNPGFacts) -> bool:
    """Whether CloudNativePG will do so; a version before 1.29.0 does not, after a downgrade."""
    version = parse_version(cnpg.version)
    return cnpg.available and (version is None or removes_finalizer(version))


async def _leave_cnpg_pod(env: Environment, leaving: Leaving, view: CNPGView) -> Verdict | None:
    """Wait until the plugin's sidecar is out of CloudNativePG's pod.

    The namespace's pass removes it, once the status says that nothing blocks the removal.
    """
    running = [cnpg for cnpg in view.cnpg if leaving.name in cnpg.sidecars]
    if not running:
        return None
    clusters = env.reader.clusters(leaving)
    if clusters and leaving.protected:
        return _in_use(leaving, clusters)
    if (error := view.failed.get(Type.AVAILABLE)) is not None:
        raise error
    reason = view.rollout.reason if view.rollout is not None else ""
    waits = f" It waits: {reason}." if reason else ""
    return unknown(
        Reason.DELETING,
        f"The sidecar is being removed from Deployment {running[0].deployment}.{waits}",
    )


async def _record_withdrawal(env: Environment, leaving: Leaving) -> list[RecordWithdrawal]:
    """Record that CloudNativePG keeps the connection: a successor needs a restart."""
    now = env.clock()
    return [
        RecordWithdrawal(cnpg, leaving.plugin_name, now)
        for cnpg in await env.reader.cnpg(leaving.namespace, leaving.cnpg_reference)
        if (version := parse_version(cnpg.version)) is not None and not reregisters(version)
    ]


def _in_use(leaving: Leaving, clusters: tuple[ClusterFacts, ...]) -> Verdict:
    return no(
        Reason.IN_USE,
        f"Clusters still use {leaving.plugin_name}: {list_names(clusters)}. An unreachable "
        "plugin stops their reconciliation, failover included: remove it from their spec.plugins "
        "first, or set spec.deletionPolicy to Delete.",
    )
