"""Takes the label off Services whose plugins become sidecars, and puts it back where they stay."""

from collections.abc import Collection, Mapping
from typing import Any

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.cluster import observe
from cnpg_plugin_operator.cluster.ownership import is_own
from cnpg_plugin_operator.decide.facts.cnpg import CNPGFacts
from cnpg_plugin_operator.decide.sidecar.mode_change import MovingInput, Sight, decide_sight
from cnpg_plugin_operator.reconcile.environment import Environment


def read_move(
    plugin: Plugin, service: Mapping[str, Any] | None, cnpg: CNPGFacts
) -> MovingInput | None:
    """Read how far a plugin's move from its own Service to CloudNativePG's pod has come.

    None where there is no such Service.
    """
    if service is None or not is_own(plugin, service):
        return None
    return MovingInput(
        name=plugin.name,
        socket=plugin.spec.plugin_name,
        service=observe.read_former_service(service),
        cnpg=cnpg,
    )


async def hide_services(
    env: Environment,
    namespace: str,
    deployment: str,
    services: Collection[Mapping[str, Any]],
    coming: Collection[str],
) -> list[str]:
    """Take the label off the Services of plugins that the next pods of CloudNativePG hold.

    The pods are read after that: those that are made later cannot have seen the label.
    """
    labelled = [
        body
        for body in services
        if observe.plugin_of(body) in coming
        and names.cnpg.PLUGIN_NAME in (body["metadata"].get("labels") or {})
    ]
    for body in labelled:
        await env.writer.hide_service(body)
    if labelled:
        pods = await env.sidecars.pod_names(namespace, deployment)
        for body in labelled:
            await env.writer.note_seen(body, pods)
    return [f"Service {body['metadata']['name']}" for body in labelled]


async def follow_move(
    env: Environment,
    plugin: Plugin,
    services: Collection[Mapping[str, Any]],
    cnpg: CNPGFacts,
) -> list[str]:
    """Show the old Service to CloudNativePG or hide it, as its state asks for now."""
    service = next((body for body in services if observe.plugin_of(body) == plugin.name), None)
    move = read_move(plugin, service, cnpg)
    if move is None or service is None:
        return []
    match decide_sight(move):
        case Sight.SHOW:
            await env.writer.show_service(plugin, service)
            return [f"Service {move.service.name}"]
        case Sight.HIDE:
            return await hide_services(
                env, plugin.namespace, cnpg.deployment, [service], {plugin.name}
            )
        case Sight.KEEP:
            return []
