"""What the campaign's oracle judges, and what it does not see."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.campaign.calls import Call
from tests.campaign.classes.misoperations import MISOPERATIONS
from tests.campaign.classes.mutations import changes
from tests.campaign.mutants import MUTANTS, Mutant
from tests.campaign.oracle import Seen, differences, judge_leftovers, judge_requests, normalize
from tests.campaign.plans import Recording
from tests.campaign.runner import unmasked
from tests.integration.data.resource import CRD


def service(**changes: Any) -> dict[str, Any]:
    metadata = {"name": "p", "uid": "1", "resourceVersion": "7", "labels": {"a": "b"}}
    return {"metadata": metadata, "spec": {"clusterIP": "10.0.0.1", "ports": [1]}, **changes}


def test_what_differs_by_chance_is_no_difference() -> None:
    other = service(spec={"clusterIP": "10.0.0.2", "ports": [1]})
    other["metadata"] |= {"uid": "2", "resourceVersion": "8"}
    assert not list(differences(normalize(service(), "lane"), normalize(other, "lane")))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("sha-0123456789abcdef", "sha-fedcba9876543210"),
        ("2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"),
        ("p.lane.svc", "p.lane.svc"),
    ],
)
def test_hashes_and_times_are_equal(one: str, other: str) -> None:
    found = [normalize(service(spec={"x": each}), "lane") for each in (one, other)]
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"spec": {"ports": [2]}}, "/spec/ports"),
        ({"data": {"k": "v"}}, "/data"),
        ({"metadata": {"name": "p"}}, "/labels"),
    ],
)
def test_a_difference_is_named_by_its_path(change: dict[str, Any], path: str) -> None:
    [found] = differences(normalize(service(), "lane"), normalize(service(**change), "lane"))
    assert found.startswith(f"{path}: ")


def test_paths_that_always_differ_are_masked() -> None:
    recording = Recording("create", {"a": 1, "b": 2}, ["/a"], [], 0, 0)
    assert not unmasked(recording, {"a": 5, "b": 2})
    assert unmasked(recording, {"a": 5, "b": 3}) == ["/b: 3, not 2"]


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (Seen(messages={"red \x1b[31m"}), "not printable"),
        (Seen(messages={"x" * 2000}), "too long"),
        (Seen(unproven=["p: Refused"]), "without proof"),
        (Seen(failed=["p: Refused"]), "a call failed"),
        (Seen(rolls=1), "rolled 1 times"),
    ],
)
def test_what_must_not_be_seen(seen: Seen, words: str) -> None:
    assert [each for each in seen.faults(may_interrupt=False, rolls=range(1)) if words in each]
    assert not list(Seen().faults(may_interrupt=False, rolls=range(1)))


def test_leftovers_and_losses_are_named() -> None:
    assert list(judge_leftovers({"a": 1}, {"b": 2})) == [
        "left behind: b",
        "deleted, but not ours: a",
    ]


def test_many_requests_are_too_many() -> None:
    calls = [Call(0.0, "get", "pods", "")] * 300
    assert not list(judge_requests(calls, 40))
    assert list(judge_requests(calls, 10))


def test_every_field_of_the_resource_is_misused() -> None:
    [version] = yaml.safe_load(CRD.read_text())["spec"]["versions"]
    spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    used = {field for _, fields in MISOPERATIONS for field in fields}
    # Neither can be changed without another: names are immutable, mounts need a volume.
    assert set(spec) - used == {"pluginName", "volumeMounts"}
    names = [name for name, _ in MISOPERATIONS]
    assert len(set(names)) == len(names)


def test_every_field_of_an_object_is_mutated() -> None:
    body = {"labels": {"a/b": "c"}, "spec": {"port": 1, "on": True, "list": ["x"]}, "data": ["k"]}
    assert {name: change[0]["path"] for name, change in changes(body)} == {
        "labels.a/b.changed": "/metadata/labels/a~1b",
        "labels.a/b.removed": "/metadata/labels/a~1b",
        "spec.port": "/spec/port",
        "spec.on": "/spec/on",
        "spec.list.0": "/spec/list/0",
        "data.k.changed": "/data/k",
        "data.k.removed": "/data/k",
    }


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_what_a_mutant_replaces_is_there(mutant: Mutant, tmp_path: Path) -> None:
    assert mutant.read().count(mutant.before) == 1
    changed = mutant.read().replace(mutant.before, mutant.after)
    compile(changed, mutant.file, "exec")
