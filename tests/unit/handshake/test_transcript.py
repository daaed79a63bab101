"""What is recorded of a TLS handshake, and how Go's rule about issuers applies to it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnpg_plugin_operator.api.conditions import Reason
from cnpg_plugin_operator.decide.facts.plugin import Endpoint, HandshakeOutcome, Material
from cnpg_plugin_operator.handshake import tls
from cnpg_plugin_operator.handshake.handshaker import Handshaker
from cnpg_plugin_operator.handshake.transcript import Transcript
from tests.support.tls.certificates import CLIENT, Pair, authority, issue, self_signed
from tests.support.tls.servers import HOST, Plugin, plugin_server

HANDSHAKE, CERTIFICATE, CERTIFICATE_REQUEST = 22, 11, 13
ROOT = authority()
SERVER = self_signed()
ISSUED = issue(ROOT, "cnpg", dns=(), usages=(CLIENT,))
INTERMEDIATE = authority("intermediate", ROOT)
CHAINED = issue(INTERMEDIATE, "cnpg", dns=(), usages=(CLIENT,))


def vector(size: int, *parts: bytes) -> bytes:
    """Encode a TLS vector whose length takes so many bytes."""
    body = b"".join(parts)
    return len(body).to_bytes(size, "big") + body


def request(*issuers: bytes) -> bytes:
    """Encode a CertificateRequest as Go's server sends it: signature schemes, then the issuers."""
    schemes = b"\x00\x0d" + vector(2, vector(2, b"\x04\x03\x08\x04"))
    names = b"\x00\x2f" + vector(2, vector(2, *(vector(2, issuer) for issuer in issuers)))
    return b"\x0d" + vector(3, vector(1), vector(2, schemes, names if issuers else b""))


def heard(kind: int, data: bytes, direction: str = "read", content: int = HANDSHAKE) -> Transcript:
    """Pass one message to a transcript."""
    transcript = Transcript()
    transcript._record(None, direction, None, content, kind, data)
    return transcript


def test_the_issuers_that_a_server_accepts_are_recorded() -> None:
    transcript = heard(CERTIFICATE_REQUEST, request(b"one", b"two"))
    assert transcript.acceptable_issuers == (b"one", b"two")


def test_a_request_without_issuers_accepts_any() -> None:
    transcript = heard(CERTIFICATE_REQUEST, request())
    assert transcript.acceptable_issuers == ()


def test_the_presented_chain_is_recorded() -> None:
    entries = [vector(3, der) + vector(2) for der in (b"leaf", b"issuer")]
    message = b"\x0b" + vector(3, vector(1), vector(3, *entries))
    assert heard(CERTIFICATE, message).chain == (b"leaf", b"issuer")


def test_messages_of_the_client_are_not_recorded() -> None:
    assert heard(CERTIFICATE_REQUEST, request(b"one"), direction="write") == Transcript()
    assert heard(CERTIFICATE_REQUEST, request(b"one"), content=23) == Transcript()


@given(kind=st.sampled_from([CERTIFICATE, CERTIFICATE_REQUEST]), data=st.binary(max_size=200))
def test_any_message_is_parsed_without_an_error(kind: int, data: bytes) -> None:
    heard(kind, data)


async def shake(client: Pair) -> HandshakeOutcome:
    """Connect to a plugin that accepts any client, whatever issuers it names."""
    async with plugin_server(Plugin(), SERVER, None) as server:
        endpoint = Endpoint(HOST, server.port, "hello-world", Plugin().name)
        return await Handshaker().shake(
            endpoint, Material(SERVER.chain, client.chain, client.key), 5
        )


def naming(monkeypatch: pytest.MonkeyPatch, *issuers: Pair) -> None:
    """Make servers name the issuers they accept, as servers written in Go do."""
    names = tuple(pair.certificate.subject.public_bytes() for pair in issuers)
    monkeypatch.setattr(tls, "Transcript", lambda: Transcript(acceptable_issuers=names))


async def test_go_does_not_send_a_certificate_whose_issuer_is_not_requested(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    naming(monkeypatch, ISSUED)  # the plugin has pinned the leaf (plugin-barman-cloud #477)
    outcome = await shake(ISSUED)
    assert outcome.reason is Reason.CLIENT_CERTIFICATE_REFUSED
    for part in ("CN=root", "CloudNativePG would send no certificate", "spec.tls.clientTrust"):
        assert part in outcome.message


@pytest.mark.parametrize("issuer", [ROOT, INTERMEDIATE], ids=["the root", "the intermediate"])
async def test_go_sends_a_certificate_if_its_chain_has_a_requested_issuer(
    monkeypatch: pytest.MonkeyPatch, issuer: Pair
) -> None:
    naming(monkeypatch, issuer)
    assert (await shake(CHAINED)).succeeded
