"""Writes that concern CloudNativePG itself: restarts, and nudges of Clusters.

Each action is recorded in the cluster first, so that another pass can repeat it.
"""

import json
from datetime import datetime

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.records import RestartRecord
from cnpg_plugin_operator.api.times import format_time
from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.cluster.client import Client
from cnpg_plugin_operator.decide.facts.cnpg import ClusterFacts, CNPGFacts


class Restarter:
    """Restarts CloudNativePG and nudges its Clusters."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def restart(self, cnpg: CNPGFacts, record: RestartRecord) -> None:
        """Request a rolling restart of CloudNativePG, and record the revisions that it is for.

        The field manager owns only two annotations of the pod template. With the uid, a deleted
        Deployment is not created again.
        """
        annotations = {
            names.annotations.RESTARTED_AT: format_time(record.at),
            names.annotations.RESTARTED_FOR: json.dumps(dict(record.revisions), sort_keys=True),
        }
        await self._client.apply(
            kinds.DEPLOYMENT,
            {
                "metadata": {
                    "name": cnpg.deployment,
                    "namespace": cnpg.namespace,
                    "uid": cnpg.uid,
                },
                "spec": {"template": {"metadata": {"annotations": annotations}}},
            },
            manager=names.managers.RESTART,
        )

    async def record_withdrawal(self, cnpg: CNPGFacts, plugin_name: str, now: datetime) -> None:
        """Record the withdrawal of a plugin that CloudNativePG will continue to use.

        Only its leader's age matters to the record: what a newer leader never read is dropped. The
        pod template stays as it is, so nothing rolls. Raises `ConflictError` if the Deployment
        has changed since `cnpg` was read: two plugins may be withdrawn at the same time.
        """
        since = cnpg.leader.created if cnpg.leader else now
        kept = {name: at for name, at in cnpg.withdrawn.items() if at >= since}
        recorded = {name: format_time(at) for name, at in {**kept, plugin_name: now}.items()}
        annotations = {names.annotations.WITHDRAWN: json.dumps(recorded, sort_keys=True)}
        metadata = {"annotations": annotations, "resourceVersion": cnpg.resource_version}
        await self._client.merge_patch(
            kinds.DEPLOYMENT, cnpg.deployment, cnpg.namespace, {"metadata": metadata}
        )

    async def nudge(self, cluster: ClusterFacts, plugin: str, token: str) -> None:
        """Annotate a Cluster, so that CloudNativePG reconciles it.

        Any change of it does (`For(&apiv1.Cluster{})` without predicate, 1.24.0 to 1.30.0).
        """
        annotations = {names.annotations.nudge(plugin): token}
        await self._client.merge_patch(
            kinds.CLUSTER,
            cluster.name,
            cluster.namespace,
            {"metadata": {"annotations": annotations}},
        )
