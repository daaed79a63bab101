"""The TLS half of a handshake against real servers: Go's verdict, each with a reason of its own.

The rows are those of the matrix that was measured with Go 1.26 and CloudNativePG's exact settings;
`tests/integration/test_go_verdict.py` runs them beside Go itself.
"""

import errno
import socket
from typing import Any

import pytest

from cnpg_plugin_operator.api.conditions import Reason
from cnpg_plugin_operator.decide.facts.plugin import Endpoint, Material
from cnpg_plugin_operator.handshake import handshaker
from cnpg_plugin_operator.handshake.handshaker import PAUSE, Handshaker
from tests.support.tls.cases import CNPG, PLUGIN, Row, a_plugin, assert_message, shake
from tests.support.tls.cases_peers import MATRIX, STRANGER
from tests.support.tls.certificates import ANY, self_signed
from tests.support.tls.servers import HOST, closing, no_server, polite, raw_server, server_context

ED25519 = self_signed(key="Ed25519")
ANYTHING = self_signed(usages=(ANY,))

BEYOND = [
    Row(
        "a server that waits for the client to speak first",
        lambda: raw_server(polite, server_context(PLUGIN)),
        Reason.NO_ANSWER,
        ("did not answer cnpgi.identity.v1.Identity/GetPluginMetadata within 3 s.",),
        timeout=3.0,
    ),
    Row(
        "a server key that Go can use and gRPC cannot",
        a_plugin(ED25519),
        Reason.UNSUPPORTED_KEY,
        ("passes CloudNativePG's TLS rules", "Ed25519", "cannot be completed"),
        trust=ED25519.chain,
    ),
    Row(
        "a server certificate for any purpose, which OpenSSL does not take",
        a_plugin(ANYTHING),
        Reason.TLS_REJECTED,
        ("'any' CloudNativePG accepts", "'server auth'"),
        trust=ANYTHING.chain,
    ),
]
"""Servers that Go's TLS would accept and the handshake does not."""


@pytest.mark.parametrize("row", [*MATRIX, *BEYOND], ids=lambda row: row.sentence)
async def test_the_verdict_on(row: Row, capfd: pytest.CaptureFixture[str]) -> None:
    async with row.server() as server:
        outcome = await shake(row, server.port)
    assert_message(row, outcome)
    assert outcome.succeeded is (outcome.identity is not None)
    assert capfd.readouterr().err == "", "gRPC must not write past the log"


GOOD = Row("good", a_plugin(), Reason.IDENTIFIED)


async def test_a_closed_port_is_unreachable_with_the_systems_message() -> None:
    async with no_server() as nobody:
        outcome = await shake(GOOD, nobody.port)
    assert outcome.reason is Reason.UNREACHABLE
    assert f"{HOST}:{nobody.port} cannot be reached: Connection refused" in outcome.message
    assert "spec.port" in outcome.message


async def test_a_name_that_does_not_resolve_is_unreachable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def nowhere(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nowhere)
    outcome = await shake(GOOD, 9090, "hello.cnpg-system.svc")
    assert outcome.reason is Reason.UNREACHABLE
    assert outcome.message.startswith(
        "hello.cnpg-system.svc:9090: the name does not resolve (Name or service not known)."
    )


async def test_an_invalid_name_is_unreachable() -> None:
    outcome = await shake(GOOD, 9090, "a..b")
    assert outcome.reason is Reason.UNREACHABLE
    assert "does not resolve" in outcome.message


async def test_an_address_without_a_route_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    unroutable = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("255.255.255.255", 9))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [unroutable])
    outcome = await shake(GOOD, 9, "hello.svc")
    assert outcome.reason is Reason.UNREACHABLE
    assert "hello.svc:9 (255.255.255.255) cannot be reached" in outcome.message
    assert "NetworkPolicy" in outcome.message


async def test_the_next_address_is_tried_where_the_first_refuses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with GOOD.server() as server:
        addresses = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, server.port))
            for address in ("127.0.0.2", HOST)
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses)
        outcome = await shake(GOOD, server.port, "hello.svc")
    assert outcome.succeeded
    assert f"hello.svc:{server.port} ({HOST})" in outcome.message


class Lookups:
    """Name resolution that gives other addresses at each look-up; the last ones from then on."""

    def __init__(self, port: int, *addresses: str) -> None:
        self.port, self.addresses, self.number = port, addresses, 0

    def __call__(self, *_: object, **__: object) -> list[tuple[Any, ...]]:
        address = self.addresses[min(self.number, len(self.addresses) - 1)]
        self.number += 1
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, self.port))]


async def test_a_refused_connection_is_tried_again_within_one_handshake(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with GOOD.server() as server:
        lookups = Lookups(server.port, "127.0.0.2", "127.0.0.2", HOST)
        monkeypatch.setattr(socket, "getaddrinfo", lookups)
        outcome = await shake(GOOD, server.port, "hello.svc", patience=5.0)
    assert outcome.succeeded
    assert lookups.number == 3


async def test_a_connection_that_stays_refused_is_unreachable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with no_server() as nobody:
        lookups = Lookups(nobody.port, HOST)
        monkeypatch.setattr(socket, "getaddrinfo", lookups)
        outcome = await shake(GOOD, nobody.port, "hello.svc", patience=20 * PAUSE)
    assert outcome.reason is Reason.UNREACHABLE
    assert 1 < lookups.number <= 20


@pytest.mark.parametrize(
    ("addresses", "reason"),
    [
        pytest.param((HOST, "127.0.0.2"), Reason.UNREACHABLE, id="its process was ending"),
        pytest.param((HOST,), Reason.TLS_REJECTED, id="it always closes"),
    ],
)
async def test_a_plugin_that_closes_the_connection_is_called_once_more(
    addresses: tuple[str, ...], reason: Reason, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with raw_server(closing) as server:
        lookups = Lookups(server.port, *addresses)
        monkeypatch.setattr(socket, "getaddrinfo", lookups)
        # A refusal is final here, however long the first call took.
        monkeypatch.setattr(handshaker, "PAUSE", 60.0)
        outcome = await shake(GOOD, server.port, "hello.svc", patience=5.0)
    assert outcome.reason is reason
    assert lookups.number == 2


async def test_any_other_failure_is_found_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async with raw_server(polite) as server:
        lookups = Lookups(server.port, HOST)
        monkeypatch.setattr(socket, "getaddrinfo", lookups)
        outcome = await shake(GOOD, server.port, "hello.svc", patience=5.0)
    assert outcome.reason is Reason.TLS_REJECTED
    assert lookups.number == 1


async def test_a_peer_that_closes_at_once_is_unreachable_and_leaks_no_socket(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    left = []

    def gone(connection: socket.socket) -> None:
        left.append(connection)
        raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")

    async with GOOD.server() as server:
        monkeypatch.setattr(socket.socket, "getpeername", gone)
        outcome = await shake(GOOD, server.port)
    assert outcome.reason is Reason.UNREACHABLE
    assert [connection.fileno() for connection in left] == [-1]


PAIRS = [
    (CNPG.chain, STRANGER.key, Reason.KEY_MISMATCH, "does not belong to its tls.crt"),
    (b"", CNPG.key, Reason.SECRET_INCOMPLETE, "tls.crt contains no certificate"),
    (CNPG.chain, b"", Reason.SECRET_INCOMPLETE, "tls.key contains no private key"),
    (
        CNPG.chain,
        b"-----BEGIN PRIVATE KEY-----\nc2VjcmV0IHNlY3JldA==\n-----END PRIVATE KEY-----\n",
        Reason.SECRET_INCOMPLETE,
        "is unreadable",
    ),
]


@pytest.mark.parametrize(
    ("certificate", "key", "reason", "says"), PAIRS, ids=[row[3] for row in PAIRS]
)
async def test_an_unloadable_client_pair_is_reported_without_its_key(
    certificate: bytes, key: bytes, reason: Reason, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    material = Material(PLUGIN.chain, certificate, key)
    outcome = await Handshaker().shake(Endpoint(HOST, 1, "a", "b"), material, 1)
    assert outcome.reason is reason
    assert says in outcome.message
    for line in key.splitlines()[1:-1]:
        for place in (repr(outcome), repr(material), caplog.text):
            assert line.decode() not in place


async def test_an_encrypted_key_is_refused_without_asking_a_terminal() -> None:
    header = b"Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00112233445566778899AABBCCDDEEFF\n\n"
    key = b"-----BEGIN EC PRIVATE KEY-----\n" + header + b"c2VjcmV0\n-----END EC PRIVATE KEY-----\n"
    material = Material(PLUGIN.chain, CNPG.chain, key)
    outcome = await Handshaker().shake(Endpoint(HOST, 1, "a", "b"), material, 1)
    assert outcome.reason is Reason.SECRET_INCOMPLETE
