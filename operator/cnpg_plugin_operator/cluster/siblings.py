"""What the resources of a namespace say of each other, and of the last restart."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.api.times import is_over, read_time
from cnpg_plugin_operator.api.untrusted import mapping
from cnpg_plugin_operator.cluster.restarting import find_record
from cnpg_plugin_operator.decide.cnpg_facts import CNPGFacts


def with_record(
    found: tuple[CNPGFacts, ...], siblings: Iterable[Mapping[str, Any]], now: datetime
) -> tuple[CNPGFacts, ...]:
    """Add the newest restart that a resource of the namespace has noted.

    What was noted on CloudNativePG's Deployment for a time in the future counts as none, too.
    """
    bodies = tuple(siblings)
    return tuple(
        replace(
            cnpg,
            record=find_record(bodies, cnpg.deployment, now),
            restarted_at=(
                cnpg.restarted_at if cnpg.restarted_at and is_over(cnpg.restarted_at, now) else None
            ),
            withdrawn={name: at for name, at in cnpg.withdrawn.items() if is_over(at, now)},
        )
        for cnpg in found
    )


def find_orphans(
    found: tuple[CNPGFacts, ...], siblings: Iterable[Mapping[str, Any]]
) -> frozenset[str]:
    """Name the sidecars that no resource stands for: a finalizer was removed by hand."""
    known = {body["metadata"]["name"] for body in siblings}
    return frozenset(found[0].sidecars) - known if len(found) == 1 else frozenset()


def find_rivals(plugin: Plugin, siblings: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """Name the resources that had the plugin's name before this one."""
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
    """Read which change of a plugin a person approved, or empty."""
    annotations = body["metadata"].get("annotations") or {}
    return str(annotations.get(names.ANNOTATION_APPROVE, ""))


def find_own_approval(plugin: Plugin, siblings: Iterable[Mapping[str, Any]]) -> str:
    """Read the same for a plugin, from the resources of its namespace."""
    own = (body for body in siblings if body["metadata"]["uid"] == plugin.uid)
    return next((find_approval(body) for body in own), "")
