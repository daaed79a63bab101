"""Which loops are woken by what passes exchange: those that it concerns, each once."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from cnpg_plugin_operator.api.conditions import Type
from cnpg_plugin_operator.api.spec import Provider
from cnpg_plugin_operator.cluster.namespace import CNPGSnapshot
from cnpg_plugin_operator.decide.facts.cnpg import CNPGFacts
from cnpg_plugin_operator.decide.registration.restart import Action, RestartDecision, RestartNeed
from cnpg_plugin_operator.errors import UnavailableError
from cnpg_plugin_operator.reconcile.shared import Chains, CNPGView, Key, Shared, Wants
from tests.support.unit.builders import NOW
from tests.support.unit.cnpg_pods import cnpg_pod, deployed

HERE = "cnpg-system"
STANDALONE = Wants("uid-1", 1)
SIDECAR = Wants("uid-2", 1, sidecar=True)


@pytest.fixture
def woken() -> list[Key]:
    return []


@pytest.fixture
def shared(woken: list[Key]) -> Shared:
    """Two plugins, one of each mode, which have read a view."""
    shared = Shared(woken.append)
    shared.declare(HERE, "alone", STANDALONE)
    shared.declare(HERE, "hosted", SIDECAR)
    shared.publish(HERE, {"": view()}, Chains())
    woken.clear()
    return shared


def view(found: CNPGFacts | None = None, **more: Any) -> CNPGView:
    seen = CNPGSnapshot((found or deployed(),), (), reference_exists=True)
    return replace(CNPGView(seen), **more)


def wait(seconds: float, reason: str = "CloudNativePG is being rolled out") -> RestartDecision:
    return RestartDecision(Action.WAIT, reason, timedelta(seconds=seconds))


BOTH: list[Key] = [(HERE, "alone"), (HERE, "hosted")]
CHANGES: list[tuple[str, CNPGView, list[Key]]] = [
    ("nothing, no plugin", view(), []),
    ("CloudNativePG's pods, the sidecar", view(deployed({}, pods=(cnpg_pod(),))), BOTH[1:]),
    ("CloudNativePG's Deployment, both", view(deployed(available=False)), BOTH),
    ("a restart that waits, both", view(restart=wait(2)), BOTH),
    ("an error of the sidecars, the sidecar", view(failed={Type.AVAILABLE: OSError()}), BOTH[1:]),
    ("an error of the restart, both", view(failed={Type.REGISTERED: OSError()}), BOTH),
]


@pytest.mark.parametrize(
    ("published", "whom"), [each[1:] for each in CHANGES], ids=[each[0] for each in CHANGES]
)
def test_a_change_wakes(
    shared: Shared, woken: list[Key], published: CNPGView, whom: list[Key]
) -> None:
    shared.publish(HERE, {"": published}, Chains())

    assert woken == whom


NEEDS = replace(STANDALONE, chain=Provider.SELF_MANAGED)
CHAIN = Chains({Provider.SELF_MANAGED: ("root", "intermediate")})
CHAIN_CHANGES: list[tuple[str, Wants, Chains, bool]] = [
    ("its chain, a plugin that needs it", NEEDS, CHAIN, True),
    ("its chain, not one that needs none", STANDALONE, CHAIN, False),
    ("another chain, not one with its own", NEEDS, Chains({Provider.CERT_MANAGER: ()}), False),
    ("an error, one that needs the chain", NEEDS, Chains(failed={Provider.SELF_MANAGED: OSError()}),
     True),
    ("an error, not one that needs none", STANDALONE,
     Chains(failed={Provider.SELF_MANAGED: OSError()}), False),
    ("the end of its chain, a deleted one", replace(STANDALONE, leaves=True),
     Chains(left=frozenset({"uid-1"})), True),
    ("the end of another's, not a deleted one", replace(STANDALONE, leaves=True),
     Chains(left=frozenset({"uid-9"})), False),
    ("what cannot be deleted, a deleted one", replace(STANDALONE, leaves=True),
     Chains(unpruned=OSError()), True),
]  # fmt: skip


@pytest.mark.parametrize(
    ("wants", "chains", "wakes"),
    [each[1:] for each in CHAIN_CHANGES],
    ids=[each[0] for each in CHAIN_CHANGES],
)
def test_a_change_of_chains_wakes(
    shared: Shared, woken: list[Key], wants: Wants, chains: Chains, *, wakes: bool
) -> None:
    shared.declare(HERE, "alone", wants)
    woken.clear()
    shared.publish(HERE, {"": view()}, chains)

    assert woken == (BOTH[:1] if wakes else [])
    assert shared.chains(HERE) == chains


def test_a_decision_that_only_comes_closer_wakes_no_plugin(
    shared: Shared, woken: list[Key]
) -> None:
    shared.publish(HERE, {"": view(restart=wait(9))}, Chains())
    woken.clear()
    shared.publish(HERE, {"": view(restart=wait(7))}, Chains())

    assert woken == []


def test_a_plugin_that_found_no_view_is_woken_by_the_first(woken: list[Key]) -> None:
    shared = Shared(woken.append)

    assert shared.view(HERE, "new", "") is None
    assert woken == [(HERE,)]
    shared.publish(HERE, {"": view()}, Chains())
    assert woken == [(HERE,), (HERE, "new")]
    assert shared.view(HERE, "new", "") == view()


def test_another_reference_needs_a_view_of_its_own(shared: Shared, woken: list[Key]) -> None:
    assert shared.view(HERE, "alone", "another-cnpg") is None
    assert woken == [(HERE,)]


def test_an_error_of_the_whole_pass_reaches_every_plugin(shared: Shared, woken: list[Key]) -> None:
    shared.fail(HERE, UnavailableError("the connection broke"))

    assert woken == BOTH
    for name in ("alone", "hosted"):
        with pytest.raises(UnavailableError, match="the connection broke"):
            shared.view(HERE, name, "")
    shared.publish(HERE, {"": view()}, Chains())
    assert shared.view(HERE, "alone", "") == view()


NEED = RestartNeed("r1", NOW)
DECLARED = [
    ("the same again, nothing", STANDALONE, False),
    ("another generation, the namespace", replace(STANDALONE, generation=2), True),
    ("a need of a restart, the namespace", replace(STANDALONE, restart=NEED), True),
    ("a look that is due, the namespace", replace(STANDALONE, look_within=2.0), True),
]


@pytest.mark.parametrize(
    ("wants", "wakes"), [each[1:] for each in DECLARED], ids=[each[0] for each in DECLARED]
)
def test_what_a_plugin_declares_wakes(
    shared: Shared, woken: list[Key], wants: Wants, *, wakes: bool
) -> None:
    shared.declare(HERE, "alone", wants)

    assert woken == ([(HERE,)] if wakes else [])
    assert shared.wants(HERE)["alone"] == wants


def test_a_later_time_to_look_wakes_nothing(shared: Shared, woken: list[Key]) -> None:
    shared.declare(HERE, "alone", replace(STANDALONE, look_within=2.0))
    woken.clear()
    shared.declare(HERE, "alone", replace(STANDALONE, look_within=9.0))
    shared.declare(HERE, "alone", STANDALONE)

    assert woken == []


def test_a_deleted_resource_wakes_its_namespace_once(shared: Shared, woken: list[Key]) -> None:
    shared.forget(HERE, "hosted")
    shared.forget(HERE, "hosted")

    assert woken == [(HERE,)]
    assert shared.wants(HERE).keys() == {"alone"}
