from datetime import timedelta

from cnpg_plugin_operator.reconcile.sidecar.pending import Pending
from tests.support.unit.builders import NOW

CNPG = "cnpg-system/cnpg"


def after(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)


def test_an_unchanged_set_keeps_waiting() -> None:
    pending = Pending()
    pending.record(CNPG, "one", NOW)

    assert pending.record(CNPG, "one", NOW + after(300)) == (NOW, NOW)


def test_each_change_of_a_set_extends_its_wait_up_to_the_maximum() -> None:
    pending = Pending()
    pending.record(CNPG, "one", NOW)

    assert pending.record(CNPG, "two", NOW + after(3)) == (NOW, NOW + after(3))


def test_a_settled_set_waits_from_its_next_change() -> None:
    pending = Pending()
    pending.record(CNPG, "one", NOW)
    pending.settle(CNPG)

    assert pending.record(CNPG, "one", NOW + after(9)) == (NOW + after(9), NOW + after(9))
