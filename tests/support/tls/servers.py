"""Servers on 127.0.0.1 for handshakes: a CNPG-I plugin with mTLS, and other servers."""

import asyncio
import contextlib
import socket
import ssl
import tempfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias
from urllib.parse import quote

import grpc
import grpc.aio

from cnpg_plugin_operator.handshake import identity_pb2
from tests.support.tls.certificates import Pair

HOST: Final = "127.0.0.1"
IDENTITY: Final = "/cnpgi.identity.v1.Identity"
SETTINGS: Final = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

Answer: TypeAlias = bytes | grpc.StatusCode | None
"""An encoded message, a failure, or no answer at all."""

Connected = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Plugin:
    """The answers of a plugin server; the defaults are those of a working one."""

    name: str = "hello.example.com"
    version: str = "1.2.3"
    services: Sequence[int] = ()
    ready: bool | None = None
    health: int | None = None
    answers: Mapping[str, Answer] = field(default_factory=dict)
    """Other answers, by full method names."""

    def answer(self, method: str) -> Answer:
        """Return the answer, UNIMPLEMENTED by default."""
        if method in self.answers:
            return self.answers[method]
        if method.endswith("/GetCapabilities"):
            return b""
        answer: Answer = self._identity().get(method, grpc.StatusCode.UNIMPLEMENTED)
        return answer

    def _identity(self) -> dict[str, Answer]:
        service = identity_pb2.Capability.Service
        capabilities = [identity_pb2.Capability(service=service(type=n)) for n in self.services]
        answers: dict[str, Answer] = {
            f"{IDENTITY}/GetPluginMetadata": identity_pb2.MetadataResponse(
                name=self.name,
                version=self.version,
                display_name="Hello",
                vendor="Example",
                license="Apache-2.0",
                maturity="beta",
                project_url="https://example.com/hello",
            ).SerializeToString(),
            f"{IDENTITY}/GetPluginCapabilities": identity_pb2.CapabilitiesResponse(
                capabilities=capabilities
            ).SerializeToString(),
            f"{IDENTITY}/Probe": identity_pb2.ProbeResponse(ready=self.ready).SerializeToString(),
        }
        if self.health is not None:
            health = identity_pb2.HealthResponse(status=self.health)
            answers["/grpc.health.v1.Health/Check"] = health.SerializeToString()
        return answers


class _Handler(grpc.GenericRpcHandler):  # type: ignore[misc] # grpc has no types
    """Answers every method from one `Plugin`, and records the calls."""

    def __init__(self, plugin: Plugin, asked: list[str]) -> None:
        self._plugin = plugin
        self._asked = asked

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        method: str = handler_call_details.method

        async def respond(_request: bytes, context: grpc.aio.ServicerContext) -> bytes:
            self._asked.append(method)
            answer = self._plugin.answer(method)
            if isinstance(answer, grpc.StatusCode):
                await context.abort(answer, "says the test")
            if answer is None:
                await asyncio.Event().wait()
            assert isinstance(answer, bytes)
            return answer

        return grpc.unary_unary_rpc_method_handler(respond)


@dataclass(slots=True)
class Running:
    """A server that runs."""

    port: int
    asked: list[str] = field(default_factory=list)
    """The called methods, in order."""


@contextlib.asynccontextmanager
async def plugin_server(
    plugin: Plugin, pair: Pair, client_trust: bytes | None
) -> AsyncIterator[Running]:
    """Run a CNPG-I plugin; with None it requests no client certificate."""
    credentials = grpc.ssl_server_credentials(
        [(pair.key, pair.chain)],
        root_certificates=client_trust,
        require_client_auth=client_trust is not None,
    )
    async with _serving(plugin) as (server, asked):
        port = server.add_secure_port(f"{HOST}:0", credentials)
        await server.start()
        yield Running(port, asked)


@contextlib.asynccontextmanager
async def socket_plugin(plugin: Plugin, path: Path) -> AsyncIterator[list[str]]:
    """Run a CNPG-I plugin on a unix socket; yields the called methods."""
    async with _serving(plugin) as (server, asked):
        server.add_insecure_port(f"unix:{quote(str(path))}")
        await server.start()
        yield asked


@contextlib.asynccontextmanager
async def _serving(plugin: Plugin) -> AsyncIterator[tuple[grpc.aio.Server, list[str]]]:
    """Start a server that answers as the plugin, and stop it."""
    asked: list[str] = []
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((_Handler(plugin, asked),))
    try:
        yield server, asked
    finally:
        await server.stop(None)


def server_context(
    pair: Pair,
    client_trust: bytes | None = None,
    *,
    newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
    protocols: Sequence[str] = ("h2",),
) -> ssl.SSLContext:
    """Build a server's context with OpenSSL, which sends its clients the reason of a refusal."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = newest
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pair.pem"
        file.write_bytes(pair.chain + pair.key)
        context.load_cert_chain(file)
        if client_trust is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
            file.write_bytes(client_trust)
            context.load_verify_locations(file)
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


@contextlib.asynccontextmanager
async def raw_server(
    connected: Connected, context: ssl.SSLContext | None = None, path: Path | None = None
) -> AsyncIterator[Running]:
    """Run a server of raw bytes, with TLS if there is a context, or on a unix socket."""

    writers: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        with contextlib.suppress(OSError, EOFError):
            await connected(reader, writer)
        writer.close()

    if path is None:
        server = await asyncio.start_server(serve, HOST, 0, ssl=context)
        port = server.sockets[0].getsockname()[1]
    else:
        server, port = await asyncio.start_unix_server(serve, path), 0
    try:
        yield Running(port)
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


@contextlib.asynccontextmanager
async def no_server() -> AsyncIterator[Running]:
    """Find a port without a listener."""
    with socket.create_server((HOST, 0)) as listener:
        port: int = listener.getsockname()[1]
    yield Running(port)


@contextlib.asynccontextmanager
async def alerting_server(context: ssl.SSLContext) -> AsyncIterator[Running]:
    """Run a TLS server in a thread: unlike asyncio's, it sends an alert with the reason of a
    refusal.
    """
    listener = socket.create_server((HOST, 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError), connection:
                connection.settimeout(5)
                with context.wrap_socket(connection, server_side=True) as session:
                    session.sendall(SETTINGS)
                    session.recv(1024)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield Running(listener.getsockname()[1])
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        await asyncio.to_thread(thread.join)


async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Read and never answer."""
    while await reader.read(1024):
        pass


async def closing(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Close as soon as data arrives."""
    await reader.read(1024)


async def polite(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Wait for the HTTP/2 client to send first."""
    await reader.readexactly(len(PREFACE))
    writer.write(SETTINGS)
    await silent(reader, writer)


def saying(text: bytes) -> Connected:
    """Send something, then only read."""

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(text)
        await silent(reader, writer)

    return say
