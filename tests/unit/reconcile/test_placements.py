"""How long a change of sidecars has been wanted, and that nobody waits for one that is not."""

from datetime import timedelta

from cnpg_plugin_operator.reconcile.sidecar.pending import STALE, Placements
from tests.support.builders import NOW, ago

A_WHILE = timedelta(seconds=5)
HERE = "cnpg-system"


def test_the_first_difference_and_the_last_are_told_apart() -> None:
    placements = Placements()
    assert placements.note(HERE, "one", NOW) == (NOW, NOW)
    assert placements.note(HERE, "one", NOW + A_WHILE) == (NOW, NOW)
    assert placements.note(HERE, "two", NOW + A_WHILE) == (NOW, NOW + A_WHILE)
    assert placements.note("elsewhere", "two", NOW) == (NOW, NOW)


def test_what_is_settled_begins_anew() -> None:
    placements = Placements()
    placements.note(HERE, "one", NOW)
    placements.settle(HERE)
    assert placements.note(HERE, "one", NOW + A_WHILE) == (NOW + A_WHILE, NOW + A_WHILE)


def test_a_set_waits_until_it_is_settled() -> None:
    placements = Placements()
    placements.note(HERE, "one", NOW)
    assert not placements.is_waiting(HERE, NOW)
    placements.wait(HERE, waiting=True)
    assert placements.is_waiting(HERE, NOW)
    assert not placements.is_waiting("elsewhere", NOW)
    placements.settle(HERE)
    assert not placements.is_waiting(HERE, NOW)


def test_a_change_that_nobody_wants_any_more_holds_no_restart_up() -> None:
    """Its resource may be gone: then no pass looks at the set again."""
    placements = Placements()
    placements.note(HERE, "one", NOW)
    placements.wait(HERE, waiting=True)
    assert placements.is_waiting(HERE, NOW + STALE - A_WHILE)
    assert not placements.is_waiting(HERE, NOW + STALE)
    assert placements.note(HERE, "two", NOW + STALE) == (NOW + STALE, NOW + STALE)


def test_the_same_set_goes_on_waiting_however_long_a_pass_takes() -> None:
    placements = Placements()
    placements.note("cnpg-system", "a", ago(600))

    assert placements.note("cnpg-system", "a", NOW) == (ago(600), ago(600))
