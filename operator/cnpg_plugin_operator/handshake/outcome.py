"""Turns every end of a handshake into a `HandshakeOutcome`, whatever the transport.

All steps share one deadline, and only cancellation is raised: a failure is a value.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from cnpg_plugin_operator.api.conditions import Reason
from cnpg_plugin_operator.decide.facts.plugin import HandshakeOutcome, Identity

from .progress import HandshakeError, Progress

_log = logging.getLogger(__name__)


async def conclude(
    where: str,
    timeout: float,  # noqa: ASYNC109 - the caller's budget for all steps, kept by one timer
    steps: Callable[[Progress], Awaitable[HandshakeOutcome]],
) -> HandshakeOutcome:
    """Run the steps within the timeout. Raises nothing but `CancelledError`."""
    progress = Progress.start(timeout)
    try:
        async with asyncio.timeout(timeout):
            return await steps(progress)
    except TimeoutError:
        return _failed(progress.out_of_time())
    except HandshakeError as error:
        return _failed(error)
    except Exception as error:  # noqa: BLE001 - the outcome is a value, whatever happens
        _log.exception("Handshake with %s failed", where)
        return HandshakeOutcome(
            Reason.NO_ANSWER,
            f"The handshake with {where} failed unexpectedly ({type(error).__name__}); see the "
            "operator's log.",
            progress.identity,
        )


def succeed(identity: Identity, where: str, served: str = "") -> HandshakeOutcome:
    """Describe the plugin that answered."""
    services = ", ".join(identity.capabilities) or "no service"
    version = identity.version or "(no version)"
    return HandshakeOutcome(
        Reason.IDENTIFIED,
        f"{identity.name} {version} answered every call at {where}; it serves {services}.",
        identity,
        served,
    )


def _failed(error: HandshakeError) -> HandshakeOutcome:
    return HandshakeOutcome(error.reason, str(error), error.identity, closed=error.closed)
