"""What is removed from a child before it is applied."""

from copy import deepcopy

from cnpg_plugin_operator import names
from cnpg_plugin_operator.desired.service import build_service
from cnpg_plugin_operator.desired.surplus import find_surplus
from tests.support.unit.builders import plugin

WANTED = build_service(plugin(), None)
LIVE = {**deepcopy(WANTED), "metadata": {**deepcopy(WANTED["metadata"]), "resourceVersion": "1"}}


def test_a_port_with_another_number_goes_with_the_wanted_one_in_its_place() -> None:
    live = deepcopy(LIVE)
    live["spec"]["ports"][0]["port"] += 1
    surplus = find_surplus(WANTED, live)

    assert surplus is not None
    assert surplus.patch == {
        "metadata": {"resourceVersion": "1"},
        "spec": {"type": "ClusterIP", "ports": WANTED["spec"]["ports"]},
    }


def test_a_port_of_an_earlier_spec_is_left_to_the_apply_that_owns_it() -> None:
    live = deepcopy(LIVE)
    live["spec"]["ports"][0]["port"] += 1
    live["metadata"]["annotations"][names.annotations.DESIRED] = "of an earlier spec"
    assert find_surplus(WANTED, live) is None


def test_nothing_is_removed_from_what_is_as_wanted() -> None:
    assert find_surplus(WANTED, LIVE) is None
