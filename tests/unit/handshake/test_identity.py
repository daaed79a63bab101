"""The gRPC half of a handshake: CloudNativePG's calls, and what may go wrong."""

import asyncio
import logging

import grpc
import pytest

from cnpg_plugin_operator.api.conditions import Reason
from cnpg_plugin_operator.decide.facts.plugin import Endpoint, HandshakeOutcome, Identity, Material
from cnpg_plugin_operator.handshake import handshaker, identity_pb2
from cnpg_plugin_operator.handshake.handshaker import Handshaker
from tests.support.tls.certificates import CLIENT, self_signed
from tests.support.tls.servers import (
    HOST,
    IDENTITY,
    SETTINGS,
    Plugin,
    plugin_server,
    raw_server,
    saying,
    server_context,
)

SERVER = self_signed()
CNPG = self_signed("cnpg", dns=(), usages=(CLIENT,))
MATERIAL = Material(SERVER.chain, CNPG.chain, CNPG.key)

METADATA = f"{IDENTITY}/GetPluginMetadata"
CAPABILITIES = f"{IDENTITY}/GetPluginCapabilities"
PROBE = f"{IDENTITY}/Probe"
HEALTH = "/grpc.health.v1.Health/Check"
WAL = "/cnpgi.wal.v1.WAL/GetCapabilities"


async def shake(plugin: Plugin, *, seconds: float = 5) -> tuple[HandshakeOutcome, list[str]]:
    """Perform a handshake; return its outcome and the calls that the plugin received."""
    async with plugin_server(plugin, SERVER, CNPG.chain) as server:
        endpoint = Endpoint(HOST, server.port, "hello-world", "hello.example.com")
        outcome = await Handshaker().shake(endpoint, MATERIAL, seconds)
    return outcome, server.asked


async def test_a_plugin_gets_cloudnativepgs_calls_in_their_order() -> None:
    outcome, asked = await shake(Plugin(services=range(1, 11), ready=True, health=1))
    assert outcome.reason is Reason.IDENTIFIED
    assert asked == [
        METADATA,
        CAPABILITIES,
        "/cnpgi.operator.v1.Operator/GetCapabilities",
        "/cnpgi.operator_lifecycle.v1.OperatorLifecycle/GetCapabilities",
        "/cnpgi.wal.v1.WAL/GetCapabilities",
        "/cnpgi.backup.v1.Backup/GetCapabilities",
        "/cnpgi.reconciler.v1.ReconcilerHooks/GetCapabilities",
        "/cnpgi.wal.v1.RestoreJobHooks/GetCapabilities",
        "/cnpgi.identity.v1.Postgres/GetCapabilities",
        "/cnpgi.metrics.v1.Metrics/GetCapabilities",
        PROBE,
        HEALTH,
    ]


async def test_the_identity_of_a_plugin_is_returned() -> None:
    outcome, _ = await shake(Plugin(services=(2, 1, 77)))
    assert outcome.identity == Identity(
        name="hello.example.com",
        version="1.2.3",
        display_name="Hello",
        vendor="Example",
        license="Apache-2.0",
        maturity="beta",
        url="https://example.com/hello",
        capabilities=("OPERATOR_SERVICE", "UNKNOWN_77", "WAL_SERVICE"),
    )
    assert "hello.example.com 1.2.3 answered every call" in outcome.message


async def test_an_unknown_service_is_not_called() -> None:
    _, asked = await shake(Plugin(services=(0, 8, 9, 77)))
    assert asked == [METADATA, CAPABILITIES, PROBE, HEALTH]


async def test_text_from_a_plugin_becomes_one_short_line() -> None:
    outcome, _ = await shake(Plugin(version="1\n2\t3 " + "x" * 1000))
    assert outcome.identity is not None
    assert outcome.identity.version.startswith("1 2 3 x")
    assert len(outcome.identity.version) <= 257


WRONG = [
    (
        "another name",
        Plugin(name="other.example.com"),
        Reason.IDENTITY_MISMATCH,
        ("'other.example.com'", "'hello.example.com'", "spec.pluginName"),
    ),
    (
        "an answer of four megabytes",
        Plugin(answers={CAPABILITIES: b"\x0a\x04\x0a\x02\x08\x01" * 700_000}),
        Reason.NOT_A_PLUGIN,
        ("GetPluginCapabilities with more than 64 KiB", "Correct the plugin"),
    ),
    (
        "more capabilities than there are",
        Plugin(services=[1] * 1001),
        Reason.NOT_A_PLUGIN,
        ("advertises 1001 capabilities; CNPG-I has 11",),
    ),
    (
        "too few resources of its own",
        Plugin(answers={METADATA: grpc.StatusCode.RESOURCE_EXHAUSTED}),
        Reason.NOT_SERVING,
        ("GetPluginMetadata with RESOURCE_EXHAUSTED (says the test)",),
    ),
    ("no name", Plugin(name=""), Reason.IDENTITY_MISMATCH, ("calls itself ''",)),
    (
        "no identity service",
        Plugin(answers={METADATA: grpc.StatusCode.UNIMPLEMENTED}),
        Reason.NOT_A_PLUGIN,
        ("does not implement cnpgi.identity.v1.Identity/GetPluginMetadata", "not a CNPG-I plugin"),
    ),
    (
        "metadata that is no message",
        Plugin(answers={METADATA: b"\xff\xff\xff"}),
        Reason.NOT_A_PLUGIN,
        ("an unreadable message",),
    ),
    (
        "metadata with text that is none",
        Plugin(answers={METADATA: b"\x0a\x02\xff\xfe"}),
        Reason.NOT_A_PLUGIN,
        ("an unreadable message",),
    ),
    (
        "an internal error",
        Plugin(answers={METADATA: grpc.StatusCode.INTERNAL}),
        Reason.NOT_SERVING,
        ("GetPluginMetadata with INTERNAL (says the test)",),
    ),
    (
        "metadata that is not available",
        Plugin(answers={METADATA: grpc.StatusCode.UNAVAILABLE}),
        Reason.NO_ANSWER,
        ("passed the TLS check", "UNAVAILABLE (says the test)"),
    ),
    (
        "no metadata in time",
        Plugin(answers={METADATA: None}),
        Reason.NO_ANSWER,
        ("did not answer cnpgi.identity.v1.Identity/GetPluginMetadata within 0.3 s.",),
    ),
    (
        "no capabilities",
        Plugin(answers={CAPABILITIES: grpc.StatusCode.UNKNOWN}),
        Reason.NOT_SERVING,
        ("GetPluginCapabilities with UNKNOWN",),
    ),
    (
        "an advertised service that is not there",
        Plugin(services=(1, 2), answers={WAL: grpc.StatusCode.UNIMPLEMENTED}),
        Reason.CAPABILITY_FAILED,
        ("WAL_SERVICE", "cnpgi.wal.v1.WAL/GetCapabilities", "UNIMPLEMENTED", "would not load"),
    ),
    (
        "an advertised service that is not available",
        Plugin(services=(2,), answers={WAL: grpc.StatusCode.UNAVAILABLE}),
        Reason.CAPABILITY_FAILED,
        ("WAL_SERVICE", "UNAVAILABLE"),
    ),
    (
        "an advertised service that does not answer in time",
        Plugin(services=(2,), answers={WAL: None}),
        Reason.NO_ANSWER,
        ("did not answer cnpgi.wal.v1.WAL/GetCapabilities within 0.3 s.",),
    ),
    (
        "a probe that fails",
        Plugin(answers={PROBE: grpc.StatusCode.FAILED_PRECONDITION}),
        Reason.NOT_SERVING,
        ("Identity/Probe with FAILED_PRECONDITION",),
    ),
    (
        "a probe that answers false",
        Plugin(ready=False),
        Reason.NOT_SERVING,
        ("Probe with ready=false",),
    ),
    (
        "bad health",
        Plugin(health=2),
        Reason.NOT_SERVING,
        ("reports NOT_SERVING at grpc.health.v1.Health/Check",),
    ),
    ("unknown health", Plugin(health=0), Reason.NOT_SERVING, ("reports UNKNOWN",)),
    (
        "health of a kind that is not known",
        Plugin(health=9),
        Reason.NOT_SERVING,
        ("reports 9 at",),
    ),
    (
        "health that cannot be asked",
        Plugin(answers={HEALTH: grpc.StatusCode.INTERNAL}),
        Reason.NOT_SERVING,
        ("Health/Check with INTERNAL",),
    ),
    (
        "health that cannot be read",
        Plugin(answers={HEALTH: b"\xff"}),
        Reason.NOT_SERVING,
        ("Health/Check with an unreadable message",),
    ),
]


@pytest.mark.parametrize(
    ("plugin", "reason", "says"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG]
)
async def test_a_plugin_is_refused_for(
    plugin: Plugin, reason: Reason, says: tuple[str, ...]
) -> None:
    outcome, _ = await shake(plugin, seconds=0.3 if None in plugin.answers.values() else 5)
    assert outcome.reason is reason, outcome.message
    for part in says:
        assert part in outcome.message
    assert not outcome.succeeded


FINE = [
    ("a probe without a value", Plugin(ready=None)),
    ("a probe that says true", Plugin(ready=True)),
    ("no health service", Plugin(health=None)),
    ("a health service that does not know it", Plugin(answers={HEALTH: grpc.StatusCode.NOT_FOUND})),
]


@pytest.mark.parametrize("plugin", [row[1] for row in FINE], ids=[row[0] for row in FINE])
async def test_a_plugin_is_accepted_with(plugin: Plugin) -> None:
    outcome, _ = await shake(plugin)
    assert outcome.reason is Reason.IDENTIFIED, outcome.message


async def test_answers_before_a_failure_are_kept() -> None:
    outcome, _ = await shake(Plugin(services=(2,), answers={WAL: None}), seconds=0.3)
    assert outcome.identity is not None
    assert outcome.identity.capabilities == ("WAL_SERVICE",)
    mismatch, _ = await shake(Plugin(name="other"))
    assert mismatch.identity is not None
    assert mismatch.identity.name == "other"


async def test_a_server_that_sends_only_settings_gives_no_answer() -> None:
    context = server_context(SERVER, CNPG.chain)
    async with raw_server(saying(SETTINGS), context) as server:
        endpoint = Endpoint(HOST, server.port, "hello-world", "hello.example.com")
        outcome = await Handshaker().shake(endpoint, MATERIAL, 0.3)
    assert outcome.reason is Reason.NO_ANSWER
    assert "did not answer cnpgi.identity.v1.Identity/GetPluginMetadata" in outcome.message


async def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "grpc_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    outcome, _ = await shake(Plugin())
    assert outcome.succeeded, outcome.message


async def test_many_handshakes_at_once_do_not_disturb_each_other() -> None:
    async with plugin_server(Plugin(), SERVER, CNPG.chain) as server:
        right = Endpoint(HOST, server.port, "hello-world", "hello.example.com")
        wrong = Endpoint(HOST, server.port, "hello-moon", "hello.example.com")
        shakes = (Handshaker().shake(end, MATERIAL, 10) for end in [right, wrong] * 5)
        outcomes = await asyncio.gather(*shakes)
    assert [o.reason for o in outcomes] == [Reason.IDENTIFIED, Reason.TLS_REJECTED] * 5


async def test_a_cancelled_handshake_is_cancelled() -> None:
    reached = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        reached.set()
        while await reader.read(1024):
            pass

    async with raw_server(silent) as server:
        endpoint = Endpoint(HOST, server.port, "hello-world", "hello.example.com")
        task = asyncio.create_task(Handshaker().shake(endpoint, MATERIAL, 60))
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_an_unexpected_error_becomes_an_outcome(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: object) -> None:
        raise LookupError("surprise")

    monkeypatch.setattr(handshaker, "usable", broken)
    with caplog.at_level(logging.ERROR):
        endpoint = Endpoint(HOST, 1, "hello-world", "hello.example.com")
        outcome = await Handshaker().shake(endpoint, MATERIAL, 1)
    assert outcome.reason is Reason.NO_ANSWER
    assert "LookupError" in outcome.message
    assert "surprise" in caplog.text


def test_the_messages_are_those_of_the_protocol() -> None:
    said = identity_pb2.MetadataResponse.FromString(b"\x0a\x01a\x12\x01b\x52\x01c")
    assert (said.name, said.version, said.vendor) == ("a", "b", "c")
    assert identity_pb2.ProbeResponse(ready=True).SerializeToString() == b"\x08\x01"
