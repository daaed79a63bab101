"""Facts about cert-manager: the issuer of a plugin's certificates, and their state."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class IssuerFacts:
    """The issuer of a plugin's certificates."""

    reference: str
    """For users: `Issuer cnpg-plugins`."""
    exists: bool
    ready: bool
    message: str
    own: bool = False
    """Whether this operator created it."""


@dataclass(frozen=True, slots=True)
class RequestFacts:
    """A cert-manager Certificate and its progress."""

    name: str
    ready: bool
    failed: bool
    """Whether the last attempt failed; cert-manager backs off and tries again."""
    since: datetime | None
    """When it was created; None where it does not exist yet."""
    message: str
    renewal_time: datetime | None


@dataclass(frozen=True, slots=True)
class IssuingFacts:
    """What cert-manager reports."""

    served: bool
    """Whether cert-manager's kinds are installed."""
    issuer: IssuerFacts | None
    """None where the operator cannot read it: the group of an external issuer."""
    requests: tuple[RequestFacts, ...]
