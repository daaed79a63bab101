"""From what a pass saw to what users read in the status."""

from collections.abc import Mapping
from dataclasses import asdict

from cnpg_plugin_operator.api.conditions import NOT_YET_REPORTED, Status, Type, Verdict
from cnpg_plugin_operator.api.status import CertificateStatus, CNPGStatus, PluginStatus, Report
from cnpg_plugin_operator.cluster.gather import Snapshot
from cnpg_plugin_operator.decide.facts import CNPGFacts, Identity
from cnpg_plugin_operator.reconciler.certifying import Certified


def build_report(
    verdicts: Mapping[Type, Verdict],
    seen: Snapshot,
    certified: Certified | None,
    identity: Identity | None,
    registered: str,
) -> Report:
    """Build the report of a pass; what the pass did not look at is left as it is."""
    return Report(
        verdicts=verdicts,
        plugin=PluginStatus(**asdict(identity)) if identity is not None else None,
        certificates=_certificates(verdicts, certified),
        cnpg=_cnpg(seen.cnpg[0], registered) if len(seen.cnpg) == 1 else None,
        using=len(seen.clusters),
        unready=sum(not cluster.healthy for cluster in seen.clusters),
    )


def _certificates(
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


def _cnpg(cnpg: CNPGFacts, registered: str) -> CNPGStatus:
    return CNPGStatus(
        deployment=cnpg.deployment,
        version=cnpg.version,
        registered_revision=registered,
        restarted_at=cnpg.restarted_at,
        restart_reason=", ".join(sorted(cnpg.restarted_for)),
    )
