"""Whether another party reverts restarts of CloudNativePG: OLM, a GitOps controller, a person.

A restart is recorded in a resource's status before the annotation that causes it is written. Where
the record exists and the annotation does not, either the operator died between the two writes (the
Deployment's generation is unchanged), or the annotation was reverted (it has grown).
"""

from collections.abc import Mapping
from typing import Final

from cnpg_plugin_operator.api.records import RestartRecord
from cnpg_plugin_operator.decide.facts.cnpg import CNPGFacts

MOST_ATTEMPTS: Final = 2
"""Reverted restarts for one announcement after which the operator gives up. One may be a
coincidence, such as a `kubectl rollout undo`."""


def is_carried_out(record: RestartRecord, cnpg: CNPGFacts) -> bool:
    """Whether the recorded restart was also requested, reverted or not."""
    return cnpg.restarted_at == record.at or cnpg.generation != record.generation


def count_reverts(name: str, revision: str, cnpg: CNPGFacts) -> int:
    """Count the consecutive reverted restarts for a plugin's revision.

    Under OLM nothing can be reverted, because the pods are deleted instead.
    """
    record = cnpg.record
    if cnpg.olm or record is None or record.revisions.get(name) != revision:
        return 0
    if name in record.given_up:
        return MOST_ATTEMPTS
    if cnpg.restarted_at == record.at or not is_carried_out(record, cnpg):
        return record.attempts - 1
    return record.attempts


def find_unfinished(uncovered: Mapping[str, str], cnpg: CNPGFacts) -> RestartRecord | None:
    """Find a restart that was recorded for one of these revisions but never requested."""
    record = cnpg.record
    if cnpg.olm or record is None or is_carried_out(record, cnpg):
        return None
    wanted = any(record.revisions.get(name) == revision for name, revision in uncovered.items())
    return record if wanted else None


def describe_other_writer(cnpg: CNPGFacts) -> str:
    """Name the likely other writer in brackets; empty where the Deployment does not show it."""
    return f" ({cnpg.changed_by} changed its spec last)" if cnpg.changed_by else ""
