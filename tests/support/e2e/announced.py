"""Both sides of a plugin's trust, as a third party sees them.

What is announced to CloudNativePG (the Service's annotations and the Secrets they name), and what
the plugin's server really presents. A renewal is complete when these two and the mounted Secrets
agree; names of Secrets are always read from where they are used, never from the operator.
"""

import base64
import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from cryptography import x509

from tests.cluster import Cluster
from tests.cluster.network import call_inside
from tests.support import wait
from tests.support.e2e.api import Api
from tests.support.e2e.plugins import collection

_SECONDS = 5.0


@dataclass(frozen=True)
class Announced:
    """What CloudNativePG reads about a plugin."""

    address: str
    port: int
    server_name: str
    server_secret: str
    client_secret: str
    trusted: tuple[x509.Certificate, ...]
    """The certificates by which CloudNativePG trusts the plugin."""
    client: tuple[x509.Certificate, ...]
    """What CloudNativePG presents, leaf first."""


@dataclass(frozen=True)
class Peers:
    """Reads the plugins of one namespace; Service and Deployment have the same name."""

    cluster: Cluster
    api: Api

    def announced(self, service: str) -> Announced:
        """What is announced to CloudNativePG now."""
        found = self.api.get(f"{collection('Service')}/{service}")
        said = found["metadata"]["annotations"]
        server, client = said["cnpg.io/pluginServerSecret"], said["cnpg.io/pluginClientSecret"]
        return Announced(
            address=found["spec"]["clusterIP"],
            port=int(said["cnpg.io/pluginPort"]),
            server_name=said.get("cnpg.io/pluginServerName") or service,
            server_secret=server,
            client_secret=client,
            trusted=self.certificates(server),
            client=self.certificates(client),
        )

    def certificates(self, secret: str) -> tuple[x509.Certificate, ...]:
        """The certificates in a Secret's `tls.crt`; none where there is no such Secret."""
        pem = base64.b64decode(self._data(secret).get("tls.crt", ""))
        return tuple(x509.load_pem_x509_certificates(pem)) if pem.strip() else ()

    def _data(self, secret: str) -> dict[str, str]:
        found = self.api.find(f"{collection('Secret')}/{secret}")
        return (found or {}).get("data") or {}

    def mounted(self, deployment: str) -> tuple[x509.Certificate, ...]:
        """The leaf certificates of the pairs that the pods mount."""
        found = self.api.get(f"{collection('Deployment')}/{deployment}")
        names: dict[str, None] = {}
        for volume in found["spec"]["template"]["spec"].get("volumes") or []:
            sources = [volume, *((volume.get("projected") or {}).get("sources") or [])]
            secrets = (source["secret"] for source in sources if "secret" in source)
            names |= {secret.get("secretName") or secret["name"]: None for secret in secrets}
        # A Secret without a key is no pair: it only contains the certificates that the plugin
        # trusts.
        pairs = (name for name in names if "tls.key" in self._data(name))
        return tuple(chain[0] for chain in map(self.certificates, pairs) if chain)

    def served(self, service: str) -> x509.Certificate | None:
        """The certificate that the plugin presents now, or None if it does not answer."""
        where = self.announced(service)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])

        def look() -> bytes | None:
            with (
                socket.create_connection((where.address, where.port), timeout=_SECONDS) as plain,
                context.wrap_socket(plain, server_hostname=where.server_name) as session,
            ):
                return session.getpeercert(binary_form=True)

        try:
            encoded = call_inside(self.cluster.layout.netns, look)
        except OSError:
            return None
        return x509.load_der_x509_certificate(encoded) if encoded else None

    def until_served(self, *services: str, within: float) -> None:
        """Wait until each plugin presents the certificate in the Secret that its pods mount."""
        for service in services:
            wait.until(
                f"{service} presents the certificate of its Secret",
                partial(self._is_served, service),
                within=within,
                explain=partial(self.explain, service),
                pause=0.25,
            )

    def _is_served(self, service: str) -> bool:
        return self.served(service) in self.mounted(service)

    def explain(self, service: str) -> str:
        """Describe who trusts whom."""
        said, served = self.announced(service), self.served(service)
        return "\n".join(
            [
                f"Service {service}, server name {said.server_name}",
                f"CloudNativePG trusts ({said.server_secret}):",
                *describe(said.trusted),
                f"CloudNativePG presents ({said.client_secret}):",
                *describe(said.client),
                "The plugin presents:",
                *describe([served] if served else []),
                "Its pods mount:",
                *describe(self.mounted(service)),
            ]
        )


def describe(certificates: Iterable[x509.Certificate]) -> list[str]:
    """A line for each certificate."""
    return [
        f"  {one.subject.rfc4514_string() or '(no subject)'} by {one.issuer.rfc4514_string()}, "
        f"serial {one.serial_number:x}, from {one.not_valid_before_utc:%H:%M:%S}"
        for one in certificates
    ]
