"""The whole handshake as one call: what CloudNativePG would find at an endpoint, as a value.

It combines the two steps, TLS and then gRPC. It repeats nothing: the reconciler decides when to try
again.
"""

from functools import partial

from cnpg_plugin_operator.api.conditions import Reason
from cnpg_plugin_operator.decide.certificates.tls_rules import is_usable
from cnpg_plugin_operator.decide.facts.plugin import Endpoint, HandshakeOutcome, Material

from .channels import open_tls
from .identity import Line, identify
from .material import Usable, usable
from .outcome import conclude, succeed
from .progress import HandshakeError, Progress
from .tls import Verified, verify


class Handshaker:
    """Performs handshakes; has no state."""

    async def shake(
        self,
        endpoint: Endpoint,
        material: Material,
        timeout: float,  # noqa: ASYNC109 - the caller's budget for all steps, kept by one timer
    ) -> HandshakeOutcome:
        """Perform one handshake within the timeout. Raises nothing but `CancelledError`."""
        where = f"{endpoint.host}:{endpoint.port}"
        return await conclude(where, timeout, partial(_shake, endpoint, material))


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
