"""Whole histories: what happens to CloudNativePG when events occur in any order.

A small model simulates the environment (CloudNativePG's rollouts, a party that reverts restarts, a
Cluster that fails over, an operator that is killed between its two writes); the decisions are the
program's own. Only the model's state survives from one pass to the next.
"""

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from cnpg_plugin_operator.api.conditions import Reason
from cnpg_plugin_operator.api.records import RestartRecord
from cnpg_plugin_operator.api.spec import RestartPolicy
from cnpg_plugin_operator.decide.facts.cnpg import Announcement, CNPGFacts
from cnpg_plugin_operator.decide.registration.registration import decide_registration
from cnpg_plugin_operator.decide.registration.restart import (
    Action,
    RestartNeed,
    decide_restart,
)
from cnpg_plugin_operator.decide.registration.reverts import MOST_ATTEMPTS
from tests.support.thorough import examples
from tests.support.unit.builders import NOW, cnpg, leader, registration, restarting

NAMES = ("a", "b", "c")


@dataclass
class World:
    """CloudNativePG, its plugins, and the operator's records."""

    version: str
    now: timedelta = timedelta(0)
    facts: CNPGFacts = field(default_factory=lambda: cnpg(generation=1))
    policies: dict[str, RestartPolicy] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    published: dict[str, Announcement] = field(default_factory=dict)
    registered: dict[str, str] = field(default_factory=dict)
    busy: bool = False
    dies: bool = False
    """Whether the operator is killed after it records the next restart, before the request."""
    records: list[RestartRecord] = field(default_factory=list)
    rolls: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How often a restart was requested for a revision."""
    asked: Counter[tuple[str, str]] = field(default_factory=Counter)
    """The same, only for the revisions that needed it."""
    reverted: Counter[tuple[str, str]] = field(default_factory=Counter)

    def pass_by(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    def publish(self, name: str, *, changed: bool) -> None:
        """Announce another revision, as after a successful handshake."""
        if name in self.broken:
            return
        before = self.published.get(name)
        number = int(before.revision[1:]) + 1 if before else 1
        moment = NOW + self.now
        self.published[name] = Announcement(
            revision=f"r{number}",
            endpoint="e",
            announced_at=moment,
            changed_at=moment if changed and before else before.changed_at if before else None,
            annotations={},
        )

    def finish(self) -> None:
        """End the rollout, with a leader from the present pod template."""
        if self.facts.rolling:
            lead = leader(NOW + self.now, **dict(self.facts.restarted_for))
            self.facts = replace(self.facts, rolling=False, leader=lead)

    def restart_by_hand(self) -> None:
        if not self.facts.rolling:
            self.facts = replace(self.facts, rolling=True, generation=self.facts.generation + 1)

    def revert(self) -> None:
        """Revert the annotations before they have any effect."""
        if self.facts.rolling and self.facts.restarted_at is not None:
            self.reverted.update(self.facts.restarted_for.items())
            self.facts = replace(
                self.facts,
                rolling=False,
                restarted_at=None,
                restarted_for={},
                generation=self.facts.generation + 1,
            )

    def look(self, name: str) -> None:
        """Run the last stage of a pass."""
        announced = self.published.get(name)
        if announced is None or name in self.broken:
            return
        now = NOW + self.now
        policy = self.policies.get(name, RestartPolicy.IF_NEEDED)
        record = max(self.records, key=lambda r: r.at, default=None)
        facts = replace(self.facts, version=self.version, record=record)
        verdict = decide_registration(
            registration(
                name=name,
                policy=policy,
                announcement=announced,
                cnpg=facts,
                registered_revision=self.registered.get(name, ""),
                now=now,
            )
        )
        if verdict.is_true:
            self.registered[name] = announced.revision
        if verdict.reason is not Reason.RESTART_PENDING:
            return
        decision = decide_restart(
            restarting(
                facts,
                self.published,
                needs={name: RestartNeed(announced.revision, announced.announced_at)},
                now=now,
                busy=("app/db (Failing over)",) if self.busy else (),
            )
        )
        if decision.action is Action.RESTART:
            assert decision.record is not None
            self._restart(name, policy, decision.record)

    def _restart(self, name: str, policy: RestartPolicy, record: RestartRecord) -> None:
        key = name, self.published[name].revision
        assert policy is not RestartPolicy.NEVER, "the policy forbids it"
        assert not self.facts.rolling, "a rollout runs"
        assert not self.busy, "a Cluster fails over"
        assert name not in self.broken, "the handshake fails"
        lead = self.facts.leader
        assert lead is None or lead.created <= self.published[name].announced_at, "it was read"
        assert self.rolls[key] <= self.reverted[key], "twice for one announcement"
        if record not in self.records:
            assert name not in record.given_up, "it is left to people"
            assert self.asked[key] < MOST_ATTEMPTS, "repeatedly for one announcement"
        self.records.append(record)
        if self.dies:
            self.dies = False
            return
        self.rolls.update(record.revisions.items())
        self.asked.update(
            item for item in record.revisions.items() if item[0] not in record.given_up
        )
        self.facts = replace(
            self.facts,
            rolling=True,
            restarted_at=record.at,
            restarted_for=dict(record.revisions),
            generation=self.facts.generation + 1,
        )


ONCE: list[tuple[Any, ...]] = [
    ("busy",),
    ("dies",),
    ("restart_by_hand",),
    ("revert",),
    ("revert",),
    *(("breaks", name) for name in NAMES),
    *(("policy", name, policy) for name in NAMES for policy in RestartPolicy),
]
OFTEN: list[tuple[Any, ...]] = [
    *(("look", name) for name in NAMES),
    *(("publish", name, changed) for name in NAMES for changed in (True, True, False)),
    *(("pass_by", seconds) for seconds in (5, 11, 61, 301)),
    ("finish",),
]
STEPS = st.sampled_from([*ONCE, *OFTEN * 2, *OFTEN[:3] * 4, *OFTEN[-5:] * 2])
"""Passes and time are frequent, other events rare, so that restarts happen and are disturbed."""
HISTORIES = st.lists(STEPS, min_size=40, max_size=120)
VERSIONS = st.sampled_from(["", "1.23.9", "1.24.0", "1.25.1", "1.25.2", "1.28.4", "1.30.0"])
POLICIES = st.fixed_dictionaries({name: st.sampled_from(RestartPolicy) for name in NAMES})


def play(world: World, step: tuple[Any, ...]) -> None:
    match step:
        case ("publish", name, changed):
            world.publish(name, changed=changed)
        case ("breaks", name):
            world.broken ^= {name}
        case ("policy", name, policy):
            world.policies[name] = policy
        case ("busy",):
            world.busy = not world.busy
        case ("dies",):
            world.dies = True
        case _:
            getattr(world, step[0])(*step[1:])


@settings(max_examples=examples(400), deadline=None)
@given(VERSIONS, POLICIES, HISTORIES)
def test_no_history_causes_a_needless_restart(
    version: str, policies: dict[str, RestartPolicy], steps: list[tuple[Any, ...]]
) -> None:
    world = World(version, policies=policies)
    for step in steps:
        play(world, step)


@settings(max_examples=examples(200), deadline=None)
@given(VERSIONS, HISTORIES)
def test_after_any_history_every_needed_restart_happens(
    version: str, steps: list[tuple[Any, ...]]
) -> None:
    world = World(version)
    for step in steps:
        play(world, step)
    world.busy, world.dies, world.broken = False, False, set()
    world.finish()
    world.policies = dict.fromkeys(NAMES, RestartPolicy.ALWAYS)
    world.pass_by(1)
    world.publish("a", changed=True)
    revision = world.published["a"].revision
    for _ in range(6):
        world.pass_by(301)
        world.look("a")
        world.pass_by(1)
        world.finish()

    assert world.facts.leader is not None
    assert world.facts.leader.created > world.published["a"].announced_at
    assert world.rolls["a", revision] <= 1


@settings(max_examples=examples(100), deadline=None)
@given(st.sampled_from(["1.24.3", "1.25.1"]), st.integers(min_value=1, max_value=40))
def test_a_party_that_reverts_every_restart_sees_two(version: str, minutes: int) -> None:
    world = World(version)
    world.publish("a", changed=False)
    world.pass_by(1)
    world.publish("a", changed=True)
    for _ in range(minutes * 2):
        world.pass_by(30)
        world.look("a")
        world.revert()

    assert world.rolls["a", "r2"] <= MOST_ATTEMPTS
    assert minutes < 7 or world.rolls["a", "r2"] == MOST_ATTEMPTS
