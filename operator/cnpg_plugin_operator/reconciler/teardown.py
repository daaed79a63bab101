"""What happens when a resource is deleted.

The Service goes first, while CloudNativePG lives and the plugin still answers; then what no owner
reference removes; the finalizer last.
"""

from collections.abc import Mapping
from typing import Any

from cnpg_plugin_operator.api.conditions import Reason, Type, Verdict, find_condition, no, unknown
from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.cluster import observe
from cnpg_plugin_operator.cluster.ownership import is_own
from cnpg_plugin_operator.decide.cnpg_facts import ClusterFacts
from cnpg_plugin_operator.decide.freshness import list_names
from cnpg_plugin_operator.decide.versions import parse_version, reregisters
from cnpg_plugin_operator.desired.service import build_service
from cnpg_plugin_operator.reconciler.placing import place
from cnpg_plugin_operator.reconciler.pruning import chains_in_use
from cnpg_plugin_operator.reconciler.tools import Tools


async def tear_down(tools: Tools, plugin: Plugin, status: Mapping[str, Any]) -> Verdict | None:
    """Go one step further in the removal; None once nothing is left to wait for."""
    staying = await _leave_cnpg_pod(tools, plugin, status)
    if staying is not None:
        return staying
    service = await tools.gatherer.live(build_service(plugin, None))
    own = service is not None and is_own(plugin, service)
    if service is not None and own:
        facts = observe.read_service(service, tools.clock())
        if facts.announcement is not None and not facts.deleting:
            clusters = await tools.gatherer.clusters(plugin)
            if clusters and plugin.spec.deletion_protection:
                return _in_use(plugin, clusters)
            await _note_withdrawal(tools, plugin)
        await tools.remover.withdraw_service(plugin, service)
        if facts.cnpg_finalizer:
            cnpg = await tools.gatherer.cnpg(plugin.namespace, plugin.cnpg_reference)
            if any(operator.available for operator in cnpg):
                return unknown(
                    Reason.DELETING,
                    f"Service {plugin.service_name} is deleted; CloudNativePG forgets the plugin.",
                )
            # As it is since its deletion: the patch holds for one version only.
            service = await tools.gatherer.live(build_service(plugin, None))
            if service is not None:
                await tools.remover.strip_cnpg_finalizer(plugin, service)
    await tools.remover.prune_cluster_bindings(plugin)
    await tools.remover.discard_certificates(plugin)
    await tools.remover.discard_unowned(plugin)
    used = await chains_in_use(tools, plugin.namespace, leaving=plugin.uid)
    await tools.remover.prune_chains(plugin, used)
    await tools.writer.release(plugin)
    return None


async def _leave_cnpg_pod(
    tools: Tools, plugin: Plugin, status: Mapping[str, Any]
) -> Verdict | None:
    """Have the plugin's sidecar taken out, with whatever else is to change in that pod.

    The status says first that nothing holds the removal up: the set is composed from it.
    """
    cnpg = await tools.gatherer.cnpg(plugin.namespace, plugin.cnpg_reference)
    hosts = [each for each in cnpg if plugin.name in each.sidecars]
    if not hosts:
        return None
    clusters = await tools.gatherer.clusters(plugin)
    if clusters and plugin.spec.deletion_protection:
        # It goes all the same where it keeps CloudNativePG from starting.
        await place(tools, plugin)
        return _in_use(plugin, clusters)
    waits = ""
    if find_condition(status, Type.ACCEPTED).get("reason") == Reason.DELETING:
        placed = await place(tools, plugin)
        waits = f" It waits: {placed.placing.reason}." if placed.placing.reason else ""
    return unknown(
        Reason.DELETING,
        f"The sidecar is taken out of Deployment {hosts[0].deployment}.{waits}",
    )


async def _note_withdrawal(tools: Tools, plugin: Plugin) -> None:
    """Note what CloudNativePG will not forget by itself: a successor needs a restart of it."""
    async with tools.locks[plugin.namespace]:
        for cnpg in await tools.gatherer.cnpg(plugin.namespace, plugin.cnpg_reference):
            version = parse_version(cnpg.version)
            if version is not None and not reregisters(version):
                await tools.restarter.note_withdrawal(
                    plugin.namespace, cnpg, plugin.spec.plugin_name, tools.clock()
                )


def _in_use(plugin: Plugin, clusters: tuple[ClusterFacts, ...]) -> Verdict:
    return no(
        Reason.IN_USE,
        f"Clusters still use {plugin.spec.plugin_name}: {list_names(clusters)}. An unreachable "
        "plugin stops their reconciliation, failover included: remove it from their spec.plugins "
        "first, or set spec.deletionProtection to false.",
    )
