"""`kubectl_complete-cnpg_plugin`: what kubectl asks when a user presses Tab.

kubectl passes the words after `cnpg-plugin`, the last one unfinished, and reads one candidate a
line and a directive. Nothing here may fail loudly: it runs inside a shell's prompt.
"""

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from cnpg_plugin_operator import errors
from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.kubectl.access import Kubectl
from cnpg_plugin_operator.kubectl.output import FORMATS
from cnpg_plugin_operator.kubectl.program import COMMANDS, find_flags, make_kubectl

NO_FILES: Final = 4
FILES: Final = 0
"""Cobra's directives: whether the shell offers files beside the candidates."""

NAMED: Final = ("status", "diagnose", "handshake", "renew", "approve")
"""The commands whose arguments are names of plugins."""

_VALUES: Final = {"-o": FORMATS, "--output": FORMATS}

_OF_FILES: Final = ("--kubeconfig", "-f", "--file")


Connect = Callable[[argparse.Namespace], Kubectl]


def main() -> int:
    """Print the candidates for the last word."""
    candidates, directive = complete(sys.argv[1:], make_kubectl)
    print(*candidates, f":{directive}", sep="\n")  # noqa: T201 - it is what kubectl reads
    return 0


def complete(words: Sequence[str], connect: Connect) -> tuple[list[str], int]:
    """Find the candidates for the last word, and the directive."""
    *before, last = words or [""]
    command = next((word for word in before if word in COMMANDS), None)
    if command is None:
        return _starting(last, [*COMMANDS, "--help", "--version"]), NO_FILES
    if before[-1] in _VALUES:
        return _starting(last, _VALUES[before[-1]]), NO_FILES
    if before[-1] in _OF_FILES:
        return [], FILES
    if last.startswith("-"):
        return _starting(last, find_flags(command)), NO_FILES
    return _starting(last, _find_names(before, connect) if command in NAMED else []), NO_FILES


def _starting(last: str, candidates: Iterable[str]) -> list[str]:
    return sorted(each for each in candidates if each.startswith(last))


def _find_names(before: Sequence[str], connect: Connect) -> list[str]:
    """Read the names of plugins, with the flags that are there already."""
    parser = argparse.ArgumentParser(add_help=False)
    for flag in ("--namespace", "--kubeconfig", "--context"):
        parser.add_argument(flag, *(["-n"] if flag == "--namespace" else []))
    parser.add_argument("-A", "--all-namespaces", action="store_true")
    try:
        given, _ = parser.parse_known_args(before)
        kubectl = connect(given)
        where = None if given.all_namespaces else given.namespace or kubectl.namespace()
        return [body["metadata"]["name"] for body in kubectl.list(kinds.PLUGIN, where)]
    except (errors.OperatorError, SystemExit):
        return []
