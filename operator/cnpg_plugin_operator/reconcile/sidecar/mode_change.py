"""Takes the label off Services whose plugins become sidecars, and puts it back where they stay."""

from collections.abc import Collection

from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.cluster import observe
from cnpg_plugin_operator.cluster.ownership import is_own
from cnpg_plugin_operator.cluster.sidecars import SidecarSnapshot
from cnpg_plugin_operator.decide.sidecar.mode_change import MovingInput, Sight, decide_sight
from cnpg_plugin_operator.reconcile.environment import Environment


def read_move(plugin: Plugin, seen: SidecarSnapshot) -> MovingInput | None:
    """Read how far a plugin's move from its own Service to CloudNativePG's pod has come.

    None where there is no such Service, or not exactly one CloudNativePG.
    """
    service, host = seen.service, seen.host
    if service is None or host is None or not is_own(plugin, service):
        return None
    return MovingInput(
        name=plugin.name,
        socket=plugin.spec.plugin_name,
        service=observe.read_former_service(service),
        host=host,
        leader=seen.cnpg[0].leader,
    )


async def hide_services(
    env: Environment, namespace: str, deployment: str, coming: Collection[str]
) -> list[str]:
    """Take the label off the Services of plugins that the next pods of CloudNativePG hold.

    The pods are read after that: those that are made later cannot have seen the label.
    """
    services = [
        body
        for name, body in (await env.gatherer.published_services(namespace)).items()
        if name in coming
    ]
    for body in services:
        await env.writer.hide_service(body)
    if services:
        pods = await env.sidecars.pod_names(namespace, deployment)
        for body in services:
            await env.writer.note_seen(body, pods)
    return [f"Service {body['metadata']['name']}" for body in services]


async def follow_move(env: Environment, plugin: Plugin, seen: SidecarSnapshot) -> list[str]:
    """Show the old Service to CloudNativePG or hide it, as its state asks for now."""
    move = read_move(plugin, seen)
    if move is None or decide_sight(move) is Sight.KEEP:
        return []
    async with env.locks[plugin.namespace]:
        fresh = await env.sidecars.snapshot(plugin)
        move = read_move(plugin, fresh)
        if move is None or fresh.service is None:
            return []
        match decide_sight(move):
            case Sight.SHOW:
                await env.writer.show_service(plugin, fresh.service)
                return [f"Service {move.service.name}"]
            case Sight.HIDE:
                deployment = move.host.deployment
                return await hide_services(env, plugin.namespace, deployment, {plugin.name})
            case Sight.KEEP:
                return []
