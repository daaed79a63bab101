"""Whom the events of Services wake: whoever's plugin they provide, or did."""

from collections.abc import Callable
from typing import Any

from cnpg_plugin_operator import names
from cnpg_plugin_operator.watch.handlers import Watches, plugin_mark

KNOWN = {
    ("cnpg-system", "hello"): frozenset({plugin_mark("hello.example.org")}),
    ("cnpg-system", "moon"): frozenset({plugin_mark("moon.example.org")}),
    ("elsewhere", "hello"): frozenset({plugin_mark("hello.example.org")}),
}


class Loops:
    """Notes who is woken."""

    def __init__(self) -> None:
        self.woken: list[str] = []

    def wake_where(self, matches: Callable[[Any, frozenset[str]], bool]) -> None:
        self.woken += ["/".join(key) for key, marks in KNOWN.items() if matches(key, marks)]


def woken(*events: tuple[str, str, bool]) -> list[str]:
    """Give who is woken by the last of some events: uid, plugin name, whether it is deleted."""
    loops, provided = Loops(), dict[str, str]()
    watches = Watches(loops, ("cnpg-system",), None)  # type: ignore[arg-type]  # not asked
    for uid, name, deleted in events:
        loops.woken.clear()
        metadata: dict[str, Any] = {"uid": uid, "namespace": "cnpg-system", "name": "other"}
        metadata["labels"] = {names.cnpg.PLUGIN_NAME: name} if name else None
        if deleted:
            metadata["deletionTimestamp"] = "2026-03-01T12:00:00Z"
        watches._wake_named(metadata, provided)
    return loops.woken


def test_a_service_wakes_the_resource_whose_plugin_it_names() -> None:
    assert woken(("u1", "hello.example.org", False)) == ["cnpg-system/hello"]
    assert woken(("u1", "hello.example.org", True)) == ["cnpg-system/hello"]


def test_a_service_without_a_label_wakes_no_resource() -> None:
    assert woken(("u1", "", False)) == []


def test_a_label_that_is_gone_wakes_whom_it_named_once() -> None:
    taken = [("u1", "hello.example.org", False), ("u1", "", False)]

    assert woken(*taken) == ["cnpg-system/hello"]
    assert woken(*taken, ("u1", "", False)) == []


def test_a_label_that_changes_wakes_both() -> None:
    changed = [("u1", "hello.example.org", False), ("u1", "moon.example.org", False)]

    assert woken(*changed) == ["cnpg-system/hello", "cnpg-system/moon"]
