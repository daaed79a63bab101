"""What happens when a resource is deleted.

The Service goes first, while CloudNativePG lives and the plugin still answers; then what no owner
reference removes; the finalizer last.
"""

from cnpg_plugin_operator.api.conditions import Reason, Verdict, no, unknown
from cnpg_plugin_operator.api.spec import Plugin
from cnpg_plugin_operator.cluster import observe
from cnpg_plugin_operator.cluster.ownership import is_own
from cnpg_plugin_operator.decide.facts import ClusterFacts
from cnpg_plugin_operator.desired.service import build_service
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
        await tools.writer.withdraw_service(plugin, service)
        if facts.cnpg_finalizer:
            cnpg = await tools.gatherer.cnpg(plugin.namespace)
            if any(operator.available for operator in cnpg):
                return unknown(
                    Reason.DELETING,
                    f"Service {plugin.service_name} is deleted; CloudNativePG forgets the plugin.",
                )
            await tools.writer.strip_cnpg_finalizer(plugin, service)
    await tools.writer.prune_cluster_bindings(plugin)
    siblings = await tools.gatherer.siblings(plugin.namespace)
    last = all(body["metadata"].get("deletionTimestamp") for body in siblings)
    await tools.writer.discard_certificates(plugin, with_chain=last)
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
