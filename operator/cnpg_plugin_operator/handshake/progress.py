"""Remembers what a handshake is waiting for, so that running out of time has a precise reason.

One deadline covers all steps, and what ends them then is a cancellation that knows nothing of
steps.
"""

import asyncio
from dataclasses import dataclass
from typing import Self

from cnpg_plugin_operator.api.conditions import Reason
from cnpg_plugin_operator.decide.facts.plugin import Identity
from cnpg_plugin_operator.errors import OperatorError


class HandshakeError(OperatorError):
    """A step failed: its reason, a message for a person, and what the plugin had said."""

    def __init__(self, reason: Reason, message: str, identity: Identity | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.identity = identity


@dataclass(slots=True)
class Progress:
    """The step that a handshake is at."""

    timeout: float
    """Seconds that all steps have together."""
    deadline: float
    """The event loop's time at which they are over."""
    reason: Reason = Reason.NO_ANSWER
    missing: str = "nothing was tried"
    identity: Identity | None = None
    """What the plugin has said so far."""

    @classmethod
    def start(cls, timeout: float) -> Self:
        """Begin now."""
        return cls(timeout=timeout, deadline=asyncio.get_running_loop().time() + timeout)

    def remaining(self) -> float:
        """Seconds that are left; never so few that gRPC would take them for none at all."""
        return max(self.deadline - asyncio.get_running_loop().time(), 0.001)

    def waiting(self, reason: Reason, missing: str) -> None:
        """Begin a step: what is missing, and for which reason, if it is never over."""
        self.reason = reason
        self.missing = missing

    def out_of_time(self) -> HandshakeError:
        """Say which step took too long."""
        return HandshakeError(
            self.reason, f"{self.missing} within {self.timeout:g} s.", self.identity
        )
