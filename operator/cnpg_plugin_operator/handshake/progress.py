"""Records the current step of a handshake, so that a timeout has a precise reason.

All steps share one deadline, and the cancellation that ends them knows nothing about steps.
"""

import asyncio
from dataclasses import dataclass
from typing import Self

from cnpg_plugin_operator.api.conditions import Reason
from cnpg_plugin_operator.decide.facts.plugin import Identity
from cnpg_plugin_operator.errors import OperatorError


class HandshakeError(OperatorError):
    """A step failed: its reason, a message for a person, and what the plugin had said.

    `closed` says that the plugin closed the connection without a word, as a process does that ends.
    """

    def __init__(
        self,
        reason: Reason,
        message: str,
        identity: Identity | None = None,
        *,
        closed: bool = False,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.identity = identity
        self.closed = closed


@dataclass(slots=True)
class Progress:
    """The current step of a handshake."""

    timeout: float
    """Seconds for all steps together."""
    deadline: float
    """When they are over, on the event loop's clock."""
    reason: Reason = Reason.NO_ANSWER
    missing: str = "nothing was tried"
    identity: Identity | None = None
    """What the plugin has reported so far."""

    @classmethod
    def start(cls, timeout: float) -> Self:
        """Start the deadline now."""
        return cls(timeout=timeout, deadline=asyncio.get_running_loop().time() + timeout)

    def remaining(self) -> float:
        """Return the remaining seconds; never so few that gRPC would treat them as none."""
        return max(self.deadline - asyncio.get_running_loop().time(), 0.001)

    def waiting(self, reason: Reason, missing: str) -> None:
        """Start a step, with the reason and the message for the case that it times out."""
        self.reason = reason
        self.missing = missing

    def out_of_time(self) -> HandshakeError:
        """Report the step that timed out."""
        return HandshakeError(
            self.reason, f"{self.missing} within {self.timeout:g} s.", self.identity
        )
