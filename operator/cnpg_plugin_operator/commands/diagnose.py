"""`diagnose`: what the operator sees, decides and would write, from a shell with read rights.

It runs the operator's own passes, with the settings in its environment, and makes none of their
writes. It never shows what a Secret holds.
"""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any, Final

from cnpg_plugin_operator import errors
from cnpg_plugin_operator.api.conditions import Verdict
from cnpg_plugin_operator.api.screen import show
from cnpg_plugin_operator.api.untrusted import printable
from cnpg_plugin_operator.cluster.client import RECURSION_LIMIT, Client
from cnpg_plugin_operator.cluster.facts import Facts
from cnpg_plugin_operator.cluster.namespace import Namespaces
from cnpg_plugin_operator.cluster.removal import Remover
from cnpg_plugin_operator.cluster.sidecars import Sidecars
from cnpg_plugin_operator.cluster.snapshot import ClusterReader
from cnpg_plugin_operator.handshake.handshaker import Handshaker
from cnpg_plugin_operator.reconcile.diagnosis import (
    Condition,
    Diagnosing,
    NamespaceDiagnosis,
    PluginDiagnosis,
)
from cnpg_plugin_operator.reconcile.dry_run import CautiousHandshaker, Described, Recorder
from cnpg_plugin_operator.reconcile.environment import Environment
from cnpg_plugin_operator.reconcile.environment import Handshaker as Shaker
from cnpg_plugin_operator.settings import Settings, read_settings
from cnpg_plugin_operator.telemetry import Metrics
from cnpg_plugin_operator.watch.feeds import list_once

AS_WANTED: Final = 0
NOT_AS_WANTED: Final = 1
UNREADABLE: Final = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command's arguments."""
    parser.description = (
        "Say what the operator sees, decides and would write, and why; nothing is written. "
        "It reads with the rights of the kubeconfig in KUBECONFIG or of the pod's account, and "
        "takes the operator's settings from the environment, as `run` does. "
        "Exit status 0: all plugins are Ready or suspended and nothing is to be written; 1: "
        "something is not as wanted; 2: the arguments are wrong, or something could not be read."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="of a CNPGPlugin; all by default")
    parser.add_argument("-n", "--namespace", help="of the plugins; else all managed namespaces")
    parser.add_argument(
        "--no-handshake", action="store_true", help="rely on the status instead of calling plugins"
    )
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")


def main(arguments: argparse.Namespace) -> int:
    """Diagnose; return the exit status."""
    sys.setrecursionlimit(RECURSION_LIMIT)
    try:
        return asyncio.run(diagnose(read_settings(os.environ), arguments))
    except errors.OperatorError as error:
        sys.stderr.write(f"cnpg-plugin-operator: {printable(error)}\n")
        return UNREADABLE


async def diagnose(settings: Settings, arguments: argparse.Namespace) -> int:
    """Diagnose and print; return the exit status.

    Raises `SettingsError` for arguments that cannot be used, `ClusterError` where the resources
    cannot be read.
    """
    asked = (arguments.namespace,) if arguments.namespace else settings.namespaces
    if settings.kubeconfig is not None:
        # From a shell, no settings need say which namespaces an operator manages.
        settings = replace(settings, namespaces=asked)
    client = await Client.connect(settings.kubeconfig, settings.context, reads_only=True)
    real = None if arguments.no_handshake else Handshaker()
    try:
        facts = await list_once(client, settings.scope)
        diagnosing = compose(settings, client, facts, real, lambda: datetime.now(UTC))
        found = [await diagnosing.diagnose(namespace, arguments.names) for namespace in asked]
    finally:
        await client.close()
    unknown = {*arguments.names} - {each.name for one in found for each in one.plugins}
    if unknown:
        where = ", ".join(asked)
        raise errors.SettingsError(f"no CNPGPlugin {', '.join(sorted(unknown))} in {where}")
    render = render_json if arguments.output == "json" else render_text
    print(render(found))  # noqa: T201 - it is what was asked for
    if not all(each.is_read for each in found):
        return UNREADABLE
    return AS_WANTED if all(each.is_as_wanted for each in found) else NOT_AS_WANTED


def compose(
    settings: Settings,
    client: Client,
    facts: Facts,
    real: Shaker | None,
    clock: Callable[[], datetime],
) -> Diagnosing:
    """Put together passes that write nothing; without `real`, no plugin is called."""
    reader = ClusterReader(
        client, facts, settings.scope, clock, settings.grant_prefix, settings.operator_pods
    )
    recorder = Recorder()
    in_cluster = settings.kubeconfig is None
    handshaker = CautiousHandshaker(recorder, real, in_cluster=in_cluster)
    env = Environment(
        reader=reader,
        applier=recorder,
        remover=Remover(client, reader, binds_cluster_roles=bool(settings.grants.cluster_roles)),
        namespaces=Namespaces(client, reader, sidecars_allowed=settings.grants.sidecars),
        sidecars=Sidecars(client, reader),
        handshaker=handshaker,
        settings=settings,
        metrics=Metrics(),
        clock=clock,
    )
    return Diagnosing(env, recorder, handshaker)


def render_json(found: Iterable[NamespaceDiagnosis]) -> str:
    """Write what was found for programs; fields are added, never renamed."""
    document = {
        "namespaces": [
            {
                "namespace": each.namespace,
                "cnpg": [{"sees": sees, "decides": decides} for sees, decides in each.cnpg],
                "writes": [asdict(write) for write in each.writes],
                "error": each.error,
            }
            for each in found
        ],
        "plugins": [_plugin_json(plugin) for each in found for plugin in each.plugins],
    }
    return json.dumps(document, indent=2, ensure_ascii=False)


def _plugin_json(plugin: PluginDiagnosis) -> dict[str, Any]:
    return {
        "namespace": plugin.namespace,
        "name": plugin.name,
        "asWanted": plugin.is_as_wanted,
        "sees": [{"what": what, "state": state} for what, state in plugin.observations],
        "conditions": [
            {
                "type": each.type,
                "decided": _verdict_json(each.verdict),
                "reported": _verdict_json(each.reported),
                "assumed": each.assumed,
            }
            for each in plugin.conditions
        ],
        "runbook": plugin.runbook,
        "writes": [asdict(write) for write in plugin.writes],
        "then": plugin.then,
        "error": plugin.error,
        "nextLookSeconds": plugin.next_look,
    }


def _verdict_json(verdict: Verdict | None) -> dict[str, str] | None:
    return asdict(verdict) if verdict is not None else None


def render_text(found: Iterable[NamespaceDiagnosis]) -> str:
    """Write what was found for people, on a screen."""
    return show((line for each in found for line in _namespace_lines(each)), hanging=6)


def _namespace_lines(found: NamespaceDiagnosis) -> Iterator[str]:
    yield f"Namespace {found.namespace}"
    for sees, decides in found.cnpg:
        yield f"  CloudNativePG: {sees}"
        yield from [f"    {decides}"] if decides else []
    yield from _ending_lines(found.writes, found.error)
    for plugin in found.plugins:
        yield ""
        yield f"CNPGPlugin {plugin.namespace}/{plugin.name}"
        for what, state in plugin.observations:
            yield f"  {what:<14} {state}"
        for condition in plugin.conditions:
            yield from _condition_lines(condition)
        if plugin.runbook:
            yield f"  runbook: {plugin.runbook}"
        yield from _ending_lines(plugin.writes, plugin.error)
        if plugin.then:
            yield f"  then: {plugin.then}"
        if plugin.next_look is not None:
            pause = f"within {plugin.next_look:.0f} s" if plugin.next_look >= 1 else "at once"
            yield f"  looks again {pause}, or when something changes"


def _condition_lines(condition: Condition) -> Iterator[str]:
    verdict, reported = condition.verdict, condition.reported
    if verdict is None:
        yield f"  {condition.type:<18} not judged: the pass ends before it"
    else:
        yield f"  {condition.type:<18} {verdict.status} {verdict.reason}: {verdict.message}"
    if condition.differs and reported is not None:
        yield f"    the status says  {reported.status} {reported.reason}: {reported.message}"


def _ending_lines(writes: Iterable[Described], error: str) -> Iterator[str]:
    writes = list(writes)
    if error:
        yield f"  could not be read: {error}"
    elif not writes:
        yield "  nothing to write"
    for write in writes:
        name = f"{write.namespace}/{write.name}" if write.namespace else write.name
        changes = f": {'; '.join(write.changes)}" if write.changes else ""
        yield f"  would {write.verb} {write.kind} {name}{changes}"
