"""The command line of `kubectl cnpg-plugin`; each subcommand loads only what it needs.

Exit status: 0 all is as wanted, or done; 1 something is wrong with a plugin; 2 the arguments are
wrong, or something could not be read, or was refused.
"""

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cnpg_plugin_operator import errors
from cnpg_plugin_operator.api.screen import fold
from cnpg_plugin_operator.api.times import format_time
from cnpg_plugin_operator.api.untrusted import printable
from cnpg_plugin_operator.kubectl.access import Done, Kubectl
from cnpg_plugin_operator.kubectl.output import FORMATS, Style, write_document
from cnpg_plugin_operator.kubectl.resources import Scope, find_plugin, find_plugins
from cnpg_plugin_operator.version import find_version

AS_WANTED: Final = 0
WRONG: Final = 1
REFUSED: Final = 2

MIGRATE_KEYS: Final = ("from_service", "name", "namespace")


def main() -> int:
    """Run the command line; return its exit status."""
    try:
        return run(sys.argv[1:], make_kubectl)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return AS_WANTED
    except KeyboardInterrupt:
        return REFUSED


def make_kubectl(arguments: argparse.Namespace) -> Kubectl:
    """Use the kubectl of `KUBECTL`, or that of `PATH`, with the flags for the connection."""
    program = os.environ.get("KUBECTL") or "kubectl"
    return Kubectl([program], kubeconfig=arguments.kubeconfig, context=arguments.context)


def run(words: Sequence[str], connect: Callable[[argparse.Namespace], Kubectl]) -> int:
    """Run a subcommand; return its exit status, which the module's docstring lists."""
    arguments = build_parser().parse_args(words)
    try:
        kubectl = connect(arguments)
        scope = _read_scope(kubectl, arguments)
        status: int = COMMANDS[arguments.command][0](kubectl, scope, arguments)
    except errors.OperatorError as error:
        sys.stderr.write(f"kubectl cnpg-plugin: {printable(error)}\n")
        return REFUSED
    return status


def _read_scope(kubectl: Kubectl, arguments: argparse.Namespace) -> Scope:
    everywhere = getattr(arguments, "all_namespaces", False)
    namespace = None if everywhere else arguments.namespace or kubectl.namespace()
    named = getattr(arguments, "names", None) or [getattr(arguments, "plugin", None)]
    return Scope(namespace, tuple(filter(None, named)), arguments.operator_namespace)


def _status(kubectl: Kubectl, scope: Scope, arguments: argparse.Namespace) -> int:
    from cnpg_plugin_operator.kubectl import status  # noqa: PLC0415 - each loads its own

    bodies = find_plugins(kubectl, scope)
    users = status.find_users(kubectl)
    found = [status.report(body, users, datetime.now(UTC)) for body in bodies]
    if arguments.output != "text":
        _print(write_document({"plugins": found}, arguments.output))
    elif not found:
        _tell(
            f"no CNPGPlugin in {scope.namespace or 'any namespace'}; --all-namespaces looks in all"
        )
    elif scope.names:
        _print("\n".join(status.write_one(each, Style.of(sys.stdout)) for each in found))
    else:
        _print(status.write_all(found, Style.of(sys.stdout)))
    return AS_WANTED if all(map(status.is_as_wanted, found)) else WRONG


def _diagnose(kubectl: Kubectl, scope: Scope, arguments: argparse.Namespace) -> int:
    from cnpg_plugin_operator.kubectl import in_operator  # noqa: PLC0415 - each loads its own

    return _pass_on(in_operator.diagnose(kubectl, scope, os.environ, arguments), arguments.output)


def _handshake(kubectl: Kubectl, scope: Scope, arguments: argparse.Namespace) -> int:
    from cnpg_plugin_operator.kubectl import in_operator  # noqa: PLC0415 - each loads its own

    output = "text" if arguments.output == "text" else "json"
    body = find_plugin(kubectl, scope)
    done = in_operator.shake(kubectl, body, scope, arguments.timeout, output)
    return _pass_on(done, arguments.output)


def _restart_plan(kubectl: Kubectl, scope: Scope, arguments: argparse.Namespace) -> int:
    from cnpg_plugin_operator.kubectl import in_operator  # noqa: PLC0415 - each loads its own

    flags = argparse.Namespace(output="json", local=arguments.local, no_handshake=True)
    done = in_operator.diagnose(kubectl, scope, os.environ, flags)
    plan = in_operator.build_plan(in_operator.read_json(done))
    text = arguments.output == "text"
    _print(in_operator.write_plan(plan) if text else write_document(plan, arguments.output))
    _tell(done.err)
    if done.status == REFUSED:
        return REFUSED
    return WRONG if plan["restart"] else AS_WANTED


def _renew(kubectl: Kubectl, scope: Scope, _: argparse.Namespace) -> int:
    from cnpg_plugin_operator.kubectl import requests  # noqa: PLC0415 - each loads its own

    _print(requests.renew(kubectl, find_plugin(kubectl, scope), datetime.now(UTC)) + "\n")
    return AS_WANTED


def _approve(kubectl: Kubectl, scope: Scope, _: argparse.Namespace) -> int:
    from cnpg_plugin_operator.kubectl import requests  # noqa: PLC0415 - each loads its own

    _print(requests.approve(kubectl, find_plugin(kubectl, scope)) + "\n")
    return AS_WANTED


def _migrate(kubectl: Kubectl, scope: Scope, arguments: argparse.Namespace) -> int:
    import asyncio  # noqa: PLC0415 - each loads its own

    from cnpg_plugin_operator.commands import migrate  # noqa: PLC0415 - each loads its own
    from cnpg_plugin_operator.desired.manifest import write_manifest  # noqa: PLC0415 - see above
    from cnpg_plugin_operator.kubectl import in_operator  # noqa: PLC0415 - each loads its own

    given = argparse.Namespace(**{key: getattr(arguments, key) for key in MIGRATE_KEYS})
    given.namespace = scope.namespace
    in_operator.raise_recursion_limit()
    found = asyncio.run(migrate.describe(in_operator.local_settings(kubectl, os.environ), given))
    _print(write_manifest(found.resource, found.remarks))
    return AS_WANTED


def _report(kubectl: Kubectl, scope: Scope, arguments: argparse.Namespace) -> int:
    from cnpg_plugin_operator.kubectl import report  # noqa: PLC0415 - each loads its own

    now = datetime.now(UTC)
    stamp = format_time(now).replace(":", "").replace("-", "")
    folder = f"cnpg-plugin-report-{stamp}"
    path = Path(arguments.file or f"{folder}.tar.gz")
    archive = report.collect(
        kubectl, scope, now, find_version(), lambda what: _tell(f"reading {what} …")
    )
    try:
        with path.open("xb") as file:
            path.chmod(0o600)
            file.write(archive.write(folder, now))
    except OSError as error:
        raise errors.SettingsError(f"cannot write {path}: {error.strerror}") from error
    for line in archive.missing:
        _tell(f"left out {line}")
    _print(f"{path}\n")
    return AS_WANTED


COMMANDS: Final[Mapping[str, tuple[Callable[[Kubectl, Scope, argparse.Namespace], int], str]]] = {
    "status": (_status, "show all plugins, or everything about some"),
    "diagnose": (_diagnose, "say what the operator sees, decides and would write"),
    "handshake": (_handshake, "shake hands with a plugin exactly as CloudNativePG would"),
    "renew": (_renew, "ask for new certificates of a plugin"),
    "approve": (_approve, "approve the change that a plugin waits with"),
    "restart-plan": (_restart_plan, "say what would restart CloudNativePG, and why"),
    "migrate": (_migrate, "describe a plugin that runs without the operator as a resource"),
    "report": (_report, "collect one archive for a support case, without secrets"),
}


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        prog="kubectl cnpg-plugin",
        description="Looks after CNPG-I plugins of CloudNativePG from outside the cluster.",
        epilog="Exit status 0: all is as wanted; 1: something is wrong with a plugin; 2: the "
        "arguments are wrong, or something could not be read or was refused.",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (_, about) in COMMANDS.items():
        _add_arguments(name, commands.add_parser(name, help=about, description=about))
    return parser


def find_flags(command: str) -> list[str]:
    """Name the flags of a subcommand."""
    parser = argparse.ArgumentParser()
    _add_arguments(command, parser)
    return [flag for action in parser._actions for flag in action.option_strings]  # noqa: SLF001 - no other way


def _add_arguments(name: str, parser: argparse.ArgumentParser) -> None:
    if name in ("status", "diagnose"):
        parser.add_argument("names", nargs="*", metavar="NAME", help="of a CNPGPlugin")
    if name in ("handshake", "renew", "approve"):
        parser.add_argument("plugin", metavar="NAME", help="of a CNPGPlugin")
    parser.add_argument("-n", "--namespace", help="of the plugins; else that of the context")
    if name in ("status", "diagnose", "restart-plan", "report"):
        parser.add_argument("-A", "--all-namespaces", action="store_true", help="look in all")
    if name in ("status", "diagnose", "handshake", "restart-plan"):
        parser.add_argument("-o", "--output", choices=FORMATS, default="text")
    parser.add_argument("--kubeconfig", help="file with the connection, as for kubectl")
    parser.add_argument("--context", help="context of the kubeconfig")
    parser.add_argument("--operator-namespace", metavar="NAMESPACE", help="where the operator runs")
    if name in ("diagnose", "restart-plan"):
        local = "use your own rights instead of the operator's pod, and call no plugin"
        parser.add_argument("--local", action="store_true", help=local)
    if name == "diagnose":
        parser.add_argument("--no-handshake", action="store_true", help="call no plugin")
    if name == "handshake":
        parser.add_argument("--timeout", default="5s", help="deadline (default: %(default)s)")
    if name == "migrate":
        service = "the Service by which CloudNativePG uses the plugin"
        parser.add_argument("--from-service", required=True, metavar="NAME", help=service)
        parser.add_argument("--name", default="", help="of the resource; else one that is free")
    if name == "report":
        parser.add_argument("-f", "--file", help="to write; else named after the time")


class _Version(argparse.Action):
    """Reads the version only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        _print(f"{find_version()}\n")
        parser.exit(AS_WANTED)


def _pass_on(done: Done, output: str) -> int:
    """Print what a command in the operator has printed."""
    if output == "yaml" and done.out:
        from cnpg_plugin_operator.kubectl import in_operator  # noqa: PLC0415 - loaded before

        _print(write_document(in_operator.read_json(done), output))
    else:
        _print(done.out)
    _tell(done.err)
    return done.status


def _print(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _tell(text: str) -> None:
    """Say something that is not the result."""
    for line in text.rstrip().splitlines():
        sys.stderr.write(f"{fold(line)}\n")
