"""The handshake as one call: what CloudNativePG would find at an endpoint, as a value.

Exists to hold the two steps together, TLS and then gRPC. It repeats nothing: the reconciler decides
when to look again.
"""

from functools import partial

from cnpg_plugin_operator.api.conditions import Reason
from cnpg_plugin_operator.decide.certificates.tls_rules import is_usable
from cnpg_plugin_operator.decide.facts.plugin import Endpoint, HandshakeOutcome, Material

from .channels import open_tls
from .identity import Line, identify
from .material import Usable, usable
from .outcome import conclude, welcome
from .progress import HandshakeError, Progress
from .tls import Verified, verify


class Handshaker:
    """Performs handshakes; keeps nothing between them."""

    async def shake(
        self,
        endpoint: Endpoint,
        material: Material,
        timeout: float,  # noqa: ASYNC109 - the caller's budget for all steps, kept by one timer
    ) -> HandshakeOutcome:
        """Prove the plugin within so many seconds. Raises nothing but `CancelledError`."""
        where = f"{endpoint.host}:{endpoint.port}"
        return await conclude(where, timeout, partial(_shake, endpoint, material))


async def _shake(endpoint: Endpoint, material: Material, progress: Progress) -> HandshakeOutcome:
    """Check TLS, then talk."""
    reduced = usable(material)
    verified = await verify(endpoint, reduced, progress)
    channel = open_tls(
        verified.target,
        endpoint.server_name,
        # BoringSSL takes the first certificate of a name in a pool and no other, so it would
        # refuse a former self-signed certificate beside the renewed one. Go does not. The rest is
        # for a server that has changed its certificate since the TLS check.
        trust=verified.leaf + reduced.trust,
        certificate=reduced.certificate,
        key=reduced.key,
    )
    line = Line(channel, verified.where, partial(_unusable, verified, reduced))
    identity = await identify(line, endpoint.plugin_name, progress)
    return welcome(identity, verified.where, verified.served)


def _unusable(verified: Verified, material: Usable, status: str) -> HandshakeError:
    """Explain a connection that the TLS check had found good and the first call cannot use."""
    types = {verified.key_type, material.client_key_type}
    keys = sorted(key for key in types if key and not is_usable(key))
    if keys:
        return HandshakeError(
            Reason.UNSUPPORTED_KEY,
            f"{verified.where} passes CloudNativePG's TLS rules, but a certificate has a key of "
            f"type {keys[0]}, which this operator's gRPC library cannot use: the plugin cannot be "
            "proven. Issue the server's and the client's certificate with ECDSA P-256.",
        )
    return HandshakeError(
        Reason.NO_ANSWER,
        f"{verified.where} passed the TLS check, but the first call got no answer: {status}. The "
        "plugin's log may say why.",
    )
