"""Which loops an event wakes, by their keys and marks."""

from typing import Any

import pytest

from cnpg_plugin_operator import names
from cnpg_plugin_operator.cluster.kinds import (
    DEPLOYMENT,
    ISSUER,
    PLUGIN,
    POD,
    SECRET,
    SERVICE,
    Kind,
)
from cnpg_plugin_operator.reconcile.shared import Key
from cnpg_plugin_operator.watch.facts import FactStore
from cnpg_plugin_operator.watch.objects import ObjectStore
from cnpg_plugin_operator.watch.wakeups import (
    Wakeups,
    marks_of,
    owners_of,
    plugin_mark,
    service_mark,
)

SPECS: dict[Key, dict[str, Any]] = {
    ("cnpg-system", "hello"): {
        "pluginName": "hello.example.org",
        "tls": {"secrets": {"server": "pair"}},
    },
    ("cnpg-system", "moon"): {"pluginName": "moon.example.org", "mode": "Sidecar"},
    ("second", "hello"): {
        "pluginName": "hello.example.org",
        "tls": {"secrets": {"server": "pair"}},
    },
    ("elsewhere", "hello"): {"pluginName": "hello.example.org"},
}
"""The resources that are known; one elsewhere has only to be told where it belongs."""


class Loops:
    """Records which loops are woken."""

    def __init__(self) -> None:
        self.woken: list[str] = []
        self.by_others: list[str] = []
        """Which of them may be running: the change is none of their own."""

    def wake(self, key: Key, *, by_others: bool = False) -> None:
        self.woken.append("/".join(key))
        if by_others:
            self.by_others.append(self.woken[-1])


class Told:
    """Wake-ups that know some resources, and what they do about further events."""

    def __init__(self) -> None:
        self.loops, self.facts = Loops(), FactStore()
        self.objects = ObjectStore(self.facts)
        loops: Any = self.loops
        self.subject = Wakeups(loops, self.facts, self.objects, ("cnpg-system", "second"))
        for (namespace, name), spec in SPECS.items():
            self.take(PLUGIN, resource(name, namespace, spec))
        self.loops.woken.clear()
        self.loops.by_others.clear()

    def take(self, kind: Kind, body: dict[str, Any], *, deleted: bool = False) -> None:
        self.subject.take(kind, body, deleted=deleted)

    def woken(self) -> list[str]:
        """Give who was woken since the last look."""
        woken, self.loops.woken = self.loops.woken, []
        return woken


def resource(
    name: str,
    namespace: str = "cnpg-system",
    spec: dict[str, Any] | None = None,
    version: int = 1,
    **more: Any,
) -> dict[str, Any]:
    """Build a resource as the API server returns it."""
    metadata = {"uid": name, "namespace": namespace, "name": name, "generation": 1}
    metadata |= {"resourceVersion": str(version), **more.pop("metadata", {})}
    return {"metadata": metadata, "spec": spec or SPECS.get((namespace, name), {}), **more}


def taken(kind: Kind, body: dict[str, Any]) -> list[str]:
    """Give who is woken by one event."""
    told = Told()
    told.take(kind, body)
    return told.woken()


def meta(name: str = "any", **fields: Any) -> dict[str, Any]:
    return {"metadata": {"uid": name, "namespace": "cnpg-system", "name": name, **fields}}


def container(variable: str) -> dict[str, Any]:
    manager = {"name": names.cnpg.CONTAINER, "env": [{"name": variable}]}
    return {"template": {"spec": {"containers": [manager]}}}


WHOLE_NAMESPACE = ["cnpg-system", "cnpg-system/hello", "cnpg-system/moon"]
EVENTS: list[tuple[str, Kind, dict[str, Any], list[str]]] = [
    ("CloudNativePG's Deployment, its namespace", DEPLOYMENT,
     {**meta(), "spec": container(names.cnpg.IMAGE_VARIABLE)}, ["cnpg-system"]),
    ("a Deployment of others, none", DEPLOYMENT, {**meta(), "spec": container("OTHER")}, []),
    ("a Secret of the chain, all of its namespace", SECRET,
     meta(labels={names.labels.CHAIN: "root"}), WHOLE_NAMESPACE),
    ("another part of the chain, its namespace", ISSUER,
     meta(labels={names.labels.CHAIN: "root"}), ["cnpg-system"]),
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
    assert taken(kind, body) == woken


def cluster(*plugins: str, version: int = 1, **status: Any) -> dict[str, Any]:
    spec = {"plugins": [{"name": f"{name}.example.org"} for name in plugins]}
    metadata = {"namespace": "app", "name": "db", "resourceVersion": str(version)}
    return {"metadata": metadata, "spec": spec, "status": status}


HELLO = ["cnpg-system/hello", "second/hello"]
CLUSTERS: list[tuple[str, list[dict[str, Any]], list[str]]] = [
    ("that uses a plugin, those that provide it", [cluster("hello")], HELLO),
    ("without plugins, none", [cluster()], []),
    ("that uses a sidecar, its namespace as well", [cluster("moon")],
     ["cnpg-system/moon", "cnpg-system"]),
    ("whose status matters to no plugin, none",
     [cluster("hello"), cluster("hello", version=2, timelineID=2)], []),
    ("with another phase, those that it uses",
     [cluster("hello"), cluster("hello", version=2, phase="Failing over")], HELLO),
    ("that reports another version, those that it is about",
     [cluster("hello", "moon"), cluster("hello", "moon", version=2, pluginStatus=[
         {"name": "hello.example.org", "version": "2"}])], HELLO),
    ("that uses another plugin, both", [cluster("hello"), cluster("moon", version=2)],
     ["cnpg-system/hello", "cnpg-system/moon", "second/hello", "cnpg-system"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("events", "woken"), [each[1:] for each in CLUSTERS], ids=[each[0] for each in CLUSTERS]
)
def test_a_cluster_wakes(events: list[dict[str, Any]], woken: list[str]) -> None:
    told = Told()
    for body in events:
        told.loops.woken.clear()
        told.facts.fleet.take(body)
    assert told.woken() == woken


READY = {"type": "Ready", "status": "True", "observedGeneration": 1}
OTHERS = {"conditions": [{"type": "Available", "status": "True", "message": "as others say"}]}
RESTARTED = {"deploymentName": "cnpg", "lastRestart": {"time": "2026-03-01T12:00:00Z"}}
ITSELF, SHARED = "cnpg-system/hello", "cnpg-system"
CHANGES: list[tuple[str, dict[str, Any], set[str]]] = [
    ("nothing that counts", {"metadata": {"managedFields": [{"manager": "x"}]}}, set()),
    ("its spec", {"spec": {"pluginName": "new.example.org"}}, {ITSELF, SHARED}),
    ("an approval", {"metadata": {"annotations": {names.annotations.APPROVE: "7"}}},
     {ITSELF, SHARED}),
    ("its deletion", {"metadata": {"deletionTimestamp": "2026-03-01T12:00:00Z"}},
     {ITSELF, SHARED}),
    ("a finalizer of others", {"metadata": {"finalizers": ["x"]}}, set()),
    ("a condition that others wrote", {"status": OTHERS}, {ITSELF}),
    ("its readiness", {"status": {"conditions": [READY]}}, {ITSELF, SHARED}),
    ("the record of a restart", {"status": {"cnpg": RESTARTED}}, {ITSELF, SHARED}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "woken"), [each[1:] for each in CHANGES], ids=[each[0] for each in CHANGES]
)
def test_a_change_of_a_resource_wakes(changed: dict[str, Any], woken: set[str]) -> None:
    assert set(taken(PLUGIN, resource("hello", version=2, **changed))) == woken


def test_a_status_that_its_own_pass_wrote_wakes_only_its_namespace() -> None:
    told, status = Told(), {"conditions": [READY], "observedGeneration": 1}
    told.facts.expect("cnpg-system", "hello", status)
    told.take(PLUGIN, resource("hello", version=2, status=status))
    assert told.woken() == ["cnpg-system"]
    told.facts.wrote(PLUGIN, resource("hello", version=2, status=status))
    assert told.woken() == []


def test_a_deletion_that_the_answer_to_a_write_shows_wakes_the_pass_that_wrote() -> None:
    told, status = Told(), {"conditions": [READY], "observedGeneration": 1}
    told.facts.expect("cnpg-system", "hello", status)
    deleting = {"deletionTimestamp": "2026-11-27T09:47:54Z"}
    answer = resource("hello", version=3, status=status, metadata=deleting)
    told.facts.wrote(PLUGIN, answer)
    assert told.loops.by_others == ["cnpg-system/hello"]


def test_a_finalizer_that_is_lost_wakes_its_resource() -> None:
    told, finalizers = Told(), {"finalizers": [names.resource.FINALIZER]}
    told.take(PLUGIN, resource("hello", version=2, metadata=finalizers))
    assert told.woken() == []
    told.take(PLUGIN, resource("hello", version=3))
    assert told.woken() == ["cnpg-system/hello"]


@pytest.mark.parametrize(
    "spec",
    [{"pluginName": "hello.example.org"}, {"tls": {"secrets": {"server": "pair"}}}],
    ids=["the same plugin", "the same Secret"],
)
def test_a_resource_that_comes_or_goes_wakes_those_that_it_may_collide_with(
    spec: dict[str, Any],
) -> None:
    told = Told()
    for version, deleted in ((1, False), (2, True)):
        told.take(PLUGIN, resource("rival", spec=spec, version=version), deleted=deleted)
        assert set(told.woken()) == {SHARED, ITSELF, "cnpg-system/rival"}
    told.facts.fleet.take(cluster("hello"))
    assert told.woken() == HELLO


def test_a_resource_elsewhere_wakes_itself_alone() -> None:
    body = resource("hello", "elsewhere", {"pluginName": "moon.example.org"}, version=2)
    assert taken(PLUGIN, body) == ["elsewhere/hello"]


def woken_by_services(*events: tuple[str, str, bool]) -> list[str]:
    """Return which loops the last of some events wakes: uid, plugin name, whether it is deleted."""
    told = Told()
    for uid, name, deleted in events:
        told.loops.woken.clear()
        labels = {names.cnpg.PLUGIN_NAME: name} if name else None
        told.take(SERVICE, meta(uid, labels=labels), deleted=deleted)
    return told.woken()


def test_a_service_wakes_the_resource_whose_plugin_it_names() -> None:
    assert woken_by_services(("u1", "hello.example.org", False)) == ["cnpg-system/hello"]
    announced = ("u1", "hello.example.org", False)
    assert woken_by_services(announced, ("u1", "hello.example.org", True)) == ["cnpg-system/hello"]


def test_a_service_without_a_label_wakes_no_resource() -> None:
    assert woken_by_services(("u1", "", False)) == []


def test_a_removed_label_wakes_the_resource_that_it_named_once() -> None:
    removed = [("u1", "hello.example.org", False), ("u1", "", False)]

    assert woken_by_services(*removed) == ["cnpg-system/hello"]
    assert woken_by_services(*removed, ("u1", "", False)) == []


def test_a_label_that_changes_wakes_both() -> None:
    changed = [("u1", "hello.example.org", False), ("u1", "moon.example.org", False)]

    assert woken_by_services(*changed) == ["cnpg-system/hello", "cnpg-system/moon"]


def test_a_service_that_is_deleted_is_forgotten() -> None:
    deleted = [("u1", "hello.example.org", False), ("u1", "hello.example.org", True)]

    assert woken_by_services(*deleted, ("u1", "", False)) == []


def event_on(service: str, message: str = "", namespace: str = "cnpg-system") -> dict[str, Any]:
    return {
        "metadata": {"namespace": namespace, "name": f"{service}.1"},
        "involvedObject": {"kind": "Service", "name": service},
        "message": message,
    }


@pytest.mark.parametrize(
    ("body", "woken"),
    [
        (event_on("hello"), ["cnpg-system/hello"]),
        (event_on("hello", namespace="second"), ["second/hello"]),
        (event_on("named"), ["cnpg-system/named"]),
        (event_on("another"), []),
        (
            event_on("another", "Successfully registered plugin moon.example.org at another.svc:1"),
            ["cnpg-system/moon"],
        ),
        ({"metadata": {"namespace": "cnpg-system", "name": "odd"}, "involvedObject": 1}, []),
    ],
    ids=[
        "its Service",
        "in its namespace",
        "a Service by spec",
        "another Service",
        "its plugin",
        "odd",
    ],
)
def test_an_event_of_cloudnativepg_wakes_the_resource_of(
    body: dict[str, Any], woken: list[str]
) -> None:
    told = Told()
    spec = {"pluginName": "named.example.org", "service": {"name": "named"}}
    told.take(PLUGIN, resource("named", spec=spec))
    told.woken()
    table = told.facts.event_table(body["metadata"]["namespace"])
    table.take(body)
    assert told.woken() == woken
    table.take(body, deleted=True)
    assert told.woken() == [], "it has expired"


def test_only_a_new_leader_wakes_the_namespace() -> None:
    told = Told()

    def take(holder: str, acquired: str, renewed: str, namespace: str = "cnpg-system") -> list[str]:
        spec = {"holderIdentity": holder, "acquireTime": acquired, "renewTime": renewed}
        told.subject.take_lease({"metadata": {"namespace": namespace}, "spec": spec})
        return told.woken()

    assert take("a_1", "10:00", "10:00") == [SHARED]
    assert take("a_1", "10:00", "10:02") == []
    assert take("", "10:00", "10:03") == [SHARED]
    assert take("b_1", "10:04", "10:04") == [SHARED]
    assert take("b_1", "10:04", "10:06") == []
    assert take("b_1", "10:08", "10:08") == [SHARED], "the same pod, after a while without"
    assert take("c_1", "10:00", "10:00", "elsewhere") == [], "no namespace of this operator"


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


@pytest.mark.parametrize("taken", [None, "none", {}, {"serviceName": "previous"}])
def test_a_service_that_is_taken_over_is_a_mark_where_it_can_be_read(taken: object) -> None:
    marks = marks_of("hello", {"pluginName": "a.example.org", "takeOver": taken})
    previous = isinstance(taken, dict) and bool(taken)
    assert (service_mark("previous") in marks) == previous


@pytest.mark.parametrize("service", [None, "none", {}, {"name": "hello"}])
def test_a_resource_is_indexed_by_the_readable_part_of_its_spec(service: object) -> None:
    spec = {"pluginName": 7, "tls": "none", "service": service}
    assert marks_of("hello", spec) == {plugin_mark("7"), service_mark("hello")}
