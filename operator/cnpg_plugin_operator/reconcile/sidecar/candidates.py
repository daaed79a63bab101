"""From what was read of a namespace to the set of sidecars: who is a candidate, who gets in."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from cnpg_plugin_operator import errors, names
from cnpg_plugin_operator.api.plugin import Plugin, parse_plugin
from cnpg_plugin_operator.api.sidecar_status import read_note
from cnpg_plugin_operator.api.status import read_status
from cnpg_plugin_operator.api.untrusted import mapping
from cnpg_plugin_operator.cluster.clusters import read_clusters
from cnpg_plugin_operator.cluster.ownership import find_foreign
from cnpg_plugin_operator.cluster.plugins import find_approval, find_rivals
from cnpg_plugin_operator.cluster.sidecars import SidecarSnapshot
from cnpg_plugin_operator.decide.acceptance.acceptance import AcceptanceInput, decide_acceptance
from cnpg_plugin_operator.decide.facts.cnpg_pod import HostFacts
from cnpg_plugin_operator.decide.sidecar.quarantine import History, find_blockade
from cnpg_plugin_operator.decide.sidecar.sidecar_set import Candidate, Roster, compose, is_leaving
from cnpg_plugin_operator.reconcile.sidecar.pending import Refusals
from cnpg_plugin_operator.settings import Settings

NOTHING_REFUSED: Final[Refusals] = {}


def admit(plugin: Plugin, seen: SidecarSnapshot, policy: Settings) -> AcceptanceInput:
    """Give what the admission of one sidecar is decided from; it has no objects of its own.

    CloudNativePG keys plugins by name: a Service of the same name would take the socket's place.
    """
    rivals = [s for s in seen.published if _names(s, plugin.spec.plugin_name)]
    return AcceptanceInput(
        plugin=plugin,
        managed_namespaces=policy.namespaces,
        cnpg=seen.cnpg,
        cnpg_elsewhere=seen.cnpg_elsewhere,
        foreign=find_foreign(plugin, {}, rivals),
        rivals=find_rivals(plugin, seen.siblings),
        reference_exists=seen.reference_exists,
        grants=policy.grants,
        host=seen.host,
        gate=policy.gate,
        private=seen.private,
    )


def _names(service: Mapping[str, Any], plugin_name: str) -> bool:
    labels = service["metadata"].get("labels") or {}
    return bool(labels.get(names.cnpg.PLUGIN_NAME) == plugin_name)


def seat(
    seen: SidecarSnapshot,
    host: HostFacts,
    policy: Settings,
    now: datetime,
    refused: Refusals = NOTHING_REFUSED,
    only: str = "",
) -> Roster:
    """Compose the set of sidecars of CloudNativePG's Deployment.

    With `only`, nothing but that resource's sidecar may come, change or go.
    """
    hosted = []
    for body in seen.siblings:
        candidate = _candidate(body, seen, policy)
        if not _is_hosted(candidate, host):
            continue
        if only not in ("", candidate.name):
            candidate = replace(candidate, accepted=False, leaving=False, deleting=False)
        hosted.append(replace(candidate, refused=refused.get(candidate.name) or {}))
    histories = {body["metadata"]["name"]: _history(body) for body in seen.siblings}
    return compose(hosted, host, policy.gate, now, find_blockade(host, histories, now))


def _history(body: Mapping[str, Any]) -> History:
    """Read which revision has worked, and when a sidecar was taken out last."""
    status = read_status(body)
    held = read_note(status).held
    registered = str(mapping(status.get("cnpg")).get("registeredRevision") or "")
    return History(registered, held.at if held is not None else None)


def _is_hosted(candidate: Candidate, host: HostFacts) -> bool:
    """Whether a resource means this CloudNativePG, where there are several."""
    reference = candidate.plugin.cnpg_reference if candidate.plugin else ""
    return reference in ("", host.deployment)


def _candidate(body: Mapping[str, Any], seen: SidecarSnapshot, policy: Settings) -> Candidate:
    socket = str(mapping(body.get("spec")).get("pluginName", ""))
    accepted = used = False
    try:
        plugin = parse_plugin(body, policy.tls_provider)
    except errors.InvalidSpecError:
        plugin = None
    if plugin is not None and plugin.is_sidecar:
        accepted = _is_admitted(plugin, seen, policy)
        used = bool(read_clusters(seen.clusters, socket))
    chosen = plugin.spec.restart_policy if plugin is not None else None
    return Candidate(
        name=body["metadata"]["name"],
        socket=socket,
        plugin=plugin,
        accepted=accepted,
        note=read_note(read_status(body)),
        policy=chosen or policy.restart_policy,
        leaving=is_leaving(body, plugin),
        deleting=bool(body["metadata"].get("deletionTimestamp")),
        used=used,
        approval=find_approval(body),
    )


def _is_admitted(plugin: Plugin, seen: SidecarSnapshot, policy: Settings) -> bool:
    """Whether its spec is valid here; one that is suspended is not looked at."""
    return plugin.spec.suspend or decide_acceptance(admit(plugin, seen, policy)).is_true
