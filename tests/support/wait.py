"""Waiting for the cluster: a deadline, a look several times a second, and words when it is over."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")

PAUSE = 0.1
"""Seconds between two looks."""


class TooLateError(AssertionError):
    """Something did not happen in time; the message says how things stood instead."""


def until(
    what: str,
    look: Callable[[], Found | None],
    *,
    within: float,
    explain: Callable[[], str] = str,
    pause: float = PAUSE,
) -> Found:
    """Look until something (anything true) is found, and return it.

    Raises `TooLateError` with what `explain` tells.
    """
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
    """Look until the answer has been the same for some seconds, and return it."""
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


def never(what: str, look: Callable[[], object], *, seconds: float) -> None:
    """Look for some seconds, and fail at once if anything (true) is found."""
    ends = time.monotonic() + seconds
    ticks = threading.Event()
    while time.monotonic() < ends:
        if found := look():
            raise AssertionError(f"{what}: {found!r}")
        ticks.wait(PAUSE)
