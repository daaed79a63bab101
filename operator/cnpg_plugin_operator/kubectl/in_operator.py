"""`handshake`, `diagnose` and `restart-plan`: the operator's own commands, run in its pod.

Only there are its settings, its rights and the network of the plugins. `diagnose` also runs here,
with the user's rights and without calling plugins, where no pod of the operator does.
"""

import argparse
import asyncio
import contextlib
import io
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from cnpg_plugin_operator import errors
from cnpg_plugin_operator.api.plugin import names_sidecar, parse_plugin
from cnpg_plugin_operator.api.screen import show
from cnpg_plugin_operator.api.untrusted import mapping, objects, printable
from cnpg_plugin_operator.kubectl.access import Done, Kubectl
from cnpg_plugin_operator.kubectl.resources import OperatorDeployment, Scope, find_operator
from cnpg_plugin_operator.kubectl.status import RESTARTS
from cnpg_plugin_operator.settings import Settings, read_settings

PROGRAM: Final = "cnpg-plugin-operator"

HOME_CONFIG: Final = Path("~/.kube/config")


def shake(
    kubectl: Kubectl, body: Mapping[str, Any], scope: Scope, timeout: str, output: str
) -> Done:
    """Perform the handshake with a plugin, from the operator's pod.

    Raises `SettingsError` for a sidecar, `InvalidSpecError` for a spec that names no Service.
    """
    namespace, name = body["metadata"]["namespace"], body["metadata"]["name"]
    if names_sidecar(body.get("spec")):
        raise errors.SettingsError(
            f"{name} is a sidecar: the gate in CloudNativePG's pod performs its handshake; see "
            f"kubectl cnpg-plugin status {name} -n {namespace}"
        )
    operator = find_operator(kubectl, replace(scope, namespace=namespace))
    words = ["handshake", parse_plugin(body).service_name, f"--namespace={namespace}"]
    return run_in(kubectl, operator, [*words, f"--timeout={timeout}", f"--output={output}"])


def diagnose(
    kubectl: Kubectl, scope: Scope, environment: Mapping[str, str], flags: argparse.Namespace
) -> Done:
    """Diagnose plugins in the operator's pod, or here where it does not run or `--local` is given.

    Raises `ClusterError` where neither is possible.
    """
    output = "text" if flags.output == "text" else "json"
    operator = None if flags.local else find_operator(kubectl, scope)
    if operator is not None and operator.available:
        words = ["diagnose", *scope.names, f"--output={output}"]
        words += [f"--namespace={scope.namespace}"] if scope.namespace else []
        words += ["--no-handshake"] if flags.no_handshake else []
        return run_in(kubectl, operator, words)
    note = ""
    if operator is not None:
        note = (
            f"Deployment {operator.namespace}/{operator.name} has no available pod: this uses "
            "your own rights and calls no plugin."
        )
    found = _diagnose_here(kubectl, scope, operator, environment, output)
    return replace(found, err="\n".join(filter(None, (note, found.err))))


def run_in(kubectl: Kubectl, operator: OperatorDeployment, words: Sequence[str]) -> Done:
    """Run one of the operator's commands in its pod."""
    target = f"deployment/{operator.name}"
    return kubectl.execute(operator.namespace, target, operator.container, [PROGRAM, *words])


def local_settings(kubectl: Kubectl, environment: Mapping[str, str]) -> Settings:
    """Read the settings of an operator, to be used with the user's own connection."""
    settings = read_settings(environment)
    kubeconfig = kubectl.kubeconfig or settings.kubeconfig or str(HOME_CONFIG.expanduser())
    return replace(settings, kubeconfig=kubeconfig, context=kubectl.context)


def _diagnose_here(
    kubectl: Kubectl,
    scope: Scope,
    operator: OperatorDeployment | None,
    environment: Mapping[str, str],
    output: str,
) -> Done:
    from cnpg_plugin_operator.commands import diagnose as command  # noqa: PLC0415 - loads a client

    known = operator.settings if operator is not None else {}
    settings = local_settings(kubectl, {**environment, **known})
    arguments = argparse.Namespace(
        names=scope.names, namespace=scope.namespace, no_handshake=True, output=output
    )
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        status = asyncio.run(command.diagnose(settings, arguments))
    return Done(status, said.getvalue())


def build_plan(diagnosis: Mapping[str, Any]) -> dict[str, Any]:
    """Pick from what `diagnose` found what would restart CloudNativePG, and why."""
    plugins = []
    for plugin in objects(diagnosis.get("plugins")):
        for condition in objects(plugin.get("conditions")):
            decided = mapping(condition.get("decided"))
            if decided.get("reason") in RESTARTS:
                about = {key: plugin.get(key) for key in ("namespace", "name")}
                why = {key: decided.get(key) for key in ("reason", "message")}
                plugins.append({**about, **why})
    namespaces = [
        {key: each.get(key) for key in ("namespace", "cnpg", "error")}
        for each in objects(diagnosis.get("namespaces"))
    ]
    return {"restart": bool(plugins), "plugins": plugins, "namespaces": namespaces}


def write_plan(plan: Mapping[str, Any]) -> str:
    """Write the plan for people."""
    lines = []
    for each in plan["namespaces"]:
        lines.append(f"Namespace {each['namespace']}")
        for cnpg in objects(each["cnpg"]):
            lines += [f"  {cnpg.get('sees')}", f"    {cnpg.get('decides') or 'nothing decided'}"]
        lines += [f"  could not be read: {each['error']}"] if each["error"] else []
    for each in plan["plugins"]:
        lines.append(f"{each['namespace']}/{each['name']}: {each['reason']}: {each['message']}")
    if not plan["plugins"]:
        lines.append("No plugin waits for a restart of CloudNativePG.")
    return show(lines) + "\n"


def read_json(done: Done) -> dict[str, Any]:
    """Parse what a command printed with `--output=json`. Raises `UnavailableError`."""
    try:
        found: dict[str, Any] = json.loads(done.out)
    except ValueError as error:
        words = printable(done.err or done.out or "nothing")
        raise errors.UnavailableError(f"the command said no JSON: {words}") from error
    return found


def raise_recursion_limit() -> None:
    """Allow bodies as deep as the API server does, where a client is used here."""
    from cnpg_plugin_operator.cluster.client import RECURSION_LIMIT  # noqa: PLC0415 - see above

    sys.setrecursionlimit(RECURSION_LIMIT)
