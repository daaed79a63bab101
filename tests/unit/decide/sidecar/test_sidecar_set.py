"""Which sidecars are placed, kept, or left out: one row per situation."""

from copy import deepcopy
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.conditions import Reason, no
from cnpg_plugin_operator.api.records import (
    Quarantine,
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


EMPTY, PREVIOUS, CURRENT = holding(), holding(OLD), holding(WANTED)
SEEN = SidecarRecord(1, WANTED.revision, present=True)


def quarantine(seconds: float, times: int = 1, revision: str = WANTED.revision) -> SidecarRecord:
    record = Quarantine(revision, Reason.CRASH_LOOP, "it ends", ago(seconds), times)
    return SidecarRecord(1, WANTED.revision, quarantine=record)


def reverted(times: int, generation: int = 1) -> SidecarRecord:
    return SidecarRecord(generation, WANTED.revision, reverts=times)


MANUAL: dict[str, Any] = {"upgradePolicy": "Manual"}

Row = tuple[str, CNPGFacts, Candidate, str]

SITUATIONS: list[Row] = [
    ("a new sidecar gets in", EMPTY, candidate(), "wanted"),
    ("one that is placed stays", CURRENT, candidate(), "wanted"),
    ("one that changed is replaced", PREVIOUS, candidate(), "wanted"),
    ("one that is suspended stays as it is", PREVIOUS, candidate(spec={"suspend": True}), "kept"),
    ("one that is suspended stays out", EMPTY, candidate(spec={"suspend": True}), "out"),
    ("one whose spec cannot be read stays as it is", PREVIOUS, candidate(plugin=None), "kept"),
    ("one whose spec cannot be read stays out", EMPTY, candidate(plugin=None), "out"),
    ("one that is refused stays as it is", PREVIOUS, candidate(accepted=False), "kept"),
    ("one that is refused stays out", EMPTY, candidate(accepted=False), "out"),
    ("one that turned Standalone stays until it is reached", CURRENT,
     candidate(plugin=build_plugin()), "kept"),
    ("one that leaves is removed", CURRENT, candidate(leaving=True), "out"),
    ("one that leaves is removed, suspended or not", CURRENT,
     candidate(leaving=True, spec={"suspend": True}), "out"),
    ("a manual change that affects Clusters waits", PREVIOUS,
     candidate(spec=MANUAL, used=True), "awaiting"),
    ("a manual change that was approved is made", PREVIOUS,
     candidate(spec=MANUAL, used=True, approval=TOKEN), "wanted"),
    ("the approval of an earlier change does not count", PREVIOUS,
     candidate(spec=MANUAL, used=True, approval=OLD.revision[:TOKEN_DIGITS]), "awaiting"),
    ("a manual change that affects no Cluster is made", PREVIOUS, candidate(spec=MANUAL), "wanted"),
    ("a new sidecar needs no approval", EMPTY, candidate(spec=MANUAL, used=True), "wanted"),
    ("one that does not change needs no approval", CURRENT,
     candidate(spec=MANUAL, used=True), "wanted"),
    ("an automatic change needs no approval", PREVIOUS, candidate(used=True), "wanted"),
    ("one that crashed stays out", EMPTY, candidate(record=quarantine(10)), "held"),
    ("one that crashes is removed", CURRENT, candidate(record=quarantine(10)), "held"),
    ("one that crashed stays out for five minutes", EMPTY,
     candidate(record=quarantine(299)), "held"),
    ("one that crashed is tried again", EMPTY, candidate(record=quarantine(300)), "wanted"),
    ("one that crashed twice stays out for longer", EMPTY,
     candidate(record=quarantine(599, 2)), "held"),
    ("one that crashed twice is tried again", EMPTY,
     candidate(record=quarantine(600, 2)), "wanted"),
    ("what crashed was another revision", EMPTY,
     candidate(record=quarantine(1, revision=OLD.revision)), "wanted"),
    ("one that was removed once is restored", EMPTY, candidate(record=SEEN), "wanted"),
    ("one that was removed twice is restored", EMPTY,
     candidate(record=replace(SEEN, reverts=MOST_REVERTS - 2)), "wanted"),
    ("one that was removed three times stays out", EMPTY,
     candidate(record=replace(SEEN, reverts=MOST_REVERTS - 1)), "reverted"),
    ("one that was given up stays out", EMPTY, candidate(record=reverted(3)), "reverted"),
    ("one that was given up and restored by hand stays", CURRENT,
     candidate(record=reverted(3)), "reverted, kept"),
    ("one that was removed is restored with another spec", EMPTY,
     candidate(record=reverted(3, generation=0)), "wanted"),
]  # fmt: skip


def describe(composed: SidecarSet) -> str:
    member = composed.members["hello"]
    if member.quarantined:
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
def test_a_candidate_is_placed_by_its_state(
    where: CNPGFacts, given: Candidate, member: str
) -> None:
    assert describe(compose([given], where, PLACE, GATE, NOW)) == member


@pytest.mark.parametrize(
    ("where", "given", "member"),
    [row[1:] for row in SITUATIONS],
    ids=[row[0] for row in SITUATIONS],
)
def test_other_sidecars_do_not_change_with_a_candidate(
    where: CNPGFacts, given: Candidate, member: str
) -> None:
    composed = compose([given, candidate("other")], where, PLACE, GATE, NOW)

    assert describe(composed) == member
    assert composed.members["other"].applied == OTHER


def test_a_sidecar_quarantined_with_others_is_soon_tried_again() -> None:
    assert retry_time(quarantine(0, 0)) == NOW + TRIAL_AFTER


@pytest.mark.parametrize(
    ("times", "minutes"), [(1, 5), (2, 10), (3, 20), (6, 160), (7, 320), (8, 360), (10**6, 360)]
)
def test_retries_back_off(times: int, minutes: int) -> None:
    record = quarantine(0, times)

    assert retry_time(record) == NOW + timedelta(minutes=minutes)
    assert FIRST_RETRY <= retry_time(record) - NOW <= LAST_RETRY


@pytest.mark.parametrize(
    ("where", "before", "after"),
    [
        pytest.param(EMPTY, SidecarRecord(), SidecarRecord(1), id="it was never there"),
        pytest.param(CURRENT, SidecarRecord(), SEEN, id="it is there for the first time"),
        pytest.param(CURRENT, SEEN, SEEN, id="it is still there"),
        pytest.param(
            EMPTY, SEEN, SidecarRecord(1, WANTED.revision, reverts=1), id="another party removed it"
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
            SidecarRecord(1, OLD.revision, reverts=1), id="removed while the spec changed",
        ),
        pytest.param(
            PREVIOUS, SidecarRecord(0, OLD.revision, present=True),
            SidecarRecord(1, OLD.revision, present=True), id="it is about to change",
        ),
        pytest.param(EMPTY, quarantine(1), quarantine(1), id="this operator removed it"),
        pytest.param(
            CURRENT, replace(quarantine(1), present=True), quarantine(1),
            id="it is about to be removed",
        ),
        pytest.param(
            EMPTY, quarantine(1, revision="r0"), SidecarRecord(1, WANTED.revision),
            id="another revision was removed",
        ),
    ],
)  # fmt: skip
def test_observations_are_recorded(
    where: CNPGFacts, before: SidecarRecord, after: SidecarRecord
) -> None:
    assert (
        compose([candidate(record=before)], where, PLACE, GATE, NOW).members["hello"].record
        == after
    )


def test_a_sidecar_that_another_party_edits_counts_as_removed() -> None:
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
        pytest.param(quarantine(30, 4), id="a quarantined one"),
    ],
)
def test_a_record_is_read_as_it_was_written(record: SidecarRecord) -> None:
    assert read_sidecar_record({"sidecar": build_sidecar_record(record)}) == record


@pytest.mark.parametrize(
    "status",
    [{}, {"sidecar": None}, {"sidecar": {"quarantine": {"time": "soon"}}}],
    ids=["no status", "no section", "no time"],
)
def test_a_malformed_status_has_an_empty_record(status: dict[str, Any]) -> None:
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
                     id="a resource disappeared"),
        pytest.param(PREVIOUS, policies(("hello", NEVER)), {"hello"}, True, id="it changes"),
    ],
)  # fmt: skip
def test_restart_policy_never_forbids_a_roll(
    where: CNPGFacts,
    given: list[Candidate],
    changed: set[str],
    *,
    forbidden: bool,
) -> None:
    composed = compose(given, where, PLACE, GATE, NOW)

    assert composed.changed == changed
    assert composed.forbidden is forbidden


def test_a_resource_that_disappeared_leaves_no_sidecar() -> None:
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
def test_a_sidecar_that_is_no_longer_needed_is_detected(
    found: dict[str, Any], *, leaving: bool
) -> None:
    mode = found["spec"]["mode"]

    assert is_leaving(found, build_plugin(mode=mode)) is leaving


def test_an_unreadable_deleted_resource_leaves_once_its_status_says_so() -> None:
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
        pytest.param(candidate(record=reverted(3)), False, id="given up"),
        pytest.param(
            candidate(plugin=replace(sidecar_spec(), deleting=True)), False, id="deleted, protected"
        ),
    ],
)
def test_a_kept_sidecar_is_removed_once_cloudnativepg_cannot_start_with_it(
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
def test_deleting_a_suspect_takes_effect_at_once(
    given: Candidate, suspects: set[str], *, kept: bool
) -> None:
    composed = compose([given], CURRENT, PLACE, GATE, NOW, Blockade({}, frozenset(suspects)))

    assert (composed.members["hello"].applied is not None) is kept
    assert composed.unblocking is not kept


def test_changing_a_suspect_unblocks_cloudnativepg() -> None:
    blockade = Blockade({}, frozenset({"hello"}))

    assert compose([candidate()], PREVIOUS, PLACE, GATE, NOW, blockade).unblocking
    assert not compose([candidate()], CURRENT, PLACE, GATE, NOW, blockade).unblocking
    assert not compose(
        [candidate("other")], holding(WANTED), PLACE, GATE, NOW, Blockade()
    ).unblocking


def trial(name: str, times: int, seconds: float = 7 * 3600) -> Candidate:
    """A quarantined candidate that is due again."""
    plain = candidate(name)
    assert plain.plugin is not None
    revision = build_sidecar(plain.plugin, PLACE).revision
    record = Quarantine(revision, Reason.CNPG_BLOCKED, "not ready", ago(seconds), times)
    return replace(plain, record=SidecarRecord(1, revision, quarantine=record))


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
def test_quarantined_sidecars_are_tried_again_one_by_one(
    given: list[Candidate], where: CNPGFacts, tried: set[str]
) -> None:
    composed = compose(given, where, PLACE, GATE, NOW)

    assert {name for name, member in composed.members.items() if member.applied} == tried
    assert all(member.quarantined for name, member in composed.members.items() if name not in tried)


def test_a_sidecar_that_the_api_server_refuses_stays_as_it_is() -> None:
    words = no(Reason.PODS_REFUSED, "says the policy")
    refused = candidate(refused={WANTED.revision: words})
    another = candidate(refused={OLD.revision: words})

    assert compose([refused], EMPTY, PLACE, GATE, NOW).members["hello"].applied is None
    kept = compose([refused], PREVIOUS, PLACE, GATE, NOW).members["hello"]
    assert kept.applied is not None
    assert (kept.applied.revision, kept.refused) == (OLD.revision, words)
    assert compose([another], EMPTY, PLACE, GATE, NOW).members["hello"].refused is None


def test_a_blocking_sidecar_is_removed_even_where_rolls_are_forbidden() -> None:
    crashed = candidate(policy=NEVER, record=quarantine(10))

    assert not compose([crashed], CURRENT, PLACE, GATE, NOW).forbidden


@pytest.mark.parametrize("policy", list(RestartPolicy), ids=str)
def test_any_sidecar_may_have_a_removed_gate_restored(policy: RestartPolicy) -> None:
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
