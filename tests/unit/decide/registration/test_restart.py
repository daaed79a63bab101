from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnpg_plugin_operator.api.spec import RestartPolicy
from cnpg_plugin_operator.decide.facts.cnpg import Announcement, CNPGFacts
from cnpg_plugin_operator.decide.registration.restart import (
    Action,
    Pace,
    decide_restart,
)
from cnpg_plugin_operator.decide.registration.restart_need import restart_reason
from tests.support.unit.builders import (
    NOW,
    ago,
    announcement,
    cnpg,
    leader,
    registration,
    restarting,
)


def decide(facts: CNPGFacts, *published: Announcement, coming: int = 0) -> tuple[Action, timedelta]:
    named = {f"plugin-{number}": each for number, each in enumerate(published)}
    decision = decide_restart(restarting(facts, named, coming=coming))
    return decision.action, decision.after


def at(seconds: float) -> Announcement:
    return announcement(at=ago(seconds))


REST = timedelta(0)
ROWS = [
    pytest.param(cnpg(), [at(11)], Action.RESTART, REST, id="one plugin has settled"),
    pytest.param(
        cnpg(), [at(9)], Action.WAIT, timedelta(seconds=1), id="a plugin became ready just now"
    ),
    pytest.param(
        cnpg(), [at(40), at(4)], Action.WAIT, timedelta(seconds=2), id="another one followed"
    ),
    pytest.param(
        cnpg(), [at(58), at(4)], Action.WAIT, timedelta(seconds=2),
        id="the first of many does not wait longer than the maximum",
    ),
    pytest.param(
        cnpg(), [at(61), at(1)], Action.RESTART, REST,
        id="the first of many has waited for the maximum",
    ),
    pytest.param(
        cnpg(rolling=True), [at(60)], Action.WAIT, timedelta(seconds=2), id="a rollout runs"
    ),
    pytest.param(
        cnpg(available=False), [at(60)], Action.WAIT, timedelta(seconds=2), id="no replica"
    ),
    pytest.param(
        cnpg(leader=None), [at(60)], Action.WAIT, timedelta(seconds=2), id="no leader"
    ),
    pytest.param(
        cnpg(restarted_at=ago(100)), [at(60)], Action.WAIT, timedelta(seconds=200),
        id="the last restart was a short time ago",
    ),
    pytest.param(
        cnpg(rolled_at=ago(100)), [at(60)], Action.WAIT, timedelta(seconds=200),
        id="sidecars were placed a short time ago",
    ),
    pytest.param(
        cnpg(restarted_at=ago(301)), [at(60)], Action.RESTART, REST, id="the cool-down is over"
    ),
    pytest.param(
        cnpg(restarted_for={"plugin-0": "r1"}), [at(60)], Action.NOTHING, REST,
        id="the restart for this revision was requested",
    ),
    pytest.param(
        cnpg(leader=leader(ago(30))), [at(60)], Action.NOTHING, REST,
        id="CloudNativePG started after the announcement",
    ),
    pytest.param(cnpg(), [], Action.NOTHING, REST, id="no plugin needs a restart"),
]  # fmt: skip


@pytest.mark.parametrize(("facts", "published", "action", "after"), ROWS)
def test_a_restart_is_scheduled(
    facts: CNPGFacts, published: list[Announcement], action: Action, after: timedelta
) -> None:
    assert decide(facts, *published) == (action, after)


def test_a_restart_waits_for_expected_plugins_but_not_forever() -> None:
    assert decide(cnpg(), at(30), coming=3) == (Action.WAIT, timedelta(seconds=2))
    assert decide(cnpg(), at(61), coming=3) == (Action.RESTART, REST)


def test_a_restart_is_recorded_for_everything_that_is_published() -> None:
    covered = announcement("old", at=ago(7200))
    decision = decide_restart(restarting(cnpg(), {"b": at(20), "a": covered}))

    assert decision.record is not None
    assert decision.record.revisions == {"a": "old", "b": "r1"}


MOMENTS = st.integers(min_value=0, max_value=4000).map(ago)
REVISIONS = st.sampled_from(["r1", "r2"])
STATES = st.builds(
    cnpg,
    version=st.sampled_from(["", "1.23.0", "1.24.0", "1.25.1", "1.25.2", "1.30.0"]),
    rolling=st.booleans(),
    available=st.booleans(),
    leader=st.none() | st.builds(leader, MOMENTS),
    restarted_at=st.none() | MOMENTS,
    restarted_for=st.dictionaries(st.sampled_from(["plugin-0", "hello"]), REVISIONS),
)
ANNOUNCEMENTS = st.builds(announcement, REVISIONS, at=MOMENTS, changed_at=st.none() | MOMENTS)


@given(STATES, st.lists(ANNOUNCEMENTS, max_size=4))
def test_no_state_restarts_during_a_rollout_too_soon_or_twice_for_one_announcement(
    facts: CNPGFacts, published: list[Announcement]
) -> None:
    action, after = decide(facts, *published)

    if action is Action.RESTART:
        assert facts.available
        assert not facts.rolling
        assert facts.restarted_at is None or facts.restarted_at <= NOW - Pace().cooldown
        recorded = facts.restarted_for.get("plugin-0")
        assert len(published) > 1 or recorded != published[0].revision
    assert (action is Action.WAIT) == (after > timedelta(0))


@given(STATES, ANNOUNCEMENTS)
def test_a_registered_revision_never_needs_a_restart(
    facts: CNPGFacts, announced: Announcement
) -> None:
    for policy in RestartPolicy:
        given_facts = registration(
            policy=policy,
            cnpg=facts,
            announcement=announced,
            registered_revision=announced.revision,
        )
        assert restart_reason(given_facts) is None


def test_a_plugin_that_needs_no_restart_does_not_shorten_the_wait() -> None:
    published = {"old": at(3600), "new": at(1)}
    both = restarting(cnpg(), published, coming=3)
    only = replace(both, needs={"new": both.needs["new"]})

    assert decide_restart(both).action is Action.RESTART
    assert decide_restart(only).action is Action.WAIT
