"""`await-sockets`: the gate that CloudNativePG's start waits at where plugins run in its own pod.

CloudNativePG looks for sockets once, when it starts; so this init container waits until each plugin
answers on its own, and leaves a verdict on each as its termination message. It ends with status 0
whatever happens, also to itself: a plugin that does not work must never keep CloudNativePG, and
with it every failover, from starting. For the same reason it loads next to nothing.
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
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from cnpg_plugin_operator.api.conditions import Reason
from cnpg_plugin_operator.api.durations import parse_duration
from cnpg_plugin_operator.api.untrusted import printable
from cnpg_plugin_operator.decide import gate
from cnpg_plugin_operator.decide.facts import HandshakeOutcome
from cnpg_plugin_operator.handshake.sockets import SocketHandshaker, find_sockets

ATTEMPT: Final = 5.0
"""Seconds of one handshake: what CloudNativePG gives all plugins of a Cluster together."""

LAST_ATTEMPT: Final = 1.0
"""Seconds of one handshake that are granted even beyond the deadline."""

PAUSES: Final = (0.25, 2.0)
"""Seconds between two looks at a plugin that listens, at first and in the long run. For a file to
come about it is looked with the first, for that costs nothing."""

STUCK: Final = 15.0
"""Seconds after the deadline at which this process ends itself: the kubelet never would."""

UNSEEN: Final = HandshakeOutcome(
    Reason.NO_ANSWER, "The gate was ended before the plugin had answered; its log may say why."
)
"""The verdict on a plugin that nothing is known of."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command's arguments."""
    parser.description = (
        "Wait until each plugin answers on its unix socket exactly as CloudNativePG would ask it, "
        "or until the deadline. Leave a verdict on each as the termination message. The exit "
        "status is always 0: a plugin that does not work must not keep CloudNativePG from starting."
    )
    parser.add_argument("names", nargs="+", metavar="NAME", help="name of a plugin and its socket")
    parser.add_argument(
        "--directory", type=Path, default="/plugins", help="of the sockets (default: %(default)s)"
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
    """Wait, tell and return 0."""
    deadline = arguments.deadline.total_seconds()
    watch = Watch(arguments.directory, tuple(dict.fromkeys(arguments.names)), deadline)
    leave = partial(_leave, arguments.termination_log, watch)
    try:
        with _ended_if_stuck(deadline + STUCK, leave):
            asyncio.run(_wait(watch, leave))
    except Exception:  # noqa: BLE001 - nothing may keep CloudNativePG from starting
        traceback.print_exc()
    return 0


@dataclass(slots=True)
class Watch:
    """Looks at plugins side by side until all verdicts are final."""

    directory: Path
    names: tuple[str, ...]
    deadline: float
    """Seconds from now on."""
    outcomes: dict[str, HandshakeOutcome] = field(default_factory=dict)
    """What is known of each plugin so far."""
    _handshaker: SocketHandshaker = field(default_factory=SocketHandshaker)
    _ends: float = 0

    async def run(self) -> None:
        """Wait for all plugins."""
        self._ends = asyncio.get_running_loop().time() + self.deadline
        say(f"waiting {self._patience} at most for {', '.join(self.names)} in {self.directory}")
        async with asyncio.TaskGroup() as group:
            for name in self.names:
                group.create_task(self._follow(name))
        await self._explain_missing()

    async def _follow(self, name: str) -> None:
        """Look at one plugin until its verdict is final or the deadline is over."""
        pause, longest = PAUSES
        while True:
            before = self.outcomes.get(name)
            outcome = await self._look(name, before)
            self.outcomes[name] = outcome
            missing = outcome.reason is Reason.SOCKET_MISSING
            if gate.is_final(outcome, before) or self._left() <= 0:
                if not missing:  # else it is to be seen first who else is
                    self._tell(name)
                return
            if before is None or before.reason is not outcome.reason:
                say(f"{name}: waiting. {outcome.reason}: {outcome.message}")
                pause = PAUSES[0]
            await asyncio.sleep(min(pause, self._left()))
            pause = pause if missing else min(pause * 2, longest)

    async def _look(self, name: str, before: HandshakeOutcome | None) -> HandshakeOutcome:
        """Perform one handshake, which the deadline may cut short."""
        seconds = round(min(ATTEMPT, max(self._left(), LAST_ATTEMPT)), 1)
        outcome = await self._handshaker.shake(self.directory / name, name, seconds)
        silent = outcome.reason is Reason.NO_ANSWER
        if silent and seconds < ATTEMPT and before is not None and before.reason is outcome.reason:
            return before  # it had more time to answer
        return outcome

    async def _explain_missing(self) -> None:
        """Say what is there instead of the sockets that nobody opened."""
        missing = [n for n in self.names if self.outcomes[n].reason is Reason.SOCKET_MISSING]
        found = find_sockets(self.directory)
        strays = found and found.difference(self.names)
        for name in missing:
            path = str(self.directory / name)
            self.outcomes[name] = gate.judge_missing(path, self._patience, strays)
        if strays and len(missing) == len(strays) == 1:
            await self._ask_stray(missing[0], *strays)
        for name in missing:
            self._tell(name)

    async def _ask_stray(self, name: str, stray: str) -> None:
        """Ask the only plugin that nobody expected whether it is the only one that is missing."""
        path, found = self.directory / name, self.directory / stray
        answer = await self._handshaker.shake(found, name, LAST_ATTEMPT)
        if answer.identity is not None:
            self.outcomes[name] = gate.judge_stray(
                str(path), str(found), self._patience, answer.identity
            )

    def _tell(self, name: str) -> None:
        outcome = self.outcomes[name]
        mark = "ok" if outcome.succeeded else "FAILED"
        say(printable(f"{name}: {mark}. {outcome.reason}: {outcome.message}"))

    def _left(self) -> float:
        return self._ends - asyncio.get_running_loop().time()

    @property
    def _patience(self) -> str:
        return f"{self.deadline:g} s"


def say(line: str) -> None:
    """Print a line, if anybody can still read it."""
    try:
        print(line, flush=True)  # noqa: T201 - progress is what people look for in the log
    except UnicodeError:
        say(ascii(line))
    except (OSError, ValueError):
        # What is left in the buffer would make the interpreter end with another status than 0.
        with contextlib.suppress(OSError, ValueError), Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())


async def _wait(watch: Watch, leave: Callable[[], None]) -> None:
    """Run until everything is known, or until the pod is told to stop; leave what is known."""
    waiting = asyncio.create_task(watch.run())
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, waiting.cancel)
    try:
        await waiting
    except asyncio.CancelledError:
        say("told to stop")
    finally:
        leave()


def _leave(file: Path, watch: Watch) -> None:
    """Write what is known where the kubelet looks for it."""
    known = {name: watch.outcomes.get(name, UNSEEN) for name in watch.names}
    text = gate.encode_verdicts(known, gate.share(len(known)))
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        say(f"the verdicts cannot be written to {file} ({error.strerror}): {text}")


@contextlib.contextmanager
def _ended_if_stuck(seconds: float, leave: Callable[[], None]) -> Iterator[None]:
    """See to it that this process ends in time, and well, whatever happens within."""

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
