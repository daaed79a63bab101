"""The command line: loads the one command that was asked for, and nothing of the others.

What a command loads counts: `await-sockets` runs before CloudNativePG starts. Each command is a
module with `add_arguments(parser)` and `main(arguments)`, and is its own composition root.
"""

import argparse
import contextlib
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from typing import Final, Protocol, cast

from cnpg_plugin_operator.errors import OperatorError

COMMANDS: Final = {
    "run": ("run", "run the operator"),
    "handshake": ("handshake", "shake hands with a plugin exactly as CloudNativePG would"),
    "diagnose": ("diagnose", "say what the operator sees, decides and would write"),
    "migrate": ("migrate", "describe a plugin that runs without this operator as a resource"),
    "await-sockets": ("await_sockets", "wait for the plugins in CloudNativePG's own pod"),
}
"""The module of each command, and what it does."""

NEVER_FAILS: Final = "await-sockets"
"""The command whose exit status is 0 even if its arguments are wrong or it cannot be loaded:
CloudNativePG does not start before it has succeeded."""


class Command(Protocol):
    """A module of `commands`."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Describe the command's arguments."""

    def main(self, arguments: argparse.Namespace) -> int:
        """Run the command; return its exit status."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return its exit status: 0 done, 1 the plugin or a setting is at fault.

    `diagnose` returns 2 where it could not read the cluster.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] != [NEVER_FAILS]:
        return _run(words)
    try:
        return _run(words)
    except SystemExit:
        return 0  # argparse has said what is wrong
    except Exception:  # noqa: BLE001 - see NEVER_FAILS
        traceback.print_exc()
        return 0


def _run(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="cnpg-plugin-operator",
        description="Deploys, proves and registers CNPG-I plugins for CloudNativePG.",
        epilog="`run --help` lists the settings; each is an environment variable too.",
    )
    subparsers = parser.add_subparsers(dest="command", required=True)
    parsers = {
        name: subparsers.add_parser(name, help=about) for name, (_, about) in COMMANDS.items()
    }
    chosen = words[0] if words and words[0] in COMMANDS else None
    if chosen is None:
        parser.parse_args(words)  # says what is wrong, or helps
        return 2
    command = _load(chosen)
    command.add_arguments(parsers[chosen])
    arguments = parser.parse_args(words)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            return command.main(arguments)
    except OperatorError as error:
        print(f"cnpg-plugin-operator: {error}", file=sys.stderr)
    return 1


def _load(name: str) -> Command:
    module, _ = COMMANDS[name]
    return cast("Command", import_module(f"cnpg_plugin_operator.commands.{module}"))


if __name__ == "__main__":
    sys.exit(main())
