"""What the resources of a namespace say about each other, and about the last restart."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.api.records import RestartRecord, read_restart_record
from cnpg_plugin_operator.api.status import KnownStatus, read_status
from cnpg_plugin_operator.api.times import is_over, read_time
from cnpg_plugin_operator.api.untrusted import mapping
from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.cluster.addresses import label_selector
from cnpg_plugin_operator.cluster.answers import well_formed
from cnpg_plugin_operator.cluster.client import Client
from cnpg_plugin_operator.cluster.observe import holder_of, plugin_of
from cnpg_plugin_operator.decide.facts.cnpg import CNPGFacts
from cnpg_plugin_operator.decide.facts.plugin import LeaseFacts

UNUSED: Final = frozenset({"managedFields", "resourceVersion"})
"""Metadata that no decision uses, and that every write changes."""


def project_resource(body: Mapping[str, Any]) -> dict[str, Any]:
    """Keep what counts of a resource: two are equal where nothing that counts has changed."""
    metadata = {key: value for key, value in body["metadata"].items() if key not in UNUSED}
    found = well_formed({**body, "metadata": metadata})
    if "status" in found:
        found["status"] = KnownStatus(found["status"])
    return found


def with_record(
    found: tuple[CNPGFacts, ...], siblings: Iterable[Mapping[str, Any]], now: datetime
) -> tuple[CNPGFacts, ...]:
    """Add the newest restart that a resource of the namespace has recorded.

    Times in the future on CloudNativePG's Deployment count as none, too.
    """
    statuses = [read_status(body) for body in siblings]
    return tuple(
        replace(
            cnpg,
            record=_find_newest(statuses, cnpg.deployment, now),
            restarted_at=(
                cnpg.restarted_at if cnpg.restarted_at and is_over(cnpg.restarted_at, now) else None
            ),
            withdrawn={name: at for name, at in cnpg.withdrawn.items() if is_over(at, now)},
        )
        for cnpg in found
    )


def _find_newest(
    statuses: Iterable[Mapping[str, Any]], deployment: str, now: datetime
) -> RestartRecord | None:
    found = (read_restart_record(status, deployment, now) for status in statuses)
    return max((r for r in found if r is not None), key=lambda record: record.at, default=None)


def find_rivals(plugin: Plugin, siblings: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the resources that had the plugin's name before this one."""
    mine = (plugin.created, plugin.name)
    rivals = []
    for body in siblings:
        metadata = body["metadata"]
        same = mapping(body.get("spec")).get("pluginName") == plugin.spec.plugin_name
        if same and metadata["uid"] != plugin.uid and not metadata.get("deletionTimestamp"):
            created = read_time(metadata["creationTimestamp"]) or plugin.created
            if (created, metadata["name"]) < mine:
                rivals.append(metadata["name"])
    return tuple(sorted(rivals))


def find_approval(body: Mapping[str, Any]) -> str:
    """Read which change of a plugin the user approved, or empty."""
    annotations = body["metadata"].get("annotations") or {}
    return str(annotations.get(names.annotations.APPROVE, ""))


def find_own_approval(plugin: Plugin, siblings: Iterable[Mapping[str, Any]]) -> str:
    """Read a plugin's approval from the resources of its namespace."""
    own = (body for body in siblings if body["metadata"]["uid"] == plugin.uid)
    return next((find_approval(body) for body in own), "")


async def find_leases(client: Client, namespace: str) -> tuple[LeaseFacts, ...]:
    """Find the Leases of a namespace that plugins' pods hold, by name."""
    pods = await client.list(kinds.POD, namespace, labels=label_selector({}, names.labels.PLUGIN))
    owners = {body["metadata"]["name"]: plugin_of(body) for body in pods}
    held = (
        (lease["metadata"]["name"], holder_of(lease))
        for lease in await client.list(kinds.LEASE, namespace)
    )
    return tuple(LeaseFacts(name, pod, owners[pod]) for name, pod in sorted(held) if pod in owners)
