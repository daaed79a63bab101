"""Writes that concern CloudNativePG itself: restarts, and nudges of Clusters.

Each action is recorded in the cluster first, so that another pass can repeat it.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.status import read_status
from cnpg_plugin_operator.api.times import format_time, read_noted_count, read_noted_time
from cnpg_plugin_operator.api.untrusted import mapping
from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.cluster.client import Client
from cnpg_plugin_operator.decide.facts.cnpg import (
    ClusterFacts,
    CNPGFacts,
    RestartRecord,
)

FIRST_ATTEMPT: Final = 1


class Restarter:
    """Restarts CloudNativePG and nudges its Clusters."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def restart(self, namespace: str, cnpg: CNPGFacts, record: RestartRecord) -> None:
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
                    "namespace": namespace,
                    "uid": cnpg.uid,
                },
                "spec": {"template": {"metadata": {"annotations": annotations}}},
            },
            manager=names.managers.RESTART,
        )

    async def delete_pod(self, namespace: str, cnpg: CNPGFacts, name: str) -> None:
        """Delete one of CloudNativePG's pods; its ReplicaSet creates another."""
        uid = next((each.pod.uid for each in cnpg.pods if each.pod.name == name), None)
        await self._client.delete(kinds.POD, name, namespace, uid=uid)

    async def note_withdrawal(
        self, namespace: str, cnpg: CNPGFacts, plugin_name: str, now: datetime
    ) -> None:
        """Record the withdrawal of a plugin that CloudNativePG will continue to use.

        Only its leader's age matters to the note: what a newer leader never read is dropped. The
        pod template stays as it is, so nothing rolls. Raises `ConflictError` if the Deployment
        has changed since `cnpg` was read: two plugins may be withdrawn at the same time.
        """
        since = cnpg.leader.created if cnpg.leader else now
        kept = {name: at for name, at in cnpg.withdrawn.items() if at >= since}
        noted = {name: format_time(at) for name, at in {**kept, plugin_name: now}.items()}
        annotations = {names.annotations.WITHDRAWN: json.dumps(noted, sort_keys=True)}
        metadata = {"annotations": annotations, "resourceVersion": cnpg.resource_version}
        await self._client.merge_patch(
            kinds.DEPLOYMENT, cnpg.deployment, namespace, {"metadata": metadata}
        )

    async def nudge(self, cluster: ClusterFacts, plugin: str, token: str) -> None:
        """Annotate a Cluster, so that CloudNativePG reconciles it.

        Any change of it does (`For(&apiv1.Cluster{})` without predicate, 1.24.0 to 1.30.0).
        """
        await self._client.merge_patch(
            kinds.CLUSTER,
            cluster.name,
            cluster.namespace,
            {"metadata": {"annotations": {names.annotations.nudge(plugin): token}}},
        )


def find_record(
    resources: Iterable[Mapping[str, Any]], deployment: str, now: datetime
) -> RestartRecord | None:
    """Find the newest record of a restart of a Deployment in the status of resources."""
    found = (_read_record(body, deployment, now) for body in resources)
    return max((r for r in found if r is not None), key=lambda record: record.at, default=None)


def _read_record(body: Mapping[str, Any], deployment: str, now: datetime) -> RestartRecord | None:
    """Read a record; a restart without revisions is only information for users."""
    section = mapping(read_status(body).get("cnpg"))
    noted = mapping(section.get("lastRestart"))
    at = read_noted_time(noted.get("time"), now)
    revisions = mapping(noted.get("revisions"))
    if at is None or not revisions or section.get("deployment") != deployment:
        return None
    return RestartRecord(
        at=at,
        revisions=revisions,
        attempt=read_noted_count(noted.get("attempt"), FIRST_ATTEMPT),
        generation=read_noted_count(noted.get("generation")),
        given_up=frozenset(str(name) for name in noted.get("givenUp") or ()),
    )
