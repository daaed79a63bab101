"""From what a pass saw to what users read in the status."""

from collections.abc import Mapping, Sequence
from typing import Final

from cnpg_plugin_operator.api.conditions import NOT_YET_REPORTED, Status, Type, Verdict
from cnpg_plugin_operator.api.status import (
    CertificateStatus,
    ClustersStatus,
    CNPGStatus,
    Report,
)
from cnpg_plugin_operator.decide.facts.cnpg import ClusterFacts, CNPGFacts
from cnpg_plugin_operator.decide.facts.plugin import Identity
from cnpg_plugin_operator.decide.registration.cluster_reports import find_outdated
from cnpg_plugin_operator.reconcile.certificates.certificates import Certified

NAMED_BLOCKED: Final = 10
"""How many blocked Clusters the status names."""


def build_report(
    verdicts: Mapping[Type, Verdict],
    cnpg: Sequence[CNPGFacts],
    clusters: tuple[ClusterFacts, ...],
    identity: Identity | None,
    registered: str,
) -> Report:
    """Build the report of a pass; what the pass did not look at is left as it is."""
    return Report(
        verdicts=verdicts,
        plugin=identity.section() if identity is not None else None,
        cnpg=_cnpg(cnpg[0], registered) if len(cnpg) == 1 else None,
        clusters=_clusters(clusters, identity),
    )


def build_certificates(
    verdicts: Mapping[Type, Verdict], certified: Certified | None
) -> dict[str, CertificateStatus]:
    """Tell the times of both certificates at once: while they are issued, they come one by one."""
    if verdicts.get(Type.CERTIFICATES_READY, NOT_YET_REPORTED).status is Status.UNKNOWN:
        return {}
    if certified is None:
        return {}
    pairs = (certified.server, certified.client)
    return {
        role: CertificateStatus(pair.secret, pair.leaf.not_after, renewal)
        for role, pair, renewal in zip(("server", "client"), pairs, certified.renewals, strict=True)
        if pair.leaf is not None
    }


def _clusters(clusters: tuple[ClusterFacts, ...], identity: Identity | None) -> ClustersStatus:
    blocked = [f"{c.namespace}/{c.name}" for c in clusters if c.blocked]
    return ClustersStatus(
        using=len(clusters),
        unready=sum(not cluster.healthy for cluster in clusters),
        outdated=len(find_outdated(clusters, identity)),
        blocked=tuple(sorted(blocked)[:NAMED_BLOCKED]),
    )


def _cnpg(cnpg: CNPGFacts, registered: str) -> CNPGStatus:
    return CNPGStatus(cnpg.deployment, cnpg.version, registered)
