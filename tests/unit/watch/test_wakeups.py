"""Whom an event wakes, by the key of a loop and what is known of it."""

from collections.abc import Callable
from typing import Any

import pytest

from cnpg_plugin_operator import names
from cnpg_plugin_operator.cluster.kinds import (
    CLUSTER,
    DEPLOYMENT,
    PLUGIN,
    POD,
    SECRET,
    SERVICE,
    Kind,
)
from cnpg_plugin_operator.reconcile.shared import Key
from cnpg_plugin_operator.watch.wakeups import (
    SIDECAR_MARK,
    Wakeups,
    marks_of,
    owners_of,
    plugin_mark,
    secret_mark,
)

KNOWN: dict[Key, frozenset[str]] = {
    ("cnpg-system",): frozenset(),
    ("cnpg-system", "hello"): frozenset({plugin_mark("hello.example.org"), secret_mark("pair")}),
    ("cnpg-system", "moon"): frozenset({plugin_mark("moon.example.org"), SIDECAR_MARK}),
    ("elsewhere", "hello"): frozenset({plugin_mark("hello.example.org"), secret_mark("pair")}),
}


class Loops:
    """Notes who is woken."""

    def __init__(self) -> None:
        self.woken: list[str] = []
        self.learned: dict[Key, frozenset[str]] = {}

    def wake(self, key: Key) -> None:
        self.woken.append("/".join(key))

    def wake_where(self, matches: Callable[[Key, frozenset[str]], bool]) -> None:
        self.woken += ["/".join(key) for key, marks in KNOWN.items() if matches(key, marks)]

    def find(self, matches: Callable[[Key, frozenset[str]], bool]) -> list[Key]:
        return [key for key, marks in KNOWN.items() if matches(key, marks)]

    def learn(self, key: Key, marks: frozenset[str]) -> None:
        assert self.woken, "a loop that has not begun learns nothing"
        self.learned[key] = marks


def wakeups(loops: Loops) -> Wakeups:
    return Wakeups(loops, ("cnpg-system",))  # type: ignore[arg-type]  # not a real one


def taken(kind: Kind, body: dict[str, Any]) -> Loops:
    """Give the loops that have heard of one event."""
    loops = Loops()
    wakeups(loops).take(kind, body, deleted=False)
    return loops


def meta(name: str = "any", **fields: Any) -> dict[str, Any]:
    return {"metadata": {"uid": name, "namespace": "cnpg-system", "name": name, **fields}}


def container(variable: str) -> dict[str, Any]:
    manager = {"name": names.cnpg.CONTAINER, "env": [{"name": variable}]}
    return {"template": {"spec": {"containers": [manager]}}}


WHOLE_NAMESPACE = ["cnpg-system", "cnpg-system/hello", "cnpg-system/moon"]
EVENTS: list[tuple[str, Kind, dict[str, Any], list[str]]] = [
    ("a Cluster, those whose plugins it uses, wherever they are", CLUSTER,
     {**meta(), "spec": {"plugins": [{"name": "hello.example.org"}]}},
     ["cnpg-system/hello", "elsewhere/hello"]),
    ("a Cluster without plugins, none", CLUSTER, meta(), []),
    ("a Cluster that uses a sidecar, its namespace as well", CLUSTER,
     {**meta(), "spec": {"plugins": [{"name": "moon.example.org"}]}},
     ["cnpg-system/moon", "cnpg-system"]),
    ("CloudNativePG's Deployment, its namespace", DEPLOYMENT,
     {**meta(), "spec": container(names.cnpg.IMAGE_VARIABLE)}, ["cnpg-system"]),
    ("a Deployment of others, none", DEPLOYMENT, {**meta(), "spec": container("OTHER")}, []),
    ("a part of the chain, all of its namespace", SECRET,
     meta(labels={names.labels.CHAIN: "root"}), WHOLE_NAMESPACE),
    ("a child, its resource", POD, meta(labels={names.labels.PLUGIN: "moon"}),
     ["cnpg-system/moon"]),
    ("a child that names its namespace as its resource, not the namespace", POD,
     meta(labels={names.labels.PLUGIN: "cnpg-system"}), []),
    ("a Secret, those of its namespace that name it", SECRET, meta("pair"), ["cnpg-system/hello"]),
    ("another object of that name, none", POD, meta("pair"), []),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "body", "woken"), [each[1:] for each in EVENTS], ids=[each[0] for each in EVENTS]
)
def test_an_event_wakes(kind: Kind, body: dict[str, Any], woken: list[str]) -> None:
    assert taken(kind, body).woken == woken


def test_a_resource_is_woken_and_known_by_its_plugin() -> None:
    loops = taken(PLUGIN, {**meta("new"), "spec": {"pluginName": "new.example.org"}})
    assert loops.woken == ["cnpg-system/new", "cnpg-system"]
    assert loops.learned == {("cnpg-system", "new"): {plugin_mark("new.example.org")}}


def woken_by_services(*events: tuple[str, str, bool]) -> list[str]:
    """Give who is woken by the last of some events: uid, plugin name, whether it is deleted."""
    loops = Loops()
    woken_by = wakeups(loops)
    for uid, name, deleted in events:
        loops.woken.clear()
        labels = {names.cnpg.PLUGIN_NAME: name} if name else None
        woken_by.take(SERVICE, meta(uid, labels=labels), deleted=deleted)
    return loops.woken


def test_a_service_wakes_the_resource_whose_plugin_it_names() -> None:
    assert woken_by_services(("u1", "hello.example.org", False)) == ["cnpg-system/hello"]
    assert woken_by_services(("u1", "hello.example.org", True)) == ["cnpg-system/hello"]


def test_a_service_without_a_label_wakes_no_resource() -> None:
    assert woken_by_services(("u1", "", False)) == []


def test_a_label_that_is_gone_wakes_whom_it_named_once() -> None:
    removed = [("u1", "hello.example.org", False), ("u1", "", False)]

    assert woken_by_services(*removed) == ["cnpg-system/hello"]
    assert woken_by_services(*removed, ("u1", "", False)) == []


def test_a_label_that_changes_wakes_both() -> None:
    changed = [("u1", "hello.example.org", False), ("u1", "moon.example.org", False)]

    assert woken_by_services(*changed) == ["cnpg-system/hello", "cnpg-system/moon"]


def test_a_service_that_is_deleted_is_forgotten() -> None:
    deleted = [("u1", "hello.example.org", False), ("u1", "hello.example.org", True)]

    assert woken_by_services(*deleted, ("u1", "", False)) == []


@pytest.mark.parametrize(
    ("metadata", "owners"),
    [
        ({"labels": {names.labels.PLUGIN: "a"}}, {"a"}),
        ({"ownerReferences": [{"kind": "CNPGPlugin", "name": "a"}]}, {"a"}),
        ({"ownerReferences": [{"kind": "Deployment", "name": "a"}]}, set()),
        ({"labels": None, "ownerReferences": None}, set()),
    ],
    ids=["its label", "its owner reference", "another owner", "nothing"],
)
def test_an_object_is_found_again_by(metadata: dict[str, Any], owners: set[str]) -> None:
    assert owners_of(metadata) == owners


def test_a_spec_that_holds_anything_is_known_by_what_can_be_read() -> None:
    assert marks_of({"pluginName": 7, "tls": "none"}) == {plugin_mark("7")}
