"""What happens when a resource is deleted.

The Service goes first, while CloudNativePG lives and the plugin still answers; then what no owner
reference removes; the finalizer last.
"""

from cnpg_plugin_operator.api.conditions import Reason, Verdict, no, unknown
from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.cluster import observe
from cnpg_plugin_operator.cluster.ownership import is_own
from cnpg_plugin_operator.decide.facts import ClusterFacts
from cnpg_plugin_operator.desired.service import build_service
from cnpg_plugin_operator.reconciler.pruning import chains_in_use
from cnpg_plugin_operator.reconciler.tools import Tools

NAMED_CLUSTERS = 3
"""How many Clusters a message names."""


async def tear_down(tools: Tools, plugin: Plugin) -> Verdict | None:
    """Go one step further in the removal; None once nothing is left to wait for."""
    service = await tools.gatherer.live(build_service(plugin, None))
    own = service is not None and is_own(plugin, service)
    if service is not None and own:
        facts = observe.read_service(service)
        if facts.announcement is not None and not facts.deleting:
            clusters = await tools.gatherer.clusters(plugin.spec.plugin_name)
            if clusters and plugin.spec.deletion_protection:
                return _in_use(plugin, clusters)
        await tools.remover.withdraw_service(plugin, service)
        if facts.cnpg_finalizer:
            cnpg = await tools.gatherer.cnpg(plugin.namespace)
            if any(operator.available for operator in cnpg):
                return unknown(
                    Reason.DELETING,
                    f"Service {plugin.service_name} is deleted; CloudNativePG forgets the plugin.",
                )
            await tools.remover.strip_cnpg_finalizer(plugin, service)
    await tools.remover.prune_cluster_bindings(plugin)
    await tools.remover.discard_certificates(plugin)
    used = await chains_in_use(tools, plugin.namespace, leaving=plugin.uid)
    await tools.remover.prune_chains(plugin, used)
    await tools.writer.release(plugin)
    return None


def _in_use(plugin: Plugin, clusters: tuple[ClusterFacts, ...]) -> Verdict:
    named = [f"{cluster.namespace}/{cluster.name}" for cluster in clusters]
    more = len(named) - NAMED_CLUSTERS
    listed = ", ".join(named[:NAMED_CLUSTERS]) + (f" and {more} more" if more > 0 else "")
    return no(
        Reason.IN_USE,
        f"Clusters still use {plugin.spec.plugin_name}: {listed}. An unreachable plugin "
        "stops their reconciliation, failover included: remove it from their spec.plugins first, "
        "or set spec.deletionProtection to false.",
    )
