"""What a person reads who follows a plugin through its life: the Events and the log."""

import logging
from collections.abc import Iterator

import pytest

from cnpg_plugin_operator.api.conditions import Reason
from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.decide.facts.plugin import HandshakeOutcome
from tests.support.unit.stage.stage import Stage
from tests.support.unit.stage.states import ready, use

HALF_AN_HOUR = 1800.0
ANOTHER = HandshakeOutcome(Reason.IDENTITY_MISMATCH, "It is another one.")


class Reader:
    """Reads what is new since the last look, as someone who follows `kubectl events` does."""

    def __init__(self, stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
        self._stage, self._caplog = stage, caplog
        self._seen: dict[str, int] = {}

    def events(self) -> list[str]:
        """The type and reason of each Event that is new or counts more."""
        found = {each["metadata"]["name"]: each for each in self._stage.client.events}
        new = [each for name, each in found.items() if each["count"] > self._seen.get(name, 0)]
        self._seen = {name: each["count"] for name, each in found.items()}
        return [f"{each['type']} {each['reason']}" for each in new]

    def log(self) -> list[str]:
        """The lines of the log at the level info."""
        lines = [record.getMessage() for record in self._caplog.records]
        self._caplog.clear()
        return lines


@pytest.fixture
def stage() -> Stage:
    """A cluster without cert-manager: the operator renews at its time."""
    made = Stage()
    made.client.missing = {"Issuer", "Certificate", "ClusterIssuer"}
    return made


@pytest.fixture
def reader(stage: Stage, caplog: pytest.LogCaptureFixture) -> Iterator[Reader]:
    with caplog.at_level(logging.INFO):
        yield Reader(stage, caplog)


async def test_events_and_log_tell_what_happens(stage: Stage, reader: Reader) -> None:
    stage.create(tls={"provider": "SelfManaged"})
    await stage.settle()
    assert reader.events() == ["Normal Ready"]
    assert reader.log()[-1].startswith("Ready: ")

    stage.edit(image="example.org/hello:2")
    await stage.settle()
    assert reader.events() == ["Normal Ready", "Normal RolloutInProgress"]
    upgrade = reader.log()
    assert [line for line in upgrade if line.startswith("RolloutInProgress: ")]
    assert upgrade[-1].startswith("Ready: ")

    stage.ask_to_renew()
    await stage.settle()
    assert reader.events() == ["Normal CertificatesRenewed"]
    [told] = [e["message"] for e in stage.client.events if e["reason"] == "CertificatesRenewed"]
    assert told.startswith("The server certificate works until ")
    assert "Secret hello-server-tls" in "".join(reader.log())

    stage.handshaker.outcome = ANOTHER
    stage.edit(image="example.org/hello:3")
    await stage.settle()
    assert reader.events() == ["Normal RolloutInProgress", "Warning IdentityMismatch"]
    assert reader.log()[-1] == f"IdentityMismatch: {ANOTHER.message}"

    stage.handshaker.outcome = None
    stage.edit(image="example.org/hello:2")
    await stage.settle()
    assert reader.events() == ["Normal Ready", "Normal RolloutInProgress"]
    assert reader.log()[-1].startswith("Ready: ")

    stage.edit(suspend=True)
    await stage.settle(passes=2)
    [line] = reader.log()
    assert line.startswith("Suspended: ")

    use(stage.client, "db")
    stage.delete()
    await stage.settle()
    assert reader.events() == ["Warning InUse"]


async def test_a_quiet_hour_is_empty_at_level_info(stage: Stage, reader: Reader) -> None:
    stage.create(tls={"provider": "SelfManaged"})
    await stage.settle()
    reader.events()
    reader.log()

    await stage.pass_by(HALF_AN_HOUR)
    use(stage.client, "db")
    await stage.pass_by(HALF_AN_HOUR)

    assert (reader.events(), reader.log()) == ([], [])
    status = stage.client.the(kinds.PLUGIN, "hello")["status"]
    assert status["clusters"]["using"] == 1, "a change that tells nothing about the plugin"


async def test_the_same_cause_is_one_event_that_counts() -> None:
    stage = await ready()
    for number in range(2, 4):
        stage.handshaker.outcome = ANOTHER
        stage.edit(image=f"example.org/hello:{number}")
        await stage.settle()
        stage.handshaker.outcome = None
        stage.edit(image="example.org/hello:1")
        await stage.settle()
        stage.reconciler = stage.operator()

    counts = {event["reason"]: event for event in stage.client.events}
    assert len(stage.client.events) == len(counts) == 3
    assert (counts["IdentityMismatch"]["count"], counts["Ready"]["count"]) == (2, 3)
    for event in stage.client.events:
        assert event["firstTimestamp"] < event["lastTimestamp"]
