"""The exceptions of this program, free of framework and transport types.

Adapters translate what their libraries raise into this tree and chain the original. One `match` in
the reconciler turns it into conditions and back-off.
"""


class OperatorError(Exception):
    """Base class of everything this program raises on purpose."""


class InvalidSpecError(OperatorError):
    """The spec asks for something impossible; the message says what to change."""


class SettingsError(OperatorError):
    """A flag or environment variable has no usable value."""


class UnforeseeableError(OperatorError):
    """What comes next depends on a write, or on an answer, that a dry run does not have."""


class ClusterError(OperatorError):
    """The Kubernetes API did not do what was asked."""

    condition: str = ""
    """The condition that a failed read belongs to, where that is known."""


class NotFoundError(ClusterError):
    """The object does not exist."""


class ConflictError(ClusterError):
    """Another writer owns the field or changed the object first."""


class NameTakenError(ClusterError):
    """An object of another owner has a name that the operator needs: no request was made."""


class ForbiddenError(ClusterError):
    """The operator's rights do not cover the request, or an admission plugin refused it."""


class RejectedError(ClusterError):
    """The API server does not know a field of the object or finds its value invalid."""


class InvalidNameError(RejectedError):
    """No object can have this name, or no selector can match this value: no request was made."""


class KindMissingError(ClusterError):
    """The API server does not serve the kind: its CustomResourceDefinition is not installed."""


class WriteLoopError(ClusterError):
    """The object is written too often, because another writer reverts it: no request was made."""


class LeadershipLostError(ClusterError):
    """This process no longer leads, so it must not write: no request was made."""


class UnavailableError(ClusterError):
    """The API server cannot be reached, did not answer in time, or cannot do it now."""


class BusyError(UnavailableError):
    """The API server answered that it cannot do it now: it is overloaded, or has just started."""


class ExpiredError(UnavailableError):
    """The API server no longer knows what came after a version: the kind is to be listed again."""


class UnauthorizedError(UnavailableError):
    """The API server does not accept the token (401), not even one that was read just now."""
