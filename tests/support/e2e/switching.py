"""Switches live plugins from one kind of certificates to another, and waits for each switch."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.support import wait
from tests.support.e2e.announced import Peers
from tests.support.e2e.api import ApiError
from tests.support.e2e.plugins import Plugins
from tests.support.e2e.probe import Probe

SWITCHED_WITHIN: Final = 60
"""Seconds for a switch; the kubelet of the tests brings mounted Secrets up to date within 15."""


@dataclass(frozen=True)
class Kind:
    """The required properties of certificates after a switch."""

    issuer: str = "cnpg-plugins"
    """The Secret of the CA that signs both."""
    key: str = "ECDSA"
    name: str | None = None
    """A DNS name of the server certificate."""
    server_name: str | None = None
    """The name that CloudNativePG verifies, if it is not the Service's."""


@dataclass(frozen=True, eq=False)
class Switch:
    """One change of one plugin."""

    lane: str
    what: str
    tls: dict[str, Any]
    """The change of `spec.tls`."""
    kind: Kind = Kind()
    outage: float = 0.0
    """Seconds for which calls may fail."""
    refused: bool = False
    """Whether it cannot work, so nothing may change."""

    def __str__(self) -> str:
        return self.what


@dataclass
class Outcome:
    """The result of a switch."""

    began: float
    ready: float = 0.0
    """When the plugin was Ready with certificates of the new kind."""
    ended: float = 0.0
    problem: str = ""


@dataclass
class Switching:
    """Performs the switches."""

    plugins: Plugins
    peers: Peers
    probe: Probe
    outcomes: dict[Switch, Outcome] = field(default_factory=dict)

    def carry_out(self, switches: Sequence[Switch]) -> None:
        """Switch each plugin in the order of the rows, all plugins concurrently."""
        lanes = {each.lane: [one for one in switches if one.lane == each.lane] for each in switches}
        with ThreadPoolExecutor(max_workers=len(lanes)) as side_by_side:
            for done in [side_by_side.submit(self._go_through, lane) for lane in lanes.values()]:
                done.result()

    def _go_through(self, switches: Sequence[Switch]) -> None:
        for switch in switches:
            self.outcomes[switch] = outcome = Outcome(self.probe.until_answered(switch.lane))
            try:
                self._carry_out(switch, outcome)
            except (AssertionError, ApiError) as error:
                # The test of this row fails; the following rows would start from another state.
                outcome.problem = str(error) or repr(error)
                return

    def _carry_out(self, switch: Switch, outcome: Outcome) -> None:
        name = switch.lane
        before = self.peers.announced(name)
        self.plugins.patch(name, tls=switch.tls)
        if switch.refused:
            found = self.plugins.until_condition(
                name, "CertificatesReady", "IncompatibleIssuer", within=SWITCHED_WITHIN
            )
            assert found["status"] == "False"
            assert self.peers.announced(name) == before, self.peers.explain(name)
        else:
            wait.until(
                f"{name}: {switch}",
                lambda: self._is(name, switch.kind),
                within=SWITCHED_WITHIN,
                explain=lambda: f"{self.plugins.explain(name)}\n{self.peers.explain(name)}",
                pause=0.25,
            )
            self.plugins.until_ready(name, within=SWITCHED_WITHIN)
        outcome.ready = time.monotonic()
        outcome.ended = self.probe.until_answered(name)
        outcome.problem = ""

    def _is(self, name: str, kind: Kind) -> bool:
        """Whether both sides present certificates of a kind."""
        said, served = self.peers.announced(name), self.peers.served(name)
        issuers = self.peers.certificates(kind.issuer)
        if served is None or not issuers or not said.client:
            return False
        both = (served, said.client[0])
        return (
            said.server_name == (kind.server_name or name)
            and all(one.issuer == issuers[0].subject for one in both)
            and all(_key(one) == kind.key for one in both)
            and (kind.name is None or kind.name in _names(served))
        )


def _key(certificate: x509.Certificate) -> str:
    match certificate.public_key():
        case ec.EllipticCurvePublicKey():
            return "ECDSA"
        case rsa.RSAPublicKey():
            return "RSA"
        case _:
            return "another"


def _names(certificate: x509.Certificate) -> list[str]:
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return found.value.get_values_for_type(x509.DNSName)
