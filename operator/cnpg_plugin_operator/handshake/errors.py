"""The exception that ends a handshake early; it never leaves the package."""

from cnpg_plugin_operator.api.conditions import Reason
from cnpg_plugin_operator.decide.facts.plugin import Identity
from cnpg_plugin_operator.errors import OperatorError


class HandshakeError(OperatorError):
    """A step failed: its reason, a message for users, and what the plugin reported before."""

    def __init__(self, reason: Reason, message: str, identity: Identity | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.identity = identity
