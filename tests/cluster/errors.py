"""The one exception that callers of this package need to handle.

Its message is complete: what failed and, if it helps, the last lines of the log that explain it.
"""

from collections.abc import Callable


class ClusterError(Exception):
    """The cluster could not do what the caller asked; the message says why."""


def fails(words: str, action: Callable[[], object]) -> bool:
    """Whether an action fails with a message that has these words; raises any other failure."""
    try:
        action()
    except ClusterError as error:
        if words not in str(error):
            raise
        return True
    return False
