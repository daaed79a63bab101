"""Whatever happens, in any order: two passes compose the same set of sidecars.

Neither invalid input nor other parties nor time change a sidecar that should stay unchanged.
"""

from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from cnpg_plugin_operator.api.conditions import Reason
from cnpg_plugin_operator.api.plugin import Plugin, parse_plugin
from cnpg_plugin_operator.api.records import Quarantine, SidecarRecord
from cnpg_plugin_operator.api.spec import RestartPolicy
from cnpg_plugin_operator.decide.sidecar.sidecar_set import (
    MOST_REVERTS,
    Candidate,
    Member,
    SidecarSet,
    compose,
)
from cnpg_plugin_operator.desired.sidecars import read_sidecars
from tests.support.thorough import examples
from tests.support.unit.builders import NOW, resource
from tests.support.unit.cnpg_pods import GATE, PLACE, deployed, template
from tests.support.unit.server_side_apply import apply_part

NAMES = ("a", "b", "c")


@dataclass
class Resource:
    """One resource as its author left it."""

    generation: int = 1
    suspended: bool = False
    readable: bool = True
    accepted: bool = True
    leaving: bool = False
    manual: bool = False
    record: SidecarRecord = field(default_factory=SidecarRecord)

    def plugin(self, name: str) -> Plugin | None:
        if not self.readable:
            return None
        policy = "Manual" if self.manual else "Automatic"
        body = resource(
            name,
            mode="Sidecar",
            image=f"example.org/{name}:{self.generation}",
            suspend=self.suspended,
            upgradePolicy=policy,
        )
        body["metadata"]["generation"] = self.generation
        return parse_plugin(body)


@dataclass
class World:
    """CloudNativePG's Deployment, the resources, and parties that interfere."""

    now: timedelta = timedelta(0)
    live: dict[str, Any] = field(default_factory=template)
    part: dict[str, Any] = field(default_factory=dict)
    resources: dict[str, Resource] = field(default_factory=dict)
    out: set[tuple[str, int]] = field(default_factory=set)
    """Generations of resources for which the operator gave up."""

    def candidates(self) -> list[Candidate]:
        return [
            Candidate(
                name=name,
                socket=f"{name}.example.org",
                plugin=each.plugin(name),
                accepted=each.accepted,
                record=each.record,
                policy=RestartPolicy.IF_NEEDED,
                leaving=each.leaving,
                used=True,
            )
            for name, each in self.resources.items()
        ]

    def compose(self) -> SidecarSet:
        where = replace(deployed(), template=deepcopy(self.live))
        first, second = (
            compose(given, where, PLACE, GATE, NOW + self.now)
            for given in (self.candidates(), self.candidates()[::-1])
        )
        assert first.template == second.template, "it depends on the order"
        assert (first.drift is None) == (not first.changed) or not first.template
        return first

    def look(self) -> None:
        """Run a pass: record the observations, and apply the set if it differs."""
        before = deepcopy(self.live)
        composed = self.compose()
        for name, member in composed.members.items():
            self._check(name, member, before)
            self.resources[name].record = member.record
        again = self.compose()
        assert again.template == composed.template, "the records change the composed set"
        if again.drift is not None:
            apply_part(self.live, self.part, again.template)
            self.part = deepcopy(again.template)
        last = self.compose()
        assert last.drift is None, last.drift
        assert not last.changed
        assert read_sidecars(self.live).keys() <= self.resources.keys()

    def _check(self, name: str, member: Member, before: dict[str, Any]) -> None:
        each, standing = self.resources[name], read_sidecars(before).get(name)
        kept = each.suspended or not each.readable or not each.accepted
        if kept and not each.leaving:
            applied = member.applied.revision if member.applied else None
            assert applied == standing, "one that is to stay as it is changes"
        if member.reverted:
            self.out.add((name, each.generation))
        given_up = (name, each.generation) in self.out and each.readable
        if given_up and standing is None and not each.leaving:
            assert member.applied is None, "one that was left to people comes back by itself"

    def record_of(self, name: str) -> SidecarRecord:
        return self.resources[name].record if name in self.resources else SidecarRecord()

    def make(self, name: str) -> None:
        self.resources.setdefault(name, Resource())

    def edit(self, name: str) -> None:
        if name in self.resources:
            self.resources[name].generation += 1

    def toggle(self, name: str, what: str) -> None:
        if name in self.resources:
            each = self.resources[name]
            setattr(each, what, not getattr(each, what))

    def leave(self, name: str) -> None:
        """Delete a resource: first its sidecar, then the resource itself."""
        each = self.resources.get(name)
        if each is not None and each.leaving and name not in read_sidecars(self.live):
            del self.resources[name]
            self.out = {key for key in self.out if key[0] != name}
        elif each is not None:
            each.leaving = True

    def quarantine(self, name: str) -> None:
        """Let a sidecar keep CloudNativePG from starting."""
        standing = read_sidecars(self.live).get(name)
        if name in self.resources and standing:
            each = self.resources[name]
            times = 1 + (each.record.quarantine.attempts if each.record.quarantine else 0)
            quarantine = Quarantine(standing, Reason.CRASH_LOOP, "it ends", NOW + self.now, times)
            each.record = replace(each.record, quarantine=quarantine, present=False)

    def revert(self) -> None:
        """Revert the Deployment, as its manager may do."""
        self.live = template()

    def pass_by(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)


FLAGS = ("suspended", "readable", "accepted", "manual")
STEPS = st.sampled_from(
    [
        *[("look",)] * 12,
        *[("revert",)] * 3,
        *(("pass_by", seconds) for seconds in (1, 299, 301, 7 * 3600)),
        *((act, name) for act in ("make", "make", "edit", "quarantine", "leave") for name in NAMES),
        *(("toggle", name, flag) for name in NAMES for flag in FLAGS),
    ]
)
HISTORIES = st.lists(STEPS, min_size=20, max_size=60)


def play(world: World, steps: list[tuple[Any, ...]]) -> World:
    for name in NAMES:
        world.make(name)
    for act, *given_to in steps:
        getattr(world, act)(*given_to)
    world.look()
    return world


@settings(max_examples=examples(100), deadline=None)
@given(HISTORIES)
def test_no_history_makes_the_set_flap_or_changes_an_unchanged_sidecar(
    steps: list[tuple[Any, ...]],
) -> None:
    world = play(World(), steps)
    before = deepcopy(world.live)
    world.look()

    assert world.live == before


@settings(max_examples=examples(50), deadline=None)
@given(HISTORIES)
def test_after_any_history_the_last_deletion_leaves_nothing(
    steps: list[tuple[Any, ...]],
) -> None:
    world = play(World(), steps)
    for each in world.resources.values():
        each.leaving = True
    world.look()

    assert world.live == template()


@settings(max_examples=examples(50), deadline=None)
@given(HISTORIES)
def test_after_any_history_a_new_spec_is_placed(steps: list[tuple[Any, ...]]) -> None:
    world = play(World(), steps)
    world.resources["a"] = Resource(generation=1000, record=world.record_of("a"))
    world.look()

    assert read_sidecars(world.live).get("a") is not None


@settings(max_examples=examples(40), deadline=None)
@given(st.lists(st.sampled_from([1, 60, 3600]), min_size=6, max_size=30))
def test_a_party_that_always_removes_a_sidecar_sees_it_three_times(pauses: list[int]) -> None:
    world, seen = World(), 0
    world.make("a")
    for pause in pauses:
        world.look()
        seen += bool(read_sidecars(world.live))
        world.look()
        world.revert()
        world.pass_by(pause)

    assert seen == MOST_REVERTS
