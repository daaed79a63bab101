"""Does something again and again in the background while a test looks at what comes of it."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def meanwhile(act: Callable[[], None], every: float) -> Iterator[None]:
    """Act every so many seconds; in the end, wait until the last act is over."""
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
