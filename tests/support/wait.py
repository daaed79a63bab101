"""Waiting for the cluster: polling several times a second, a deadline, and a message after it."""

import os
import threading
import time
from collections.abc import Callable
from typing import Final, TypeVar

Found = TypeVar("Found")

PAUSE = 0.1
"""Seconds between two polls."""

BESIDE_OTHERS: Final = "PYTEST_XDIST_WORKER" in os.environ
"""Whether this is one of several processes that run tests."""

PATIENCE: Final = 3 if BESIDE_OTHERS else 1
"""Factor for all time limits beside other clusters on the same machine. The seconds in the tests
are those of a cluster that has the machine to itself."""


class TooLateError(AssertionError):
    """Something did not happen in time; the message describes the state instead."""


def until(
    what: str,
    look: Callable[[], Found | None],
    *,
    within: float,
    explain: Callable[[], str] = str,
    pause: float = PAUSE,
) -> Found:
    """Poll until something (anything true) is found, and return it.

    Within this many seconds, or more beside other clusters (`PATIENCE`); raises `TooLateError` with
    the text of `explain`.
    """
    within *= PATIENCE
    started = time.monotonic()
    ticks = threading.Event()
    while not (found := look()):
        if time.monotonic() - started > within:
            raise TooLateError(f"not within {within:g} s: {what}\n{explain()}".rstrip())
        ticks.wait(pause)
    return found


def unchanged(
    what: str,
    look: Callable[[], Found],
    *,
    seconds: float,
    within: float,
    explain: Callable[[], str] = str,
) -> Found:
    """Poll until the answer has been the same for some seconds, and return it."""
    last = look()
    since = time.monotonic()

    def settled() -> bool:
        nonlocal last, since
        now = look()
        if now != last:
            last, since = now, time.monotonic()
        return time.monotonic() - since >= seconds

    until(what, settled, within=within, explain=explain)
    return last


def never(what: str, look: Callable[[], object], *, seconds: float, pause: float = PAUSE) -> None:
    """Poll for some seconds, and fail at once if anything (true) is found."""
    ends = time.monotonic() + seconds
    ticks = threading.Event()
    while time.monotonic() < ends:
        if found := look():
            raise AssertionError(f"{what}: {found!r}")
        ticks.wait(pause)
