"""The command line and the composition root: settings in, `run` or `handshake` out."""

import argparse
import asyncio
import contextlib
import os
import sys
from collections.abc import Sequence

from cnpg_plugin_operator import errors
from cnpg_plugin_operator.commands import handshake, run
from cnpg_plugin_operator.settings import read_settings


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="cnpg-plugin-operator",
        description="Deploys, proves and registers CNPG-I plugins for CloudNativePG.",
        epilog="Settings are environment variables; see the chart's values or the README.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run", help="run the operator", description="Run the operator.")
    handshake.add_parser(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return its exit status: 0 done, 1 the plugin or a setting is at fault."""
    arguments = build_parser().parse_args(argv)
    try:
        settings = read_settings(os.environ)
        with contextlib.suppress(KeyboardInterrupt):
            if arguments.command == "run":
                asyncio.run(run.run(settings))
                return 0
            return asyncio.run(handshake.handshake(settings, arguments))
    except errors.OperatorError as error:
        print(f"cnpg-plugin-operator: {error}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
