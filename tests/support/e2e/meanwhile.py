"""Repeats an action in the background while a test checks its effect."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def meanwhile(act: Callable[[], None], every: float) -> Iterator[None]:
    """Repeat an action at an interval; at the end, wait until the last one is complete."""
    stopping = threading.Event()

    def repeat() -> None:
        while not stopping.wait(every):
            act()

    thread = threading.Thread(target=repeat, name="meanwhile", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join(timeout=10)
