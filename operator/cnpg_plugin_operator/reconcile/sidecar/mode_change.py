"""Removes the label from Services whose plugins become sidecars, and restores it if they stay."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.cluster import kinds, observe
from cnpg_plugin_operator.cluster.ownership import is_own
from cnpg_plugin_operator.decide.facts.cnpg import CNPGFacts
from cnpg_plugin_operator.decide.sidecar.mode_change import (
    MovingInput,
    Visibility,
    decide_visibility,
)
from cnpg_plugin_operator.reconcile.pruning import delete
from cnpg_plugin_operator.reconcile.stages import Progress
from cnpg_plugin_operator.reconcile.writes import (
    HideService,
    RecordSeen,
    ShowService,
    StripFinalizer,
    Write,
)


def read_move(
    plugin: Plugin, service: Mapping[str, Any] | None, cnpg: CNPGFacts
) -> MovingInput | None:
    """Read the progress of a plugin's move from its own Service to CloudNativePG's pod.

    None where there is no such Service.
    """
    if service is None or not is_own(plugin, service):
        return None
    return MovingInput(
        name=plugin.name,
        socket=plugin.spec.plugin_name,
        service=observe.read_previous_service(service),
        cnpg=cnpg,
    )


async def hide_services(
    progress: Progress,
    cnpg: CNPGFacts,
    services: Collection[Mapping[str, Any]],
    coming: Collection[str],
) -> None:
    """Remove the label from the Services of plugins in CloudNativePG's next pods.

    The pods are read afterwards: later pods cannot have seen the label. They are recorded also
    where a Service has no label and no record: it may never have had one.
    """
    previous = [
        (body, observe.read_previous_service(body))
        for body in services
        if observe.plugin_of(body) in coming
    ]
    labelled = [body for body, service in previous if service.labelled]
    unrecorded = [b for b, service in previous if service.labelled or service.seen_by is None]
    await progress.make(*map(HideService, labelled))
    if unrecorded:
        pods = await progress.env.sidecars.pod_names(cnpg.namespace, cnpg.deployment)
        await progress.make(*(RecordSeen(body, tuple(pods)) for body in unrecorded))


async def follow_move(
    progress: Progress,
    plugin: Plugin,
    services: Collection[Mapping[str, Any]],
    cnpg: CNPGFacts,
) -> None:
    """Show the old Service to CloudNativePG or hide it, as its state requires."""
    service = next((body for body in services if observe.plugin_of(body) == plugin.name), None)
    move = read_move(plugin, service, cnpg)
    if move is None or service is None:
        return
    match decide_visibility(move):
        case Visibility.SHOW:
            await progress.make(ShowService(service, plugin))
        case Visibility.HIDE:
            await hide_services(progress, cnpg, [service], {plugin.name})
        case Visibility.KEEP:
            pass


def withdraw_service(service: Mapping[str, Any], now: datetime) -> tuple[Write, ...]:
    """Plan the end of a Service: CloudNativePG's finalizer first, then the Service itself."""
    facts = observe.read_service(service, now)
    # Without its label, CloudNativePG 1.29.0 to 1.30.0 would never take the finalizer off.
    stripped = (StripFinalizer(service),) if facts.cnpg_finalizer else ()
    return (*stripped, *delete([(kinds.SERVICE, service)]))
