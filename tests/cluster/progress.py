"""Waits for conditions, and shows progress meanwhile.

All progress goes to standard error, so that the output of `status -o json` or `kubectl` is not
mixed with it.
"""

import fcntl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.cluster.errors import ClusterError

_BEGUN = time.monotonic()
_HEARTBEAT_SECONDS = 10.0


def say(message: str) -> None:
    """Print one line with the seconds since the command began."""
    print(f"[{time.monotonic() - _BEGUN:6.1f}s] {message}", file=sys.stderr, flush=True)


def lock_file(descriptor: int, holder: str) -> None:
    """Lock the open file; if another run holds the lock, say so and wait."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        with heartbeat(f"waiting for {holder}"):
            fcntl.flock(descriptor, fcntl.LOCK_EX)


def compare(seconds: float, estimate: float) -> str:
    """Say how long something has taken, beside its estimate if there is one."""
    if not estimate:
        return f"{seconds:.0f} s so far"
    if seconds > estimate:
        return f"{seconds:.0f} s, longer than the usual {estimate:.0f} s"
    return f"{seconds:.0f} s of about {estimate:.0f} s"


@contextmanager
def heartbeat(message: str, estimate: float = 0.0) -> Iterator[None]:
    """Print message now and every few seconds until the block ends, then how long it took.

    `estimate` is the seconds that it takes, about, on two cores.
    """
    begun = time.monotonic()
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(_HEARTBEAT_SECONDS):
            say(f"{message}: {compare(time.monotonic() - begun, estimate)}")

    say(message)
    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    say(f"{message}: done in {time.monotonic() - begun:.1f} s")


def wait_until(
    what: str,
    ready: Callable[[], bool],
    *,
    timeout: float,
    check: Callable[[], None] = lambda: None,
    explain: Callable[[], str] = lambda: "",
) -> None:
    """Poll ready; check may raise to stop early, explain adds details to the timeout's error."""
    deadline = time.monotonic() + timeout
    next_word = time.monotonic() + _HEARTBEAT_SECONDS
    while not ready():
        check()
        now = time.monotonic()
        if now > deadline:
            raise ClusterError(f"{what}: not ready after {timeout:.0f} s. {explain()}".rstrip())
        if now > next_word:
            say(f"waiting for {what}")
            next_word = now + _HEARTBEAT_SECONDS
        time.sleep(0.2)
