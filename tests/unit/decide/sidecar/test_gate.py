"""The verdicts of the gate as its termination message: it is complete for few plugins, and never
exceeds what the kubelet keeps.
"""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnpg_plugin_operator.api.conditions import Reason
from cnpg_plugin_operator.decide.facts.plugin import HandshakeOutcome, Identity
from cnpg_plugin_operator.decide.sidecar import gate

NAMES = st.text(min_size=1, max_size=63)
IDENTITIES = st.builds(
    Identity,
    *[st.text(max_size=10)] * 7,
    capabilities=st.lists(st.text(max_size=8), max_size=3).map(tuple),
)
OUTCOMES = st.builds(
    HandshakeOutcome,
    st.sampled_from(Reason),
    st.text(max_size=60),
    st.none() | IDENTITIES,
    st.text(max_size=5),
)
FEW = st.dictionaries(NAMES, OUTCOMES, max_size=2)
ANY_TEXT = st.text(st.characters(), max_size=5000)
"""With halves of surrogate pairs, unlike the default."""
MANY = st.dictionaries(
    st.text(st.characters(), min_size=1, max_size=63),
    st.builds(HandshakeOutcome, st.sampled_from(Reason), ANY_TEXT, st.none() | IDENTITIES),
    max_size=60,
)
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(["plugin", "reason", "identity", "capabilities", "message", "name"]),
            inner,
        )
    ),
)

IDENTITY = Identity(
    "barman-cloud.cloudnative-pg.io",
    "0.14.0",
    "Barman Cloud",
    "CloudNativePG",
    "Apache-2.0",
    "stable",
    "https://cloudnative-pg.io",
    ("BACKUP_SERVICE", "INSTANCE_SIDECAR_INJECTION", "LIFECYCLE_SERVICE", "WAL_SERVICE"),
)


def named(name: str, reason: Reason = Reason.IDENTIFIED, message: str = "") -> HandshakeOutcome:
    long = "x" * 40
    identity = Identity(name, "1.0", long, long, long, long, long, ("WAL_SERVICE",) * 4)
    return HandshakeOutcome(reason, message or f"{name} answered every call.", identity)


def size(text: str) -> int:
    return len(text.encode())


@given(FEW)
def test_the_message_is_complete_for_few_plugins(outcomes: dict[str, HandshakeOutcome]) -> None:
    assert gate.decode_verdicts(gate.encode_verdicts(outcomes)) == outcomes


@given(MANY, st.integers(min_value=100, max_value=gate.MESSAGE_LIMIT))
def test_no_message_exceeds_its_limit(outcomes: dict[str, HandshakeOutcome], limit: int) -> None:
    assert size(gate.encode_verdicts(outcomes)) <= gate.MESSAGE_LIMIT
    assert size(gate.encode_verdicts(outcomes, limit)) <= limit


@given(MANY)
def test_every_message_is_one_json_document(outcomes: dict[str, HandshakeOutcome]) -> None:
    document = json.loads(gate.encode_verdicts(outcomes))
    assert {entry["reason"] for entry in document["plugins"]} <= set(map(str, Reason))


@given(MANY)
def test_equal_verdicts_give_equal_messages(outcomes: dict[str, HandshakeOutcome]) -> None:
    backwards = dict(reversed(outcomes.items()))
    assert gate.encode_verdicts(backwards) == gate.encode_verdicts(outcomes)


@given(st.text(st.characters()))
def test_any_text_can_be_read(text: str) -> None:
    assert gate.decode_verdicts(text) == {}


@given(JSON)
def test_any_json_can_be_read(document: object) -> None:
    for name, outcome in gate.decode_verdicts(json.dumps(document)).items():
        assert isinstance(name, str)
        assert isinstance(outcome.reason, Reason)


@given(FEW, st.integers(min_value=0, max_value=gate.MESSAGE_LIMIT))
def test_a_truncated_message_is_readable_up_to_its_end(
    outcomes: dict[str, HandshakeOutcome], kept: int
) -> None:
    cut = gate.encode_verdicts(outcomes).encode()[:kept].decode("utf-8", "replace")
    for name, outcome in gate.decode_verdicts(cut).items():
        assert outcome == outcomes[name]


UNREADABLE = [
    "[" * 4000,
    "9" * 5000,
    '{"plugin":"a"}',
    '{"plugin":"a","reason":"Surprise"}',
    '{"plugin":"a","reason":["Identified"]}',
    '{"plugin":1,"reason":"Identified"}',
    '{"plugin":"","reason":"Identified"}',
    '{"reason":"Identified"}',
    '"Identified"',
    "Error on reading termination log /dev/termination-log: permission denied",
]


@pytest.mark.parametrize("text", UNREADABLE, ids=lambda text: text[:40])
def test_an_invalid_verdict_is_skipped(text: str) -> None:
    good = gate.encode_verdicts({"b": named("b")})
    assert gate.decode_verdicts(f"{text}\n{good}") == {"b": named("b")}


def test_a_field_of_a_wrong_type_counts_as_absent() -> None:
    said = '"message":1,"identity":{"version":[],"capabilities":{}}'
    decoded = gate.decode_verdicts(f'{{"plugin":"a","reason":"NoAnswer",{said}}}')
    assert decoded == {"a": HandshakeOutcome(Reason.NO_ANSWER, "", Identity("a", ""))}


def test_names_that_are_not_unicode_are_written() -> None:
    outcome = HandshakeOutcome(Reason.SOCKET_MISSING, "Its directory has \udcff instead.")
    decoded = gate.decode_verdicts(gate.encode_verdicts({"a": outcome}))
    assert decoded["a"].message == "Its directory has ? instead."


def test_the_message_of_a_usual_pod_is_complete() -> None:
    outcomes = {IDENTITY.name: HandshakeOutcome(Reason.IDENTIFIED, "It answered.", IDENTITY)}
    outcomes["b"] = HandshakeOutcome(Reason.UNREACHABLE, "socket /plugins/b is there.")
    assert gate.decode_verdicts(gate.encode_verdicts(outcomes, gate.share(2))) == outcomes


def test_the_message_of_ten_plugins_has_reason_and_version() -> None:
    names = [f"plugin-{n}.cloudnative-pg.io" for n in range(10)]
    outcomes = {name: named(name) for name in names}
    decoded = gate.decode_verdicts(gate.encode_verdicts(outcomes, gate.share(10)))
    assert [(o.reason, o.identity and o.identity.version) for o in decoded.values()] == [
        (Reason.IDENTIFIED, "1.0")
    ] * 10


def test_the_message_of_a_failure_is_kept_longer_than_that_of_a_success() -> None:
    outcomes = {f"good-{n}": named(f"good-{n}", message="o" * 300) for n in range(5)}
    outcomes["bad"] = named("bad", Reason.NOT_SERVING, "says NOT_SERVING")
    decoded = gate.decode_verdicts(gate.encode_verdicts(outcomes, 1500))
    assert decoded["bad"].message == "says NOT_SERVING"
    assert decoded["good-0"].message == ""


LOSSES = [
    # bytes, vendor kept, length of the message, capabilities
    (2000, True, 1000, 4),
    (450, False, 240, 4),
    (350, False, 240, 0),
    (200, False, 80, 0),
    (120, False, 0, 0),
    (80, False, 0, None),
]


@pytest.mark.parametrize(("limit", "vendor", "length", "capabilities"), LOSSES)
def test_details_are_dropped_before_messages_capabilities_and_identity(
    limit: int,
    vendor: bool,  # noqa: FBT001 - a column of the table
    length: int,
    capabilities: int | None,
) -> None:
    outcome = named("a", Reason.CAPABILITY_FAILED, "b" * 1000)
    kept = gate.decode_verdicts(gate.encode_verdicts({"a": outcome}, limit))["a"]
    assert kept.reason is Reason.CAPABILITY_FAILED
    assert bool(kept.identity and kept.identity.vendor) is vendor
    assert len(kept.message) == length
    assert (kept.identity and len(kept.identity.capabilities)) == capabilities


def test_failures_come_first_where_not_everything_fits() -> None:
    outcomes = {"x" * 60 + str(n): named("x" * 60 + str(n)) for n in range(60)}
    outcomes["z"] = HandshakeOutcome(Reason.NO_ANSWER, "silent")
    decoded = gate.decode_verdicts(gate.encode_verdicts(outcomes))
    assert len(decoded) > 30
    assert "z" in decoded


@pytest.mark.parametrize(("plugins", "bytes_"), [(1, 4096), (2, 3072), (4, 2048), (10, 1024)])
def test_the_pods_containers_share_what_the_kubelet_keeps(plugins: int, bytes_: int) -> None:
    assert gate.share(plugins) == bytes_


FAULT = HandshakeOutcome(Reason.CAPABILITY_FAILED, "")
FINAL = [
    ("a success", HandshakeOutcome(Reason.IDENTIFIED, ""), None, True),
    ("a fault that does not pass", FAULT, None, False),
    ("a fault that does not pass, twice", FAULT, FAULT, True),
    ("one such fault after another", FAULT, HandshakeOutcome(Reason.NOT_A_PLUGIN, ""), False),
    *[
        (reason.value, HandshakeOutcome(reason, ""), HandshakeOutcome(reason, ""), False)
        for reason in (
            Reason.SOCKET_MISSING,
            Reason.UNREACHABLE,
            Reason.NO_ANSWER,
            Reason.NOT_SERVING,
        )
    ],
]


@pytest.mark.parametrize(
    ("outcome", "before", "final"), [row[1:] for row in FINAL], ids=[row[0] for row in FINAL]
)
def test_a_verdict_is_final_after(
    outcome: HandshakeOutcome,
    before: HandshakeOutcome | None,
    final: bool,  # noqa: FBT001 - a column of the table
) -> None:
    assert gate.is_final(outcome, before) is final
