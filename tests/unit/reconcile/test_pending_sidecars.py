from datetime import timedelta

from cnpg_plugin_operator.reconcile.sidecar.pending import Pending
from tests.support.unit.builders import NOW

CNPG = "cnpg-system/cnpg"


def after(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)


def test_a_set_that_stays_wanted_goes_on_waiting() -> None:
    pending = Pending()
    pending.note(CNPG, "one", NOW)

    assert pending.note(CNPG, "one", NOW + after(300)) == (NOW, NOW)


def test_a_set_that_changes_waits_since_its_change_and_no_longer_than_since_the_first() -> None:
    pending = Pending()
    pending.note(CNPG, "one", NOW)

    assert pending.note(CNPG, "two", NOW + after(3)) == (NOW, NOW + after(3))


def test_what_was_settled_waits_from_its_next_change_on() -> None:
    pending = Pending()
    pending.note(CNPG, "one", NOW)
    pending.settle(CNPG)

    assert pending.note(CNPG, "one", NOW + after(9)) == (NOW + after(9), NOW + after(9))
