"""The whole handshake as one call: what CloudNativePG would find at an endpoint, as a value.

It combines the two steps, TLS and then gRPC. Only a connection that is refused at once, or that the
plugin closes, is tried again within one handshake; whether and when a handshake is repeated, the
reconciler decides.
"""

import asyncio
from functools import partial
from typing import Final

from cnpg_plugin_operator.api.conditions import Reason
from cnpg_plugin_operator.decide.certificates.tls_rules import is_usable
from cnpg_plugin_operator.decide.facts.plugin import Endpoint, HandshakeOutcome, Material

from .channels import open_tls
from .identity import Line, identify
from .material import Usable, usable
from .outcome import conclude, succeed
from .progress import HandshakeError, Progress
from .tls import Verified, verify

PATIENCE: Final = 1.0
"""Seconds for which the operator tries to connect: kube-proxy takes endpoints over at most once a
second, and connections to a Service are refused until it has."""

PAUSE: Final = 0.05
"""Seconds between two tries: a refusal costs a packet, a pass dozens of requests."""

ENDED: Final = 0.5
"""Seconds after which a plugin that closed the connection is called once more: if its process was
ending, it is gone by then, and that is what is to be reported."""


class Handshaker:
    """Performs handshakes; has no state."""

    def __init__(self, patience: float = 0.0) -> None:
        self._patience = patience

    async def shake(
        self,
        endpoint: Endpoint,
        material: Material,
        timeout: float,  # noqa: ASYNC109 - the caller's budget for all steps, kept by one timer
    ) -> HandshakeOutcome:
        """Perform one handshake within the timeout. Raises nothing but `CancelledError`."""
        where, clock = f"{endpoint.host}:{endpoint.port}", asyncio.get_running_loop().time
        until, closed = clock() + min(self._patience, timeout), False
        while True:
            outcome = await conclude(where, timeout, partial(_shake, endpoint, material))
            ended = outcome.closed and not closed
            closed, pause = closed or ended, ENDED if ended else PAUSE
            again = ended or outcome.reason is Reason.UNREACHABLE
            if not again or clock() + pause >= until:
                return outcome
            await asyncio.sleep(pause)


async def _shake(endpoint: Endpoint, material: Material, progress: Progress) -> HandshakeOutcome:
    """Check TLS, then call the plugin."""
    reduced = usable(material)
    verified = await verify(endpoint, reduced, progress)
    channel = open_tls(
        verified.target,
        endpoint.server_name,
        # BoringSSL uses only the first certificate of a name in a pool, so it would refuse a
        # previous self-signed certificate beside the renewed one. Go does not. The other
        # certificates are for a server that has changed its certificate since the TLS check.
        trust=verified.leaf + reduced.trust,
        certificate=reduced.certificate,
        key=reduced.key,
    )
    line = Line(channel, verified.where, partial(_unusable, verified, reduced))
    identity = await identify(line, endpoint.plugin_name, progress)
    return succeed(identity, verified.where, verified.served)


def _unusable(verified: Verified, material: Usable, status: str) -> HandshakeError:
    """Explain a connection that passed the TLS check but that the first call cannot use."""
    types = {verified.key_type, material.client_key_type}
    keys = sorted(key for key in types if key and not is_usable(key))
    if keys:
        return HandshakeError(
            Reason.UNSUPPORTED_KEY,
            f"{verified.where} passes CloudNativePG's TLS rules, but a certificate has a key of "
            f"type {keys[0]}, which this operator's gRPC library does not support, so the "
            "handshake cannot be completed. Issue the server's and the client's certificate with "
            "ECDSA P-256.",
        )
    return HandshakeError(
        Reason.NO_ANSWER,
        f"{verified.where} passed the TLS check, but did not answer the first call: {status}. See "
        "the plugin's log.",
    )
