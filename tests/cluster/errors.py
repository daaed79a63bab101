"""The one exception that callers of this package need to handle.

Its message is complete: what failed and, if it helps, the last lines of the log that explain it.
"""


class ClusterError(Exception):
    """The cluster could not do what the caller asked; the message says why."""
