"""The handshake over a unix socket: the same calls as over TLS, and its own faults."""

import asyncio
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from cnpg_plugin_operator.api.conditions import Reason
from cnpg_plugin_operator.handshake.sockets import SocketHandshaker, find_sockets
from tests.support.tls.servers import IDENTITY, SETTINGS, Plugin, raw_server, socket_plugin

NAME = Plugin().name
METADATA = f"{IDENTITY}/GetPluginMetadata"
WAL = "/cnpgi.wal.v1.WAL/GetCapabilities"
NOBODY = 65534


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory with a short name (a socket's path has 107 bytes), open to every user."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


async def test_a_plugin_gets_the_same_calls_as_over_tls(directory: Path) -> None:
    async with socket_plugin(Plugin(services=(1, 2), health=1), directory / NAME) as asked:
        outcome = await SocketHandshaker().shake(directory / NAME, NAME, 5)
    assert outcome.succeeded, outcome.message
    assert outcome.identity is not None
    assert outcome.identity.version == "1.2.3"
    assert outcome.identity.capabilities == ("OPERATOR_SERVICE", "WAL_SERVICE")
    assert f"answered every call at socket {directory / NAME}" in outcome.message
    assert asked == [
        METADATA,
        f"{IDENTITY}/GetPluginCapabilities",
        "/cnpgi.operator.v1.Operator/GetCapabilities",
        WAL,
        f"{IDENTITY}/Probe",
        "/grpc.health.v1.Health/Check",
    ]


async def test_the_authority_is_the_one_that_gos_client_sends(directory: Path) -> None:
    heard = bytearray()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(SETTINGS)
        while said := await reader.read(1024):
            heard.extend(said)

    async with raw_server(listen, path=directory / NAME):
        await SocketHandshaker().shake(directory / NAME, NAME, 0.3)
    assert b"localhost" in heard


@pytest.mark.parametrize("folder", ["with space", "50%25", "ümläut", "a#b?c"])
async def test_the_directory_may_be_named(folder: str, directory: Path) -> None:
    (directory / folder).mkdir()
    path = directory / folder / NAME
    async with socket_plugin(Plugin(), path):
        outcome = await SocketHandshaker().shake(path, NAME, 5)
    assert outcome.succeeded, outcome.message


WRONG = [
    ("another name", Plugin(name="other"), Reason.IDENTITY_MISMATCH, "calls itself 'other'"),
    (
        "no identity service",
        Plugin(answers={METADATA: grpc.StatusCode.UNIMPLEMENTED}),
        Reason.NOT_A_PLUGIN,
        "not a CNPG-I plugin",
    ),
    (
        "an advertised service that does not exist",
        Plugin(services=(2,), answers={WAL: grpc.StatusCode.UNKNOWN}),
        Reason.CAPABILITY_FAILED,
        "advertises WAL_SERVICE",
    ),
    ("no readiness", Plugin(ready=False), Reason.NOT_SERVING, "ready=false"),
    (
        "metadata that is not available",
        Plugin(answers={METADATA: grpc.StatusCode.UNAVAILABLE}),
        Reason.NO_ANSWER,
        "did not answer the first call: UNAVAILABLE (says the test)",
    ),
    ("silence", Plugin(answers={METADATA: None}), Reason.NO_ANSWER, "within 0.3 s."),
]


@pytest.mark.parametrize(
    ("plugin", "reason", "says"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG]
)
async def test_a_plugin_is_refused_for(
    plugin: Plugin, reason: Reason, says: str, directory: Path
) -> None:
    async with socket_plugin(plugin, directory / NAME):
        seconds = 0.3 if None in plugin.answers.values() else 5
        outcome = await SocketHandshaker().shake(directory / NAME, NAME, seconds)
    assert outcome.reason is reason, outcome.message
    assert says in outcome.message
    assert f"socket {directory / NAME}" in outcome.message


async def test_an_absent_socket_is_missing(directory: Path) -> None:
    for path in (directory / NAME, directory / "nowhere" / NAME):
        outcome = await SocketHandshaker().shake(path, NAME, 5)
        assert outcome.reason is Reason.SOCKET_MISSING
        assert f"socket {path} does not exist" in outcome.message


async def test_a_socket_without_a_listener_is_unreachable(directory: Path) -> None:
    with socket.socket(socket.AF_UNIX) as previous:
        previous.bind(str(directory / NAME))
    outcome = await SocketHandshaker().shake(directory / NAME, NAME, 5)
    assert outcome.reason is Reason.UNREACHABLE
    assert "nothing listens on it" in outcome.message


async def test_a_file_that_is_no_socket_is_reported(directory: Path) -> None:
    (directory / NAME).write_text("a file")
    outcome = await SocketHandshaker().shake(directory / NAME, NAME, 5)
    assert outcome.reason is Reason.UNREACHABLE
    assert "is not a socket" in outcome.message


async def test_a_path_too_long_for_a_socket_is_reported(directory: Path) -> None:
    outcome = await SocketHandshaker().shake(directory / ("x" * 120), NAME, 5)
    assert outcome.reason is Reason.UNREACHABLE
    assert "path too long" in outcome.message


async def test_a_silent_server_gives_no_answer(directory: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(directory / NAME))
        listener.listen()
        outcome = await SocketHandshaker().shake(directory / NAME, NAME, 0.3)
    assert outcome.reason is Reason.NO_ANSWER
    assert "did not answer cnpgi.identity.v1.Identity/GetPluginMetadata" in outcome.message


async def test_a_server_of_another_protocol_gives_no_answer_at_once(directory: Path) -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example.com\r\n")

    async with raw_server(greet, path=directory / NAME):
        outcome = await SocketHandshaker().shake(directory / NAME, NAME, 5)
    assert outcome.reason is Reason.NO_ANSWER
    assert "serve gRPC without TLS" in outcome.message


async def test_a_socket_of_another_user_is_reported(directory: Path) -> None:
    """No user may write to it, except root; so a test that runs as root changes its user."""
    before = os.geteuid()
    async with socket_plugin(Plugin(), directory / NAME):
        (directory / NAME).chmod(0o555)
        if before == 0:
            os.seteuid(NOBODY)
        try:
            outcome = await SocketHandshaker().shake(directory / NAME, NAME, 5)
        finally:
            os.seteuid(before)
    assert outcome.reason is Reason.UNREACHABLE
    assert "run the plugin as the same user as CloudNativePG's manager" in outcome.message


async def test_no_proxy_of_the_environment_is_used(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with socket_plugin(Plugin(), directory / NAME):
        outcome = await SocketHandshaker().shake(directory / NAME, NAME, 5)
    assert outcome.succeeded, outcome.message


def test_only_sockets_are_found_in_a_directory(directory: Path) -> None:
    (directory / "file").touch()
    (directory / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(directory / NAME))
        assert find_sockets(directory) == frozenset({NAME})
    assert find_sockets(directory / "nowhere") is None
