"""Turns every way in which a handshake ends into a `HandshakeOutcome`, whatever it went over.

One deadline for all steps, and no exception but a cancellation: a failure is a value.
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
    """Take the steps within so many seconds. Raises nothing but `CancelledError`."""
    progress = Progress.start(timeout)
    try:
        async with asyncio.timeout(timeout):
            return await steps(progress)
    except TimeoutError:
        return _failed(progress.out_of_time())
    except HandshakeError as error:
        return _failed(error)
    except Exception as error:  # noqa: BLE001 - the outcome is a value, whatever happens
        _log.exception("handshake with %s", where)
        return HandshakeOutcome(
            Reason.NO_ANSWER,
            f"The handshake with {where} failed in an unforeseen way ({type(error).__name__}); "
            "the operator's log has the details.",
            progress.identity,
        )


def welcome(identity: Identity, where: str, served: str = "") -> HandshakeOutcome:
    """Say who answered."""
    services = ", ".join(identity.capabilities) or "no service"
    version = identity.version or "(no version)"
    return HandshakeOutcome(
        Reason.IDENTIFIED,
        f"{identity.name} {version} answered every call at {where}; it serves {services}.",
        identity,
        served,
    )


def _failed(error: HandshakeError) -> HandshakeOutcome:
    return HandshakeOutcome(error.reason, str(error), error.identity)
