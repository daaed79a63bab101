"""The TLS half of a handshake against real servers: Go's verdict, each with a reason of its own.

The rows are those of the matrix that was measured with Go 1.26 and CloudNativePG's exact settings.
"""

import contextlib
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from cnpg_plugin_operator.api.conditions import Reason
from cnpg_plugin_operator.decide.facts import Endpoint, HandshakeOutcome, Material
from cnpg_plugin_operator.handshake.handshaker import Handshaker
from tests.support.certificates import ANY, CLIENT, Pair, authority, issue, self_signed
from tests.support.servers import (
    HOST,
    Plugin,
    Running,
    alerting_server,
    closing,
    plugin_server,
    polite,
    raw_server,
    saying,
    server_context,
    silent,
)

Server = contextlib.AbstractAsyncContextManager[Running]

ROOT = authority()
INTERMEDIATE = authority("intermediate", ROOT)
OLD_INTERMEDIATE = authority("old", ROOT, ends=timedelta(minutes=-5))
PLUGIN = self_signed()
RENEWED = issue(INTERMEDIATE)
PINNED = issue(ROOT)
ROOTED = issue(ROOT)
HALF_EXPIRED = issue(OLD_INTERMEDIATE)
CNPG = self_signed("cnpg", dns=(), usages=(CLIENT,))
STRANGER = self_signed("cnpg", dns=(), usages=(CLIENT,))
ISSUED = issue(ROOT, "cnpg", dns=(), usages=(CLIENT,))
CHAINED = issue(INTERMEDIATE, "cnpg", dns=(), usages=(CLIENT,))
ED25519 = self_signed(key="Ed25519")
CNPG_ED25519 = self_signed("cnpg", dns=(), usages=(CLIENT,), key="Ed25519")


def a_plugin(pair: Pair = PLUGIN, trusts: bytes | None = CNPG.chain) -> Callable[[], Server]:
    """A good plugin with this certificate, which trusts these clients."""
    return lambda: plugin_server(Plugin(), pair, trusts)


def openssl(
    pair: Pair = PLUGIN,
    trusts: bytes | None = None,
    newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
) -> Callable[[], Server]:
    """A server that tells its clients by an alert why it refuses them."""
    return lambda: alerting_server(server_context(pair, trusts, newest=newest))


@dataclass(frozen=True, slots=True)
class Row:
    """One meeting: who serves, what CloudNativePG trusts and presents, and how it ends."""

    sentence: str
    server: Callable[[], Server]
    reason: Reason
    says: tuple[str, ...] = ()
    trust: bytes = PLUGIN.chain
    client: Pair = field(default=CNPG)
    name: str = "hello-world"
    timeout: float = 5


MATRIX = [
    Row("a self-signed leaf that is pinned", a_plugin(), Reason.IDENTIFIED, ("1.2.3",)),
    Row(
        "a self-signed RSA leaf that is pinned",
        a_plugin(rsa := self_signed(key="RSA 2048")),
        Reason.IDENTIFIED,
        trust=rsa.chain,
    ),
    Row(
        "a self-signed P-384 leaf that is pinned",
        a_plugin(p384 := self_signed(key="P-384")),
        Reason.IDENTIFIED,
        trust=p384.chain,
    ),
    Row(
        "a leaf issued by a CA, of which only the leaf is in the pool",
        a_plugin(PINNED),
        Reason.IDENTIFIED,
        trust=PINNED.leaf,
    ),
    Row(
        "a leaf without extended key usage",
        a_plugin(free := self_signed(usages=None)),
        Reason.IDENTIFIED,
        trust=free.chain,
    ),
    Row(
        "a leaf for a wildcard of one label",
        a_plugin(wild := self_signed(dns=("*.svc",))),
        Reason.TLS_REJECTED,
        ("[*.svc]", "not for hello.world.svc"),
        trust=wild.chain,
        name="hello.world.svc",
    ),
    Row(
        "a name in another case",
        a_plugin(shout := self_signed(dns=("Hello-World",))),
        Reason.IDENTIFIED,
        trust=shout.chain,
    ),
    Row(
        "a pool with comments that are not ASCII",
        a_plugin(),
        Reason.IDENTIFIED,
        trust="# Főtanúsítvány\n".encode() + PLUGIN.chain,
    ),
    Row(
        "a client certificate from an intermediate, of which the plugin trusts the chain",
        a_plugin(trusts=CHAINED.chain),
        Reason.IDENTIFIED,
        client=CHAINED,
    ),
    Row(
        "a client certificate from a CA that the plugin trusts",
        a_plugin(trusts=ISSUED.authority),
        Reason.IDENTIFIED,
        client=ISSUED,
    ),
    Row(
        "a plugin that asks for no client certificate",
        a_plugin(trusts=None),
        Reason.IDENTIFIED,
    ),
    Row(
        "a renewed leaf, with the former one and their issuer in the pool",
        a_plugin(RENEWED),
        Reason.IDENTIFIED,
        trust=issue(INTERMEDIATE).chain,
    ),
    Row(
        "a renewed leaf, with only the former one in the pool",
        a_plugin(RENEWED),
        Reason.TLS_REJECTED,
        ("issued by CN=intermediate", "former certificate"),
        trust=issue(INTERMEDIATE).leaf,
    ),
    Row(
        "a server that nobody in the pool vouches for",
        a_plugin(),
        Reason.TLS_REJECTED,
        ("neither in the server Secret's tls.crt nor issued by one in it",),
        trust=self_signed().chain,
    ),
    Row(
        "a certificate for others",
        a_plugin(others := self_signed(dns=("a.example", "b.example"))),
        Reason.TLS_REJECTED,
        ("for [a.example, b.example], not for hello-world",),
        trust=others.chain,
    ),
    Row(
        "a certificate with the common name alone",
        a_plugin(legacy := self_signed(dns=())),
        Reason.TLS_REJECTED,
        ("no DNS name (SAN)", "common name does not count"),
        trust=legacy.chain,
    ),
    Row(
        "a server certificate for clients",
        a_plugin(wrong := self_signed(usages=(CLIENT,))),
        Reason.TLS_REJECTED,
        ("key usage does not allow a server", "'server auth'"),
        trust=wrong.chain,
    ),
    Row(
        "a server certificate for any purpose, which OpenSSL does not take",
        a_plugin(anything := self_signed(usages=(ANY,))),
        Reason.TLS_REJECTED,
        ("'any' CloudNativePG accepts", "'server auth'"),
        trust=anything.chain,
    ),
    Row(
        "an expired leaf",
        a_plugin(expired := self_signed(ends=timedelta(minutes=-5))),
        Reason.TLS_REJECTED,
        ("which expired at 20", "renew it"),
        trust=expired.chain,
    ),
    Row(
        "an expired issuer",
        a_plugin(HALF_EXPIRED),
        Reason.TLS_REJECTED,
        ("whose issuer's certificate has expired",),
        trust=OLD_INTERMEDIATE.chain,
    ),
    Row(
        "a leaf whose time has not come",
        a_plugin(early := self_signed(starts=timedelta(hours=1))),
        Reason.TLS_REJECTED,
        ("valid from 20", "clocks"),
        trust=early.chain,
    ),
    Row(
        "an issuer whose time has not come",
        a_plugin(issue(young := self_signed("ca", dns=(), ca=True, starts=timedelta(hours=1)))),
        Reason.TLS_REJECTED,
        ("whose issuer's certificate is not valid yet",),
        trust=young.leaf,
    ),
    Row(
        "a server that stops at TLS 1.2 and says so",
        openssl(newest=ssl.TLSVersion.TLSv1_2),
        Reason.TLS_REJECTED,
        ("does not speak TLS 1.3",),
    ),
    Row(
        "a server that stops at TLS 1.2 and hangs up",
        lambda: raw_server(silent, server_context(PLUGIN, newest=ssl.TLSVersion.TLSv1_2)),
        Reason.TLS_REJECTED,
        ("closes the connection during the TLS handshake", "TLS 1.3"),
    ),
    Row(
        "a server with a key for which TLS 1.3 has no signature",
        openssl(self_signed(key="P-224")),
        Reason.TLS_REJECTED,
        ("does not speak TLS 1.3", "key of a usual type"),
    ),
    Row(
        "a server that does not agree on HTTP/2",
        lambda: raw_server(silent, server_context(PLUGIN, protocols=())),
        Reason.TLS_REJECTED,
        ("HTTP/2 (ALPN 'h2')",),
    ),
    Row(
        "a server without TLS",
        lambda: raw_server(saying(b"HTTP/1.1 400 Bad Request\r\n\r\n")),
        Reason.TLS_REJECTED,
        ("does not speak TLS.", "--server-cert"),
    ),
    Row(
        "a server that hangs up",
        lambda: raw_server(closing),
        Reason.TLS_REJECTED,
        ("closes the connection during the TLS handshake",),
    ),
    Row(
        "a server that never says a word",
        lambda: raw_server(silent),
        Reason.NO_ANSWER,
        ("accepts connections but did not finish TLS within 0.05 s.",),
        timeout=0.05,
    ),
    Row(
        "a server that falls silent after TLS",
        lambda: raw_server(silent, server_context(PLUGIN)),
        Reason.NO_ANSWER,
        ("finished TLS but did not send HTTP/2's first frame within 0.2 s.",),
        timeout=0.2,
    ),
    Row(
        "a server that waits for the client to speak first",
        lambda: raw_server(polite, server_context(PLUGIN)),
        Reason.NO_ANSWER,
        ("did not answer cnpgi.identity.v1.Identity/GetPluginMetadata within 0.6 s.",),
        timeout=0.6,
    ),
    Row(
        "a TLS server that speaks no HTTP/2",
        lambda: raw_server(saying(b"220 mail.example ESMTP\r\n"), server_context(PLUGIN)),
        Reason.NOT_A_PLUGIN,
        ("not HTTP/2",),
    ),
    Row(
        "a client certificate that the plugin does not know, refused without a word",
        a_plugin(),
        Reason.CLIENT_CERTIFICATE_REFUSED,
        ("without saying why", "--client-cert"),
        client=STRANGER,
    ),
    Row(
        "a client certificate that the plugin does not know, refused by an alert",
        openssl(trusts=CNPG.chain),
        Reason.CLIENT_CERTIFICATE_REFUSED,
        ("alert 'unknown ca'", "--client-cert"),
        client=self_signed("stranger", dns=(), usages=(CLIENT,)),
    ),
    Row(
        "an expired client certificate",
        openssl(trusts=(old := self_signed("cnpg", usages=None, ends=timedelta(minutes=-5))).chain),
        Reason.CLIENT_CERTIFICATE_REFUSED,
        ("alert 'certificate expired'",),
        client=old,
    ),
    Row(
        "a client certificate for servers",
        openssl(trusts=(server := self_signed("cnpg", dns=())).chain),
        Reason.CLIENT_CERTIFICATE_REFUSED,
        ("alert 'unsupported certificate'",),
        client=server,
    ),
    Row(
        "a client key that the plugin's gRPC cannot use",
        a_plugin(trusts=CNPG_ED25519.chain),
        Reason.CLIENT_CERTIFICATE_REFUSED,
        ("key is Ed25519", "ECDSA P-256"),
        client=CNPG_ED25519,
    ),
    Row(
        "a server key that Go can use and gRPC cannot",
        a_plugin(ED25519),
        Reason.UNSUPPORTED_KEY,
        ("passes CloudNativePG's TLS rules", "Ed25519", "cannot be proven"),
        trust=ED25519.chain,
    ),
    Row(
        "a server name that fits no TLS handshake",
        a_plugin(),
        Reason.TLS_REJECTED,
        ("'a..b' cannot be used as a TLS server name", "spec.tls.serverName"),
        name="a..b",
    ),
    Row(
        "a pool without certificates",
        a_plugin(),
        Reason.SECRET_INCOMPLETE,
        ("server Secret's tls.crt holds no certificate", "Issue"),
        trust=b"nothing",
    ),
    Row(
        "a pool with something that is no certificate",
        a_plugin(),
        Reason.SECRET_INCOMPLETE,
        ("server Secret's tls.crt cannot be read",),
        trust=b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ),
]


async def shake(row: Row, host: str, port: int) -> HandshakeOutcome:
    """Perform the handshake of a row."""
    endpoint = Endpoint(host, port, row.name, Plugin().name)
    material = Material(row.trust, row.client.chain, row.client.key)
    return await Handshaker().shake(endpoint, material, row.timeout)


@pytest.mark.parametrize("row", MATRIX, ids=[row.sentence for row in MATRIX])
async def test_the_verdict_on(row: Row, capfd: pytest.CaptureFixture[str]) -> None:
    async with row.server() as server:
        outcome = await shake(row, HOST, server.port)
    assert outcome.reason is row.reason, outcome.message
    for part in row.says:
        assert part in outcome.message
    assert outcome.succeeded is (outcome.identity is not None)
    assert capfd.readouterr().err == "", "gRPC must not write past the log"


GOOD = Row("good", a_plugin(), Reason.IDENTIFIED)


@pytest.fixture
def closed_port() -> int:
    """A port at which nobody listens."""
    with socket.create_server((HOST, 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


async def test_a_closed_port_is_unreachable_with_the_systems_words(closed_port: int) -> None:
    outcome = await shake(GOOD, HOST, closed_port)
    assert outcome.reason is Reason.UNREACHABLE
    assert f"{HOST}:{closed_port} cannot be reached: Connection refused" in outcome.message
    assert "spec.port" in outcome.message


async def test_a_name_that_does_not_resolve_is_unreachable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def nowhere(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nowhere)
    outcome = await shake(GOOD, "hello.cnpg-system.svc", 9090)
    assert outcome.reason is Reason.UNREACHABLE
    assert outcome.message.startswith(
        "hello.cnpg-system.svc:9090: the name does not resolve (Name or service not known)."
    )


async def test_a_name_that_is_no_name_is_unreachable() -> None:
    outcome = await shake(GOOD, "a..b", 9090)
    assert outcome.reason is Reason.UNREACHABLE
    assert "does not resolve" in outcome.message


async def test_an_address_without_a_route_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    unroutable = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("255.255.255.255", 9))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [unroutable])
    outcome = await shake(GOOD, "hello.svc", 9)
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
        outcome = await shake(GOOD, "hello.svc", server.port)
    assert outcome.succeeded
    assert f"hello.svc:{server.port} ({HOST})" in outcome.message


PAIRS = [
    (CNPG.chain, STRANGER.key, Reason.KEY_MISMATCH, "does not belong to its tls.crt"),
    (b"", CNPG.key, Reason.SECRET_INCOMPLETE, "tls.crt holds no certificate"),
    (CNPG.chain, b"", Reason.SECRET_INCOMPLETE, "tls.key holds no private key"),
    (
        CNPG.chain,
        b"-----BEGIN PRIVATE KEY-----\nc2VjcmV0IHNlY3JldA==\n-----END PRIVATE KEY-----\n",
        Reason.SECRET_INCOMPLETE,
        "cannot be read",
    ),
]


@pytest.mark.parametrize(
    ("certificate", "key", "reason", "says"), PAIRS, ids=[row[3] for row in PAIRS]
)
async def test_a_client_pair_that_cannot_be_loaded_is_told_without_its_key(
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
