"""From the resources of a namespace to the set of sidecars: candidates and their outcome."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from cnpg_plugin_operator import errors, names
from cnpg_plugin_operator.api.deletion import read_leaving
from cnpg_plugin_operator.api.plugin import Plugin, parse_plugin
from cnpg_plugin_operator.api.records import SidecarRecord, read_sidecar_record
from cnpg_plugin_operator.api.status import read_status
from cnpg_plugin_operator.api.untrusted import mapping
from cnpg_plugin_operator.cluster.clusters import ClusterRecord, read_clusters
from cnpg_plugin_operator.cluster.ownership import find_foreign
from cnpg_plugin_operator.cluster.plugins import find_approval, find_rivals
from cnpg_plugin_operator.cluster.sidecars import SidecarSnapshot
from cnpg_plugin_operator.decide.acceptance.acceptance import AcceptanceInput
from cnpg_plugin_operator.decide.facts.cnpg import CNPGFacts, PodEnvironment
from cnpg_plugin_operator.decide.sidecar.quarantine import History, find_blockade
from cnpg_plugin_operator.decide.sidecar.sidecar_set import (
    Candidate,
    SidecarSet,
    compose,
    is_leaving,
)
from cnpg_plugin_operator.desired.sidecars import Place
from cnpg_plugin_operator.reconcile.shared import CNPGView, Wants
from cnpg_plugin_operator.reconcile.sidecar.pending import Refusals
from cnpg_plugin_operator.settings import Settings


def judge_by(
    plugin: Plugin, view: CNPGView, seen: SidecarSnapshot, settings: Settings
) -> AcceptanceInput:
    """Return the input for the acceptance of one sidecar, which has no objects of its own.

    CloudNativePG keys plugins by name: a Service with the same name would replace the socket.
    """
    rivals = [s for s in seen.published if _names(s, plugin.spec.plugin_name)]
    return AcceptanceInput(
        plugin=plugin,
        managed_namespaces=settings.namespaces,
        cnpg=view.cnpg,
        cnpg_elsewhere=view.seen.elsewhere,
        foreign=find_foreign(plugin, {}, rivals),
        rivals=find_rivals(plugin, seen.siblings),
        reference_exists=view.seen.reference_exists,
        grants=settings.grants,
        gate=settings.gate,
        private=seen.private,
    )


def _names(service: Mapping[str, Any], plugin_name: str) -> bool:
    labels = service["metadata"].get("labels") or {}
    return bool(labels.get(names.cnpg.PLUGIN_NAME) == plugin_name)


@dataclass(frozen=True, slots=True)
class Candidates:
    """The resources of a namespace that concern one CloudNativePG's sidecars."""

    each: tuple[Candidate, ...]
    histories: Mapping[str, History]
    cnpg: CNPGFacts
    place: Place

    def compose(
        self,
        settings: Settings,
        now: datetime,
        refused: Refusals,
        records: Mapping[str, SidecarRecord] | None = None,
        only: str = "",
    ) -> SidecarSet:
        """Compose the set of sidecars of CloudNativePG's Deployment.

        `records` replaces what the status records of some; with `only`, only that resource's
        sidecar may be added, changed or removed.
        """
        known, chosen = records or {}, []
        for candidate in self.each:
            record = known.get(candidate.name, candidate.record)
            each = replace(candidate, record=record, refused=refused.get(candidate.name) or {})
            if only not in ("", candidate.name):
                each = replace(each, accepted=False, leaving=False, deleting=False)
            chosen.append(each)
        blockade = find_blockade(self.cnpg, self.histories, now)
        return compose(chosen, self.cnpg, self.place, settings.gate, now, blockade)


def find_candidates(
    resources: tuple[Mapping[str, Any], ...],
    clusters: tuple[ClusterRecord, ...],
    wants: Mapping[str, Wants],
    cnpg: CNPGFacts,
    environment: PodEnvironment,
    settings: Settings,
) -> Candidates:
    """Read the candidates for one CloudNativePG."""
    concerned = [body for body in resources if _means(body, cnpg)]
    return Candidates(
        tuple(_candidate(body, clusters, wants, settings) for body in concerned),
        {body["metadata"]["name"]: _history(body) for body in resources},
        cnpg,
        Place(environment.directory, environment.user),
    )


def _history(body: Mapping[str, Any]) -> History:
    """Read which revision has worked, and when a sidecar was quarantined last."""
    status = read_status(body)
    quarantine = read_sidecar_record(status).quarantine
    registered = str(mapping(status.get("cnpg")).get("registeredRevision") or "")
    return History(registered, quarantine.at if quarantine is not None else None)


def _means(body: Mapping[str, Any], cnpg: CNPGFacts) -> bool:
    """Whether a resource refers to this CloudNativePG, where there are several."""
    return read_leaving(body).cnpg_reference in ("", cnpg.deployment)


def _candidate(
    body: Mapping[str, Any],
    clusters: tuple[ClusterRecord, ...],
    wants: Mapping[str, Wants],
    settings: Settings,
) -> Candidate:
    metadata = body["metadata"]
    socket = str(mapping(body.get("spec")).get("pluginName", ""))
    try:
        plugin = parse_plugin(body, settings.tls_provider)
    except errors.InvalidSpecError:
        plugin = None
    sidecar = plugin is not None and plugin.is_sidecar
    chosen = plugin.spec.cnpg.restart_policy if plugin is not None else None
    return Candidate(
        name=metadata["name"],
        socket=socket,
        plugin=plugin,
        accepted=sidecar and is_accepted(body, wants),
        record=read_sidecar_record(read_status(body)),
        policy=chosen or settings.restart_policy,
        leaving=is_leaving(body, plugin),
        deleting=bool(metadata.get("deletionTimestamp")),
        used=sidecar and bool(read_clusters(clusters, socket)),
        approval=find_approval(body),
    )


def is_accepted(body: Mapping[str, Any], wants: Mapping[str, Wants]) -> bool:
    """Whether the plugin's own pass has accepted this generation of its sidecar."""
    metadata = body["metadata"]
    wanted = wants.get(metadata["name"])
    return (
        wanted is not None
        and wanted.sidecar
        and (wanted.uid, wanted.generation) == (metadata["uid"], metadata.get("generation", 0))
    )
