"""`await-sockets`: the gate before CloudNativePG's start, where plugins run in its own pod.

CloudNativePG looks for sockets once, when it starts; so this init container waits until each plugin
answers on its own, links the sockets of the declared plugins where CloudNativePG looks, and writes
a verdict on each to its termination message. It exits with status 0 whatever happens, even in its
own code: a plugin that does not work must never prevent CloudNativePG's start, and with it every
failover. For the same reason it loads very little code.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import InitVar, dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from cnpg_plugin_operator.api.conditions import Reason
from cnpg_plugin_operator.api.durations import parse_duration
from cnpg_plugin_operator.api.untrusted import printable
from cnpg_plugin_operator.decide.facts.plugin import HandshakeOutcome
from cnpg_plugin_operator.decide.sidecar import gate
from cnpg_plugin_operator.handshake.sockets import SocketHandshaker, find_sockets, link_sockets

ATTEMPT: Final = 5.0
"""Seconds for one handshake: what CloudNativePG allows for all plugins of a Cluster together."""

LAST_ATTEMPT: Final = 1.0
"""Seconds for one handshake that are granted even after the deadline."""

PAUSES: Final = (0.25, 2.0)
"""Seconds between two checks of a listening plugin, at first and later. Checks for a file always
use the first, because they cost nothing."""

STUCK: Final = 15.0
"""Seconds after the deadline after which this process exits: the kubelet would never end it."""

UNSEEN: Final = HandshakeOutcome(
    Reason.NO_ANSWER, "The gate was stopped before the plugin had answered; its log may say why."
)
"""The verdict on a plugin about which nothing is known."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command's arguments."""
    parser.description = (
        "Wait until each plugin answers on its unix socket exactly as CloudNativePG would ask it, "
        "or until the deadline. Link the sockets where CloudNativePG looks for them, and leave a "
        "verdict on each as the termination message. The exit status is always 0: a plugin that "
        "does not work must not keep CloudNativePG from starting."
    )
    parser.add_argument(
        "sockets",
        nargs="+",
        metavar="[DIRECTORY/]NAME",
        help="name of a plugin and its socket, in its own directory below --directory",
    )
    parser.add_argument(
        "--directory", type=Path, default="/plugins", help="of the sockets (default: %(default)s)"
    )
    parser.add_argument(
        "--links",
        type=Path,
        metavar="DIRECTORY",
        help="where CloudNativePG looks for sockets: each declared one that is there gets a link, "
        "unless another plugin answers on it; whatever else is there is removed",
    )
    parser.add_argument(
        "--deadline", type=parse_duration, default="60s", help="as in 60s (default: %(default)s)"
    )
    parser.add_argument(
        "--termination-log",
        type=Path,
        default="/dev/termination-log",
        metavar="FILE",
        help="file to write the verdicts to, as JSON (default: %(default)s)",
    )


def main(arguments: argparse.Namespace) -> int:
    """Wait, report and return 0."""
    deadline = arguments.deadline.total_seconds()
    watch = Watch(arguments.directory, tuple(arguments.sockets), deadline, arguments.links)
    leave = partial(_leave, arguments.termination_log, watch)
    try:
        with _ended_if_stuck(deadline + STUCK, leave):
            asyncio.run(_wait(watch, leave))
    except Exception:  # noqa: BLE001 - nothing may keep CloudNativePG from starting
        traceback.print_exc()
    return 0


@dataclass(slots=True)
class Watch:
    """Checks plugins concurrently until all verdicts are final."""

    directory: Path
    declared: InitVar[tuple[str, ...]]
    deadline: float
    """Seconds from now."""
    links: Path | None = None
    """The directory of the sockets; None where no links are made."""
    sockets: dict[str, Path] = field(init=False, default_factory=dict)
    """The sockets by the names of their plugins; of two with one name the first counts."""
    outcomes: dict[str, HandshakeOutcome] = field(default_factory=dict)
    """The verdict on each plugin so far."""
    _handshaker: SocketHandshaker = field(default_factory=SocketHandshaker)
    _ends: float = 0

    def __post_init__(self, declared: tuple[str, ...]) -> None:
        for below, _, name in (each.rpartition("/") for each in declared):
            self.sockets.setdefault(name, self.directory / below / name)

    async def run(self) -> None:
        """Wait for all plugins."""
        self._ends = asyncio.get_running_loop().time() + self.deadline
        say(f"waiting at most {self._patience} for {', '.join(self.sockets)} in {self.directory}")
        async with asyncio.TaskGroup() as group:
            for name in self.sockets:
                group.create_task(self._follow(name))
        await self._explain_missing()

    async def _follow(self, name: str) -> None:
        """Check one plugin until its verdict is final or the deadline is over."""
        pause, longest = PAUSES
        while True:
            before = self.outcomes.get(name)
            outcome = await self._look(name, before)
            self.outcomes[name] = outcome
            missing = outcome.reason is Reason.SOCKET_MISSING
            if gate.is_final(outcome, before) or self._left() <= 0:
                if not missing:  # otherwise the other sockets have to be checked first
                    self._report(name)
                return
            if before is None or before.reason is not outcome.reason:
                say(f"{name}: waiting. {outcome.reason}: {outcome.message}")
                pause = PAUSES[0]
            await asyncio.sleep(min(pause, self._left()))
            pause = pause if missing else min(pause * 2, longest)

    async def _look(self, name: str, before: HandshakeOutcome | None) -> HandshakeOutcome:
        """Perform one handshake, which the deadline may cut short."""
        seconds = round(min(ATTEMPT, max(self._left(), LAST_ATTEMPT)), 1)
        outcome = await self._ask(name, self.sockets[name], seconds)
        silent = outcome.reason is Reason.NO_ANSWER
        if silent and seconds < ATTEMPT and before is not None and before.reason is outcome.reason:
            return before  # an earlier attempt had more time
        return outcome

    async def _ask(self, name: str, path: Path, seconds: float) -> HandshakeOutcome:
        return await self._handshaker.shake(path, name, seconds, self._shown(path))

    def _shown(self, path: Path) -> Path:
        """Return the path of a socket as its plugin knows it: as if it were CloudNativePG's own."""
        return self.links / path.name if self.links is not None else path

    async def _explain_missing(self) -> None:
        """Report which files exist instead of the sockets that were not opened."""
        missing = [n for n in self.sockets if self.outcomes[n].reason is Reason.SOCKET_MISSING]
        for directory in {self.sockets[name].parent for name in missing}:
            here = [name for name in missing if self.sockets[name].parent == directory]
            found = find_sockets(directory)
            known = {path.name for path in self.sockets.values() if path.parent == directory}
            strays = found and found.difference(known)
            for name in here:
                path = str(self._shown(self.sockets[name]))
                self.outcomes[name] = gate.judge_missing(path, self._patience, strays)
            if strays and len(here) == len(strays) == 1:
                await self._ask_unexpected(here[0], directory.joinpath(*strays))
        for name in missing:
            self._report(name)

    async def _ask_unexpected(self, name: str, unexpected: Path) -> None:
        """Ask the only undeclared plugin whether it is the only missing one."""
        path, found = self._shown(self.sockets[name]), self._shown(unexpected)
        answer = await self._ask(name, unexpected, LAST_ATTEMPT)
        if answer.identity is not None:
            self.outcomes[name] = gate.judge_unexpected(
                str(path), str(found), self._patience, answer.identity
            )

    def show(self) -> None:
        """Link the sockets of the declared plugins that CloudNativePG may see."""
        if self.links is None:
            return
        known = {name: self.outcomes.get(name, UNSEEN) for name in self.sockets}
        allowed = {n: path for n, path in self.sockets.items() if gate.is_shown(known[n])}
        for name, problem in link_sockets(self.links, allowed).items():
            self.outcomes[name] = gate.judge_unlinked(str(self._shown(allowed[name])), problem)
            self._report(name)

    def _report(self, name: str) -> None:
        outcome = self.outcomes[name]
        mark = "ok" if outcome.succeeded else "FAILED"
        say(printable(f"{name}: {mark}. {outcome.reason}: {outcome.message}"))

    def _left(self) -> float:
        return self._ends - asyncio.get_running_loop().time()

    @property
    def _patience(self) -> str:
        return f"{self.deadline:g} s"


def say(line: str) -> None:
    """Print a line; a closed output is ignored."""
    try:
        print(line, flush=True)  # noqa: T201 - progress is what people look for in the log
    except UnicodeError:
        say(ascii(line))
    except (OSError, ValueError):
        # The rest of the buffer would make the interpreter exit with another status than 0.
        with contextlib.suppress(OSError, ValueError), Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())


async def _wait(watch: Watch, leave: Callable[[], None]) -> None:
    """Run until all verdicts are final or the pod is stopped; write the verdicts so far."""
    waiting = asyncio.create_task(watch.run())
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, waiting.cancel)
    try:
        await waiting
    except asyncio.CancelledError:
        say("asked to stop")
    finally:
        leave()


def _leave(file: Path, watch: Watch) -> None:
    """Create the links, and write the verdicts where the kubelet reads them."""
    watch.show()
    known = {name: watch.outcomes.get(name, UNSEEN) for name in watch.sockets}
    text = gate.encode_verdicts(known, gate.share(len(known)))
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        say(f"the verdicts cannot be written to {file} ({error.strerror}): {text}")


@contextlib.contextmanager
def _ended_if_stuck(seconds: float, leave: Callable[[], None]) -> Iterator[None]:
    """Ensure that this process exits in time, with status 0, whatever happens."""

    def end() -> None:
        try:
            leave()
        finally:
            os._exit(0)

    last_resort = threading.Timer(min(seconds, threading.TIMEOUT_MAX), end)
    last_resort.daemon = True
    last_resort.start()
    try:
        yield
    finally:
        last_resort.cancel()
