"""One connection of CloudNativePG to a TLS server, as a row of a table, and ways to make it.

Exists so that the handshake's unit tests, the comparison with Go and the bench run the same rows:
`tls_cases_servers` and `tls_cases_peers` everywhere, `tls_cases_go` where Go is available.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from cnpg_plugin_operator.api.conditions import Reason
from cnpg_plugin_operator.decide.facts.plugin import Endpoint, HandshakeOutcome, Material
from cnpg_plugin_operator.handshake.handshaker import Handshaker
from cnpg_plugin_operator.handshake.material import usable
from cnpg_plugin_operator.handshake.progress import HandshakeError, Progress
from cnpg_plugin_operator.handshake.tls import verify
from tests.support.tls.certificates import CLIENT, Pair, authority, self_signed
from tests.support.tls.servers import (
    HOST,
    Plugin,
    Running,
    alerting_server,
    plugin_server,
    server_context,
)

Server = contextlib.AbstractAsyncContextManager[Running]

ROOT: Final = authority()
INTERMEDIATE: Final = authority("intermediate", ROOT)
PLUGIN: Final = self_signed()
CNPG: Final = self_signed("cnpg", dns=(), usages=(CLIENT,))

PATIENCE: Final = 5.0
"""Timeout in seconds of a row without an intentionally silent peer."""


class Presented(Protocol):
    """What CloudNativePG presents, in PEM."""

    @property
    def chain(self) -> bytes: ...

    @property
    def key(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Files:
    """The content of a Secret that is no pair."""

    chain: bytes
    key: bytes


@dataclass(frozen=True, slots=True)
class Row:
    """One connection: the server, what CloudNativePG trusts and presents, and the outcome."""

    sentence: str
    server: Callable[[], Server]
    reason: Reason
    says: tuple[str, ...] = ()
    """Parts of our message. Rows with the same parts have the same cause."""
    go: str = ""
    """A regular expression that finds the cause in Go's error; empty where Go accepts."""
    trust: bytes = PLUGIN.chain
    client: Presented = field(default=CNPG)
    name: str = "hello-world"
    timeout: float = PATIENCE


async def shake(
    row: Row, port: int, host: str = HOST, *, patience: float = 0.0
) -> HandshakeOutcome:
    """Perform the handshake of a row: TLS, then gRPC."""
    return await Handshaker(patience).shake(_endpoint(row, port, host), _material(row), row.timeout)


async def verdict(row: Row, port: int) -> HandshakeOutcome:
    """Perform only the TLS half: a server without gRPC can pass no more."""
    progress = Progress.start(row.timeout)
    try:
        async with asyncio.timeout(row.timeout):
            await verify(_endpoint(row, port, HOST), usable(_material(row)), progress)
    except TimeoutError:
        error = progress.out_of_time()
        return HandshakeOutcome(error.reason, str(error))
    except HandshakeError as error:
        return HandshakeOutcome(error.reason, str(error))
    return HandshakeOutcome(Reason.IDENTIFIED, "TLS is as CloudNativePG wants it.")


def assert_message(row: Row, outcome: HandshakeOutcome, others: Sequence[Row] = ()) -> None:
    """Require the reason and the message of a row, and no part of another row's message."""
    assert outcome.reason is row.reason, outcome.message
    for part in row.says:
        assert part in outcome.message
    for other in others:
        if other.go and not set(other.says) <= set(row.says):
            matches = all(part in outcome.message for part in other.says)
            assert not matches, f"reads like {other.sentence}: {outcome.message}"


def a_plugin(pair: Pair = PLUGIN, trusts: bytes | None = CNPG.chain) -> Callable[[], Server]:
    """A good plugin with this certificate, which trusts these clients."""
    return lambda: plugin_server(Plugin(), pair, trusts)


def openssl(
    pair: Pair = PLUGIN,
    trusts: bytes | None = None,
    newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
) -> Callable[[], Server]:
    """A server that sends its clients an alert with the reason of a refusal."""
    return lambda: alerting_server(server_context(pair, trusts, newest=newest))


def _endpoint(row: Row, port: int, host: str) -> Endpoint:
    return Endpoint(host, port, row.name, Plugin().name)


def _material(row: Row) -> Material:
    return Material(row.trust, row.client.chain, row.client.key)
