"""The errors of this program, free of framework and transport types.

Adapters translate what their libraries raise into this tree and chain the original; one `match` in
the reconciler turns it into conditions and back-off.

    OperatorError
    ├── InvalidSpecError         the user has to change the resource
    ├── SettingsError            the administrator has to change the operator's configuration
    └── ClusterError             the Kubernetes API did not do what was asked
        ├── NotFoundError
        ├── ConflictError        somebody else owns the field or changed the object meanwhile
        ├── ForbiddenError       a right is missing, or an admission plugin refused
        ├── RejectedError        the API server finds the object invalid
        │   └── InvalidNameError a name that no object can have; no request was made
        ├── KindMissingError     the kind is not served here
        └── UnavailableError     timeout, throttling, connection: try again
"""


class OperatorError(Exception):
    """Anything this program raises on purpose."""


class InvalidSpecError(OperatorError):
    """The resource asks for something that cannot be; the message says what to change."""


class SettingsError(OperatorError):
    """A flag or environment variable has no usable value."""


class ClusterError(OperatorError):
    """The Kubernetes API did not do what was asked."""


class NotFoundError(ClusterError):
    """The object does not exist."""


class ConflictError(ClusterError):
    """Another writer owns the field or was faster."""


class ForbiddenError(ClusterError):
    """The operator's rights do not cover the request, or an admission plugin refused it."""


class RejectedError(ClusterError):
    """The API server finds the object invalid (400 or 422)."""


class InvalidNameError(RejectedError):
    """No object can have this name, or no selector hold this value: no request was made."""


class KindMissingError(ClusterError):
    """The API server does not serve the kind: its CustomResourceDefinition is not installed."""


class UnavailableError(ClusterError):
    """The API server cannot be reached, is overloaded or did not answer in time."""
