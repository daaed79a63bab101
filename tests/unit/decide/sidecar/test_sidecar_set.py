"""Who gets into CloudNativePG's pod, who stays as it is, who stays out: one row per situation."""

from copy import deepcopy
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.conditions import Reason, no
from cnpg_plugin_operator.api.records import (
    Held,
    SidecarRecord,
    build_sidecar_record,
    read_sidecar_record,
)
from cnpg_plugin_operator.api.spec import RestartPolicy
from cnpg_plugin_operator.decide.facts.cnpg import CNPGFacts
from cnpg_plugin_operator.decide.sidecar.quarantine import Blockade, Cause
from cnpg_plugin_operator.decide.sidecar.sidecar_set import (
    FIRST_RETRY,
    LAST_RETRY,
    MOST_REVERTS,
    TRIAL_AFTER,
    Candidate,
    SidecarSet,
    compose,
    is_leaving,
    retry_time,
)
from cnpg_plugin_operator.decide.workload.upgrade import TOKEN_DIGITS
from cnpg_plugin_operator.desired.sidecars import build_sidecar, build_template
from tests.support.unit.builders import NOW, ago, resource
from tests.support.unit.builders import plugin as build_plugin
from tests.support.unit.cnpg_pods import GATE, PLACE, candidate, deployed, sidecar_spec, template

OLD = build_sidecar(sidecar_spec(image="example.org/hello:0"), PLACE)
WANTED = build_sidecar(sidecar_spec(), PLACE)
OTHER = build_sidecar(sidecar_spec("other"), PLACE)
TOKEN = WANTED.revision[:TOKEN_DIGITS]
NEVER = RestartPolicy.NEVER


def holding(*sidecars: Any) -> CNPGFacts:
    """A host whose template holds these."""
    return deployed(build_template(sidecars, PLACE, GATE, template()))


EMPTY, FORMER, CURRENT = holding(), holding(OLD), holding(WANTED)
SEEN = SidecarRecord(1, WANTED.revision, present=True)


def held(seconds: float, times: int = 1, revision: str = WANTED.revision) -> SidecarRecord:
    record = Held(revision, Reason.CRASH_LOOP, "it ends", ago(seconds), times)
    return SidecarRecord(1, WANTED.revision, held=record)


def reverted(times: int, generation: int = 1) -> SidecarRecord:
    return SidecarRecord(generation, WANTED.revision, reverts=times)


MANUAL: dict[str, Any] = {"upgradePolicy": "Manual"}

Row = tuple[str, CNPGFacts, Candidate, str]

SITUATIONS: list[Row] = [
    ("a new sidecar gets in", EMPTY, candidate(), "wanted"),
    ("one that stands there stays", CURRENT, candidate(), "wanted"),
    ("one that changed replaces its former self", FORMER, candidate(), "wanted"),
    ("one that is suspended stays as it is", FORMER, candidate(spec={"suspend": True}), "kept"),
    ("one that is suspended stays out", EMPTY, candidate(spec={"suspend": True}), "out"),
    ("one whose spec cannot be read stays as it is", FORMER, candidate(plugin=None), "kept"),
    ("one whose spec cannot be read stays out", EMPTY, candidate(plugin=None), "out"),
    ("one that is refused stays as it is", FORMER, candidate(accepted=False), "kept"),
    ("one that is refused stays out", EMPTY, candidate(accepted=False), "out"),
    ("one that turned Standalone stays until it is reached", CURRENT,
     candidate(plugin=build_plugin()), "kept"),
    ("one that is leaving goes", CURRENT, candidate(leaving=True), "out"),
    ("one that is leaving goes, suspended or not", CURRENT,
     candidate(leaving=True, spec={"suspend": True}), "out"),
    ("a manual change that Clusters would feel waits", FORMER,
     candidate(spec=MANUAL, used=True), "awaiting"),
    ("a manual change that was approved is made", FORMER,
     candidate(spec=MANUAL, used=True, approval=TOKEN), "wanted"),
    ("the approval of a former change does not count", FORMER,
     candidate(spec=MANUAL, used=True, approval=OLD.revision[:TOKEN_DIGITS]), "awaiting"),
    ("a manual change that nobody feels is made", FORMER, candidate(spec=MANUAL), "wanted"),
    ("a new sidecar needs no approval", EMPTY, candidate(spec=MANUAL, used=True), "wanted"),
    ("one that does not change needs no approval", CURRENT,
     candidate(spec=MANUAL, used=True), "wanted"),
    ("an automatic change needs no approval", FORMER, candidate(used=True), "wanted"),
    ("one that crashed stays out", EMPTY, candidate(record=held(10)), "held"),
    ("one that crashes goes", CURRENT, candidate(record=held(10)), "held"),
    ("one that crashed stays out for five minutes", EMPTY, candidate(record=held(299)), "held"),
    ("one that crashed is tried again", EMPTY, candidate(record=held(300)), "wanted"),
    ("one that crashed twice stays out for longer", EMPTY, candidate(record=held(599, 2)), "held"),
    ("one that crashed twice is tried again", EMPTY, candidate(record=held(600, 2)), "wanted"),
    ("what crashed was another revision", EMPTY,
     candidate(record=held(1, revision=OLD.revision)), "wanted"),
    ("one that was taken out once comes back", EMPTY, candidate(record=SEEN), "wanted"),
    ("one that was taken out twice comes back", EMPTY,
     candidate(record=replace(SEEN, reverts=MOST_REVERTS - 2)), "wanted"),
    ("one that was taken out three times stays out", EMPTY,
     candidate(record=replace(SEEN, reverts=MOST_REVERTS - 1)), "reverted"),
    ("one that is left to people stays out", EMPTY, candidate(record=reverted(3)), "reverted"),
    ("one that is left to people and was put back stays", CURRENT,
     candidate(record=reverted(3)), "reverted, kept"),
    ("one that was taken out comes back with another spec", EMPTY,
     candidate(record=reverted(3, generation=0)), "wanted"),
]  # fmt: skip


def describe(composed: SidecarSet) -> str:
    member = composed.members["hello"]
    if member.held:
        assert member.applied is None
        return "held"
    if member.reverted:
        return "reverted, kept" if member.applied is not None else "reverted"
    if member.awaiting:
        assert member.applied is not None
        assert member.awaiting == TOKEN
        return "awaiting"
    if member.applied is None:
        return "out"
    return "wanted" if member.applied is member.wanted else "kept"


@pytest.mark.parametrize(
    ("where", "given", "member"),
    [row[1:] for row in SITUATIONS],
    ids=[row[0] for row in SITUATIONS],
)
def test_what_becomes_of_a_candidate(where: CNPGFacts, given: Candidate, member: str) -> None:
    assert describe(compose([given], where, PLACE, GATE, NOW)) == member


@pytest.mark.parametrize(
    ("where", "given", "member"),
    [row[1:] for row in SITUATIONS],
    ids=[row[0] for row in SITUATIONS],
)
def test_the_others_do_not_change_with_it(where: CNPGFacts, given: Candidate, member: str) -> None:
    composed = compose([given, candidate("other")], where, PLACE, GATE, NOW)

    assert describe(composed) == member
    assert composed.members["other"].applied == OTHER


def test_one_that_was_taken_out_with_others_is_soon_tried_again() -> None:
    assert retry_time(held(0, 0)) == NOW + TRIAL_AFTER


@pytest.mark.parametrize(
    ("times", "minutes"), [(1, 5), (2, 10), (3, 20), (6, 160), (7, 320), (8, 360), (10**6, 360)]
)
def test_tries_become_ever_rarer(times: int, minutes: int) -> None:
    record = held(0, times)

    assert retry_time(record) == NOW + timedelta(minutes=minutes)
    assert FIRST_RETRY <= retry_time(record) - NOW <= LAST_RETRY


@pytest.mark.parametrize(
    ("where", "before", "after"),
    [
        pytest.param(EMPTY, SidecarRecord(), SidecarRecord(1), id="it was never there"),
        pytest.param(CURRENT, SidecarRecord(), SEEN, id="it is there for the first time"),
        pytest.param(CURRENT, SEEN, SEEN, id="it is still there"),
        pytest.param(
            EMPTY, SEEN, SidecarRecord(1, WANTED.revision, reverts=1), id="somebody took it out"
        ),
        pytest.param(
            EMPTY, SidecarRecord(1, WANTED.revision, reverts=1),
            SidecarRecord(1, WANTED.revision, reverts=1), id="it is out and that was counted",
        ),
        pytest.param(
            CURRENT, SidecarRecord(1, WANTED.revision, reverts=1),
            SidecarRecord(1, WANTED.revision, present=True, reverts=1), id="it is back",
        ),
        pytest.param(
            EMPTY, SidecarRecord(0, OLD.revision, present=True, reverts=2),
            SidecarRecord(1, OLD.revision, reverts=1), id="taken out while the spec changed",
        ),
        pytest.param(
            FORMER, SidecarRecord(0, OLD.revision, present=True),
            SidecarRecord(1, OLD.revision, present=True), id="it is about to change",
        ),
        pytest.param(EMPTY, held(1), held(1), id="it was taken out by this operator"),
        pytest.param(
            CURRENT, replace(held(1), present=True), held(1), id="it is about to be taken out"
        ),
        pytest.param(
            EMPTY, held(1, revision="r0"), SidecarRecord(1, WANTED.revision),
            id="another revision was taken out",
        ),
    ],
)  # fmt: skip
def test_what_is_remembered(where: CNPGFacts, before: SidecarRecord, after: SidecarRecord) -> None:
    assert (
        compose([candidate(record=before)], where, PLACE, GATE, NOW).members["hello"].record
        == after
    )


def test_a_sidecar_that_somebody_edits_counts_as_taken_out() -> None:
    where = holding(WANTED)
    where.template["spec"]["initContainers"][0]["image"] = "example.org/other"

    composed = compose([candidate(record=SEEN)], where, PLACE, GATE, NOW)

    assert composed.members["hello"].record.reverts == 1
    assert composed.changed == {"hello"}
    assert composed.drift is not None


@pytest.mark.parametrize(
    "record",
    [
        pytest.param(SidecarRecord(), id="nothing"),
        pytest.param(SEEN, id="a sidecar"),
        pytest.param(reverted(2), id="reverts"),
        pytest.param(held(30, 4), id="one that was taken out"),
    ],
)
def test_a_record_comes_back_as_it_was_written(record: SidecarRecord) -> None:
    assert read_sidecar_record({"sidecar": build_sidecar_record(record)}) == record


@pytest.mark.parametrize(
    "status",
    [{}, {"sidecar": None}, {"sidecar": {"held": {"time": "soon"}}}],
    ids=["no status", "no section", "no time"],
)
def test_a_status_without_sense_remembers_nothing(status: dict[str, Any]) -> None:
    assert read_sidecar_record(status) == SidecarRecord()


def policies(*given: tuple[str, RestartPolicy]) -> list[Candidate]:
    return [candidate(name, policy=policy) for name, policy in given]


@pytest.mark.parametrize(
    ("where", "given", "changed", "forbidden"),
    [
        pytest.param(EMPTY, policies(("hello", NEVER)), {"hello"}, True, id="alone"),
        pytest.param(
            EMPTY, policies(("hello", NEVER), ("other", NEVER)), {"hello", "other"}, True,
            id="beside another that forbids it",
        ),
        pytest.param(
            EMPTY, policies(("hello", NEVER), ("other", RestartPolicy.IF_NEEDED)),
            {"hello", "other"}, False, id="beside another that comes",
        ),
        pytest.param(
            holding(OTHER), policies(("hello", NEVER), ("other", RestartPolicy.IF_NEEDED)),
            {"hello"}, True, id="beside another that stays",
        ),
        pytest.param(CURRENT, policies(("hello", NEVER)), set(), False, id="nothing changes"),
        pytest.param(
            CURRENT, [candidate(policy=NEVER, leaving=True)], {"hello"}, False, id="it leaves"
        ),
        pytest.param(holding(WANTED, OTHER), policies(("hello", NEVER)), {"other"}, False,
                     id="somebody is gone without a word"),
        pytest.param(FORMER, policies(("hello", NEVER)), {"hello"}, True, id="it changes"),
    ],
)  # fmt: skip
def test_who_forbids_a_roll(
    where: CNPGFacts,
    given: list[Candidate],
    changed: set[str],
    *,
    forbidden: bool,
) -> None:
    composed = compose(given, where, PLACE, GATE, NOW)

    assert composed.changed == changed
    assert composed.forbidden is forbidden


def test_whoever_left_without_a_word_leaves_no_sidecar() -> None:
    composed = compose([], CURRENT, PLACE, GATE, NOW)

    assert composed.template == {}
    assert composed.drift == "metadata.annotations"


def body(
    *, mode: str, deleted: bool = False, generation: int = 1, **conditions: tuple[str, str]
) -> dict[str, Any]:
    found = resource(mode=mode)
    if deleted:
        found["metadata"]["deletionTimestamp"] = "2026-03-01T12:00:00Z"
    found["status"] = {
        "conditions": [
            {"type": kind, "status": status, "reason": reason, "observedGeneration": generation}
            for kind, (status, reason) in conditions.items()
        ]
    }
    return found


READY, DELETING = ("True", "Ready"), ("Unknown", "Deleting")


@pytest.mark.parametrize(
    ("found", "leaving"),
    [
        pytest.param(body(mode="Sidecar", Ready=READY), False, id="a sidecar"),
        pytest.param(body(mode="Standalone"), False, id="not reached yet"),
        pytest.param(
            body(mode="Standalone", Ready=("False", "Unreachable")), False, id="not reached"
        ),
        pytest.param(
            body(mode="Standalone", Ready=READY, generation=0), False, id="reached as a sidecar"
        ),
        pytest.param(body(mode="Standalone", Ready=READY), True, id="reached"),
        pytest.param(body(mode="Sidecar", deleted=True), False, id="just deleted"),
        pytest.param(
            body(mode="Sidecar", deleted=True, Accepted=("False", "InUse")), False, id="protected"
        ),
        pytest.param(
            body(mode="Sidecar", deleted=True, Accepted=DELETING), True, id="let go"
        ),
        pytest.param(
            body(mode="Standalone", deleted=True, Ready=READY), False,
            id="deleted after it was reached",
        ),
    ],
)  # fmt: skip
def test_when_a_sidecar_has_nothing_left_to_do(found: dict[str, Any], *, leaving: bool) -> None:
    mode = found["spec"]["mode"]

    assert is_leaving(found, build_plugin(mode=mode)) is leaving


def test_a_deleted_resource_that_cannot_be_read_leaves_once_it_says_so() -> None:
    assert is_leaving(body(mode="Sidecar", deleted=True, Accepted=DELETING), None)
    assert not is_leaving(body(mode="Sidecar"), None)


def test_a_composition_does_not_depend_on_the_time_between_tries() -> None:
    times: list[datetime] = [NOW, NOW + timedelta(hours=1)]
    first, second = (compose([candidate(record=SEEN)], CURRENT, PLACE, GATE, now) for now in times)

    assert first.template == second.template


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        pytest.param(candidate(), True, id="wanted, for its own pass takes it out"),
        pytest.param(candidate(spec={"suspend": True}), False, id="suspended"),
        pytest.param(candidate(accepted=False), False, id="refused"),
        pytest.param(candidate(plugin=None), False, id="unreadable"),
        pytest.param(candidate(plugin=build_plugin()), False, id="turned Standalone"),
        pytest.param(candidate(record=reverted(3)), False, id="left to people"),
        pytest.param(
            candidate(plugin=replace(sidecar_spec(), deleting=True)), False, id="deleted, protected"
        ),
    ],
)
def test_what_is_only_kept_goes_once_cloudnativepg_cannot_start_with_it(
    given: Candidate, *, kept: bool
) -> None:
    healthy = compose([given], CURRENT, PLACE, GATE, NOW)
    causes = dict.fromkeys(("hello", "ghost"), Cause(Reason.CRASH_LOOP, "It ends."))
    failing = compose([given], CURRENT, PLACE, GATE, NOW, Blockade(causes))

    assert healthy.members["hello"].applied is not None
    assert (failing.members["hello"].applied is not None) is kept


@pytest.mark.parametrize(
    ("given", "suspects", "kept"),
    [
        pytest.param(candidate(deleting=True), {"hello"}, False, id="deleted, in use, a suspect"),
        pytest.param(candidate(deleting=True), set(), True, id="deleted, in use, no suspect"),
        pytest.param(candidate(), {"hello"}, True, id="a suspect that is wanted"),
    ],
)
def test_who_deletes_what_may_block_cloudnativepg_is_not_kept_waiting(
    given: Candidate, suspects: set[str], *, kept: bool
) -> None:
    composed = compose([given], CURRENT, PLACE, GATE, NOW, Blockade({}, frozenset(suspects)))

    assert (composed.members["hello"].applied is not None) is kept
    assert composed.unblocking is not kept


def test_a_change_of_what_may_block_cloudnativepg_unblocks() -> None:
    blockade = Blockade({}, frozenset({"hello"}))

    assert compose([candidate()], FORMER, PLACE, GATE, NOW, blockade).unblocking
    assert not compose([candidate()], CURRENT, PLACE, GATE, NOW, blockade).unblocking
    assert not compose(
        [candidate("other")], holding(WANTED), PLACE, GATE, NOW, Blockade()
    ).unblocking


def trial(name: str, times: int, seconds: float = 7 * 3600) -> Candidate:
    """A candidate that was taken out and is due again."""
    plain = candidate(name)
    assert plain.plugin is not None
    revision = build_sidecar(plain.plugin, PLACE).revision
    record = Held(revision, Reason.CNPG_BLOCKED, "not ready", ago(seconds), times)
    return replace(plain, record=SidecarRecord(1, revision, held=record))


@pytest.mark.parametrize(
    ("given", "where", "tried"),
    [
        pytest.param([trial("a", 0), trial("b", 0)], EMPTY, {"a"}, id="by name"),
        pytest.param([trial("a", 1), trial("b", 0)], EMPTY, {"b"}, id="the least suspect first"),
        pytest.param(
            [trial("hello", 0), trial("a", 0)], CURRENT, {"hello"}, id="while one is being tried"
        ),
        pytest.param([trial("a", 0, 29), trial("b", 0, 30)], EMPTY, {"b"}, id="one that is due"),
        pytest.param([trial("a", 0), candidate("b")], EMPTY, {"a", "b"}, id="beside a new one"),
        pytest.param(
            [replace(trial("a", 0), policy=NEVER), trial("b", 1)],
            EMPTY,
            {"b"},
            id="one that may roll CloudNativePG first",
        ),
    ],
)
def test_what_was_taken_out_is_tried_again_one_by_one(
    given: list[Candidate], where: CNPGFacts, tried: set[str]
) -> None:
    composed = compose(given, where, PLACE, GATE, NOW)

    assert {name for name, member in composed.members.items() if member.applied} == tried
    assert all(member.held for name, member in composed.members.items() if name not in tried)


def test_what_the_api_server_refuses_stays_as_it_is() -> None:
    words = no(Reason.PODS_REFUSED, "says the policy")
    refused = candidate(refused={WANTED.revision: words})
    another = candidate(refused={OLD.revision: words})

    assert compose([refused], EMPTY, PLACE, GATE, NOW).members["hello"].applied is None
    kept = compose([refused], FORMER, PLACE, GATE, NOW).members["hello"]
    assert kept.applied is not None
    assert (kept.applied.revision, kept.refused) == (OLD.revision, words)
    assert compose([another], EMPTY, PLACE, GATE, NOW).members["hello"].refused is None


def test_what_keeps_cloudnativepg_from_starting_goes_even_where_rolls_are_forbidden() -> None:
    crashed = candidate(policy=NEVER, record=held(10))

    assert not compose([crashed], CURRENT, PLACE, GATE, NOW).forbidden


@pytest.mark.parametrize("policy", list(RestartPolicy), ids=str)
def test_a_gate_that_somebody_took_out_is_everybodys_to_have_mended(policy: RestartPolicy) -> None:
    template = deepcopy(dict(CURRENT.template))
    template["spec"]["initContainers"] = [
        container
        for container in template["spec"]["initContainers"]
        if container["name"] != names.sidecars.GATE
    ]

    composed = compose(
        policies(("hello", policy)), replace(CURRENT, template=template), PLACE, GATE, NOW
    )

    assert composed.drift is not None
    assert not composed.changed
    assert composed.forbidden is (policy is NEVER)
