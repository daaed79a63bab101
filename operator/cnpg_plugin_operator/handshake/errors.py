"""The one way in which a step of a handshake ends early; it never leaves the package."""

from cnpg_plugin_operator.api.conditions import Reason
from cnpg_plugin_operator.decide.facts.plugin import Identity
from cnpg_plugin_operator.errors import OperatorError


class HandshakeError(OperatorError):
    """A step failed: its reason, a message for a person, and what the plugin had said."""

    def __init__(self, reason: Reason, message: str, identity: Identity | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.identity = identity
