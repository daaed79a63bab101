"""The handshake as one call: what CloudNativePG would find at an endpoint, as a value.

Exists to hold the two steps together under one deadline and to turn every way in which they end
into a `HandshakeOutcome`. It repeats nothing: the reconciler decides when to look again.
"""

import asyncio
import logging

from cnpg_plugin_operator.api.conditions import Reason
from cnpg_plugin_operator.decide.facts import Endpoint, HandshakeOutcome, Identity, Material

from .errors import HandshakeError
from .identity import identify
from .material import usable
from .progress import Progress
from .tls import verify

_log = logging.getLogger(__name__)


class Handshaker:
    """Performs handshakes; keeps nothing between them."""

    async def shake(
        self,
        endpoint: Endpoint,
        material: Material,
        timeout: float,  # noqa: ASYNC109 - the caller's budget for all steps, kept by one timer
    ) -> HandshakeOutcome:
        """Prove the plugin within so many seconds. Raises nothing but `CancelledError`."""
        progress = Progress.start(timeout)
        try:
            async with asyncio.timeout(timeout):
                return await _shake(endpoint, material, progress)
        except TimeoutError:
            return _failed(progress.out_of_time())
        except HandshakeError as error:
            return _failed(error)
        except Exception as error:  # noqa: BLE001 - the outcome is a value, whatever happens
            _log.exception("handshake with %s:%s", endpoint.host, endpoint.port)
            return HandshakeOutcome(
                Reason.NO_ANSWER,
                f"The handshake with {endpoint.host}:{endpoint.port} failed in an unforeseen way "
                f"({type(error).__name__}); the operator's log has the details.",
                progress.identity,
            )


async def _shake(endpoint: Endpoint, material: Material, progress: Progress) -> HandshakeOutcome:
    """Check TLS, then talk."""
    reduced = usable(material)
    verified = await verify(endpoint, reduced, progress)
    identity = await identify(endpoint, verified, reduced, progress)
    message = _welcome(identity, verified.where)
    return HandshakeOutcome(Reason.IDENTIFIED, message, identity, verified.served)


def _welcome(identity: Identity, where: str) -> str:
    """Say who answered."""
    services = ", ".join(identity.capabilities) or "no service"
    version = identity.version or "(no version)"
    return f"{identity.name} {version} answered every call at {where}; it serves {services}."


def _failed(error: HandshakeError) -> HandshakeOutcome:
    return HandshakeOutcome(error.reason, str(error), error.identity)
