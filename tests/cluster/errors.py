"""The one exception callers of this package need to know.

Its message is complete: what failed, and where it helps, the last lines of the log that say why.
"""


class ClusterError(Exception):
    """The cluster cannot do what was asked; the message says why in words for a person."""
