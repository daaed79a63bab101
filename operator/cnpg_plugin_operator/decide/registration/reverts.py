"""Whether another party reverts restarts of CloudNativePG: OLM, a GitOps controller, a person.

A restart is noted in a resource's status before the annotation that causes it is written. Where the
note is there and the annotation is not, either the operator died between the two writes (the
Deployment's generation is what it was), or the annotation was taken back (it grew).
"""

from collections.abc import Mapping
from typing import Final

from cnpg_plugin_operator.api.records import RestartRecord
from cnpg_plugin_operator.decide.facts.cnpg import CNPGFacts

MOST_ATTEMPTS: Final = 2
"""Restarts for one announcement that are taken back before it is left to people. One may be a
coincidence, such as a `kubectl rollout undo`."""


def is_carried_out(record: RestartRecord, cnpg: CNPGFacts) -> bool:
    """Whether the restart that was noted was also asked for, taken back or not."""
    return cnpg.restarted_at == record.at or cnpg.generation != record.generation


def count_reverts(name: str, revision: str, cnpg: CNPGFacts) -> int:
    """Count the restarts for a plugin's revision that were taken back, one after the other.

    Under OLM nothing is written that could be: there the pods are deleted.
    """
    record = cnpg.record
    if cnpg.olm or record is None or record.revisions.get(name) != revision:
        return 0
    if name in record.given_up:
        return MOST_ATTEMPTS
    if cnpg.restarted_at == record.at or not is_carried_out(record, cnpg):
        return record.attempt - 1
    return record.attempt


def find_unfinished(uncovered: Mapping[str, str], cnpg: CNPGFacts) -> RestartRecord | None:
    """Find a restart that was noted for one of these revisions but never asked for."""
    record = cnpg.record
    if cnpg.olm or record is None or is_carried_out(record, cnpg):
        return None
    wanted = any(record.revisions.get(name) == revision for name, revision in uncovered.items())
    return record if wanted else None


def suspect(cnpg: CNPGFacts) -> str:
    """Name who may have taken it, in brackets; empty where the Deployment does not say."""
    return f" ({cnpg.changed_by} changed its spec last)" if cnpg.changed_by else ""
