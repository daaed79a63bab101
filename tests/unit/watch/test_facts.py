"""The fact store: what it keeps after any order of events and lists, and what it tells of."""

import random
from typing import Any

import pytest

from cnpg_plugin_operator import errors
from cnpg_plugin_operator.cluster.client import Page
from cnpg_plugin_operator.cluster.clusters import ClusterRecord
from cnpg_plugin_operator.cluster.kinds import CLUSTER, PLUGIN, SERVICE
from cnpg_plugin_operator.watch.facts import Change, FactStore


def cluster(name: str, version: int, phase: str = "") -> dict[str, Any]:
    metadata = {"namespace": "app", "name": name, "resourceVersion": str(version)}
    spec = {"plugins": [{"name": "hello.example.org"}]}
    return {"metadata": metadata, "spec": spec, "status": {"phase": phase}}


def resource(name: str, version: int, **more: Any) -> dict[str, Any]:
    metadata = {"namespace": "cnpg-system", "name": name, "resourceVersion": str(version)}
    return {"metadata": metadata, **more}


class Told:
    """A store of Clusters, and the changes that it told of."""

    def __init__(self) -> None:
        self.facts = FactStore()
        self.table = self.facts.fleet
        self.table.notify = self._tell
        self._changes: list[str] = []

    def _tell(self, change: Change[ClusterRecord]) -> None:
        before, after = (each.phase if each else None for each in (change.before, change.after))
        self._changes.append(f"{change.key[1]}: {before} -> {after}")

    def changes(self) -> list[str]:
        """Give what was told since the last look."""
        changes, self._changes = self._changes, []
        return changes

    def take_list(self, version: int, *bodies: dict[str, Any]) -> None:
        """Take a list in pages of one object each."""
        listing = self.table.begin()
        for body in bodies or ():
            listing.take(Page(str(version), (body,)))
        if not bodies:
            listing.take(Page(str(version), ()))
        listing.end()

    def names(self) -> list[str]:
        return [record.name for record in self.facts.clusters()]


@pytest.fixture(name="told")
def listed() -> Told:
    told = Told()
    told.take_list(10, cluster("b", 3, "x"), cluster("a", 2, "x"))
    told.changes()
    return told


def test_nothing_is_known_before_the_first_list() -> None:
    told = Told()
    told.table.take(cluster("a", 1))
    with pytest.raises(errors.UnavailableError, match="clusters have not been listed yet"):
        told.facts.clusters()
    told.take_list(10, cluster("a", 1))
    assert told.names() == ["a"]


def test_what_is_known_is_in_order(told: Told) -> None:
    told.table.take(cluster("aa", 11))
    assert told.names() == ["a", "aa", "b"]


def test_an_event_without_a_change_that_counts_tells_nothing(told: Told) -> None:
    told.table.take({**cluster("a", 11, "x"), "extra": 1})
    assert told.changes() == []


def test_an_event_that_was_heard_or_is_old_changes_nothing(told: Told) -> None:
    told.table.take(cluster("a", 12, "new"))
    told.table.take(cluster("a", 12, "again"))
    told.table.take(cluster("a", 11, "old"))
    told.table.take(cluster("a", 11, "old"), deleted=True)
    assert told.changes() == ["a: x -> new"]
    assert told.names() == ["a", "b"]


def test_a_deletion_is_told_once(told: Told) -> None:
    told.table.take(cluster("a", 11), deleted=True)
    told.table.take(cluster("a", 11), deleted=True)
    assert told.changes() == ["a: x -> None"]
    assert told.names() == ["b"]


def test_a_list_corrects_what_a_watch_missed(told: Told) -> None:
    told.take_list(20, cluster("b", 3, "x"), cluster("c", 15, "y"))
    assert told.changes() == ["c: None -> y", "a: x -> None"]
    assert told.names() == ["b", "c"]


def test_a_list_does_not_undo_what_is_newer_than_itself(told: Told) -> None:
    listing = told.table.begin()
    listing.take(Page("20", (cluster("a", 2, "x"),)))
    told.table.take(cluster("a", 21, "newer"))
    told.table.take(cluster("c", 22, "newest"))
    listing.take(Page("20", (cluster("b", 3, "x"),)))
    listing.end()
    assert told.names() == ["a", "b", "c"]
    assert told.changes() == ["a: x -> newer", "c: None -> newest"]


def test_a_list_that_breaks_off_drops_nothing(told: Told) -> None:
    told.table.begin().take(Page("20", ()))
    assert told.names() == ["a", "b"]


def test_a_cluster_that_was_restored_from_a_backup_is_believed(told: Told) -> None:
    told.table.take(cluster("a", 900, "lost"))
    told.take_list(40, cluster("a", 2, "restored"))
    assert told.changes() == ["a: x -> lost", "a: lost -> restored", "b: x -> None"]


def test_a_store_agrees_with_the_cluster_whatever_the_order() -> None:
    chance = random.Random(7)
    for _ in range(200):
        told, events = Told(), []
        live: dict[str, dict[str, Any]] = {}
        told.take_list(1)
        for version in range(2, 30):
            name = chance.choice("abc")
            body = cluster(name, version, chance.choice("xy"))
            if deleted := name in live and chance.random() < 0.3:
                del live[name]
            else:
                live[name] = body
            events.append((body, deleted))
            if chance.random() < 0.3:
                told.take_list(version, *live.values())
            if chance.random() < 0.7:
                told.table.take(body, deleted=deleted)
        told.take_list(30, *live.values())
        shown = {record.name: record.phase for record in told.facts.clusters()}
        assert shown == {name: body["status"]["phase"] for name, body in live.items()}, events


def test_what_was_written_is_known_before_its_event_unless_it_is_gone() -> None:
    facts = FactStore()
    listing = facts.plugins.begin()
    listing.take(Page("5", (resource("hello", 1), resource("moon", 2))))
    listing.end()
    facts.wrote(PLUGIN, resource("hello", 7, status={"a": 1}))
    facts.wrote(PLUGIN, resource("moon", 1, status={"a": "an older one"}))
    facts.plugins.take(resource("moon", 9), deleted=True)
    facts.wrote(PLUGIN, resource("moon", 8, status={"a": 1}))
    facts.wrote(SERVICE, resource("hello", 9))
    (known,) = facts.resources("cnpg-system")
    assert known["status"] == {"a": 1}
    assert facts.resources("elsewhere") == ()


def test_a_written_cluster_is_known_before_its_event() -> None:
    told = Told()
    told.take_list(1, cluster("a", 1, "x"))
    told.facts.wrote(CLUSTER, cluster("a", 2, "y"))
    told.table.take(cluster("a", 2, "y"))
    assert told.changes() == ["a: None -> x", "a: x -> y"]


def test_what_watches_tell_is_read_as_lists_are() -> None:
    facts = FactStore()
    facts.plugins.clear()
    told = resource("hello", 1, spec=["anything"], status=7)
    told["metadata"] |= {"managedFields": [{}], "labels": {"a": 1}}
    facts.plugins.take(told)
    (known,) = facts.resources("cnpg-system")
    assert known["spec"] == known["status"] == {}
    assert known["metadata"] == {"namespace": "cnpg-system", "name": "hello", "labels": {}}
    assert told["spec"] == ["anything"], "it belongs to who told of it"


def test_passes_can_decide_once_both_kinds_are_known_or_refused() -> None:
    facts = FactStore()
    facts.settle()
    assert not facts.settled.is_set()
    facts.plugins.clear()
    facts.settle()
    assert not facts.settled.is_set()
    facts.fleet.error = errors.ForbiddenError("no right")
    facts.settle()
    assert facts.settled.is_set()
    with pytest.raises(errors.ForbiddenError, match="no right"):
        facts.clusters()
