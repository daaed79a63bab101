"""Whom an event wakes: the one place where what watches hear of becomes wake-ups. No kopf.

An event carries no meaning of its own: the passes that it wakes read the cluster again. So waking
one loop too many is better than interpreting an object. Of resources and Clusters, which change all
the time, only changes that count wake a loop (`facts`).
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.conditions import Type, find_condition
from cnpg_plugin_operator.api.plugin import names_sidecar
from cnpg_plugin_operator.api.records import shared_part
from cnpg_plugin_operator.api.status import own_part, read_status
from cnpg_plugin_operator.api.untrusted import mapping
from cnpg_plugin_operator.cluster.clusters import ClusterRecord, find_concerned
from cnpg_plugin_operator.cluster.cnpg import looks_like_cnpg
from cnpg_plugin_operator.cluster.kinds import (
    DEPLOYMENT,
    PLUGIN,
    SECRET,
    SERVICE,
    Kind,
)
from cnpg_plugin_operator.cluster.private_secrets import bound, named_in
from cnpg_plugin_operator.decide.facts.cnpg import CNPGEvent
from cnpg_plugin_operator.reconcile.shared import Key
from cnpg_plugin_operator.watch.facts import Change, FactStore
from cnpg_plugin_operator.watch.loops import Loops
from cnpg_plugin_operator.watch.objects import ObjectStore, Shown

Body = Mapping[str, Any]

PROVIDED: Final = names.cnpg.PLUGIN_NAME
"""The label of a Service that names the plugin it provides."""


class Wakeups:
    """Wakes the loops that an event concerns."""

    def __init__(
        self, loops: Loops, facts: FactStore, objects: ObjectStore, namespaces: Collection[str]
    ) -> None:
        self._loops = loops
        self._facts = facts
        self._objects = objects
        self._namespaces = namespaces
        """The managed namespaces: only they have a pass for what their plugins share."""
        self._marks: dict[Key, frozenset[str]] = {}
        """By what each resource of these namespaces is found."""
        self._leaders: dict[str, object] = {}
        """Who holds CloudNativePG's Lease, by its namespace."""
        facts.plugins.notify = self._take_plugin
        facts.fleet.notify = self._take_cluster
        objects.notify = self._take_object
        for each in namespaces:
            facts.event_table(each).notify = self._take_event

    def wake_all(self) -> None:
        """Wake all plugins: what they depend on has come or gone."""
        self._wake(self._marks)

    def take(self, kind: Kind, body: Body, *, deleted: bool) -> None:
        """Wake the loops that an event of this object concerns."""
        if kind == PLUGIN:
            self._facts.plugins.take(body, deleted=deleted)
        else:
            self._objects.see(kind, body, deleted=deleted)

    def _take_plugin(self, change: Change[dict[str, Any]]) -> None:
        """Wake a resource, its namespace, and those that it may collide with, as it matters."""
        namespace, before, after = change.key[0], change.before, change.after
        if self._concerns_itself(change):
            self._loops.wake(change.key, by_others=True)
        if after is None:
            self._facts.expected.pop(change.key, None)
        if namespace not in self._namespaces:
            return
        known = self._marks.pop(change.key, frozenset())
        if after is not None:
            self._marks[change.key] = marks_of(change.key[1], after.get("spec"))
        if _wanted(before) != _wanted(after):
            touched = known | self._marks.get(change.key, frozenset())
            self._wake_marked(touched - {SIDECAR_MARK}, namespace)
        if _shared(before) != _shared(after):
            self._wake_namespace(namespace)

    def _concerns_itself(self, change: Change[dict[str, Any]]) -> bool:
        """Whether a change is none of what the resource's own pass has just written."""
        before, after = change.before, change.after
        if before is None or after is None or _wanted(before) != _wanted(after):
            return True
        if _is_held(before) and not _is_held(after):
            return True
        was, now = before.get("status"), after.get("status")
        if shared_part(read_status(before)) != shared_part(read_status(after)):
            return True
        return own_part(now) not in (own_part(was), self._facts.expected.get(change.key))

    def _take_cluster(self, change: Change[ClusterRecord]) -> None:
        """Wake the plugins that a Cluster concerns; sidecars among them concern their namespace."""
        used = frozenset(map(plugin_mark, find_concerned(change.before, change.after)))
        self._wake_marked(used)
        for namespace in {
            key[0]
            for key, marks in self._marks.items()
            if SIDECAR_MARK in marks and not used.isdisjoint(marks)
        }:
            self._wake_namespace(namespace)

    def _take_object(self, kind: Kind, change: Change[Shown]) -> None:
        """Wake the loops that an object concerns, or did before."""
        for shown in (change.before, change.after):
            if shown is not None:
                self._take_child(kind, shown)

    def _take_event(self, change: Change[CNPGEvent]) -> None:
        """Wake the resource of the Service that CloudNativePG writes about.

        The message names the plugin, which another Service may provide: its resource is woken, too.
        That an Event expires changes nothing.
        """
        event, namespace = change.after, change.key[0]
        if event is not None:
            marks = [service_mark(event.service), *map(plugin_mark, event.message.split())]
            self._wake_marked(marks, namespace)

    def take_lease(self, body: Body) -> None:
        """Wake a namespace where CloudNativePG's leader changes; most changes are renewals."""
        namespace, spec = body["metadata"]["namespace"], mapping(body.get("spec"))
        holder = (spec.get("holderIdentity"), spec.get("acquireTime"))
        if self._leaders.get(namespace) != holder:
            self._leaders[namespace] = holder
            self._wake_namespace(namespace)

    def _take_child(self, kind: Kind, shown: Shown) -> None:
        metadata = shown.metadata
        namespace = metadata["namespace"]
        if kind == SERVICE:
            provided = (metadata.get("labels") or {}).get(PROVIDED)
            marks = [plugin_mark(provided)] if provided else []
            self._wake_marked([*marks, service_mark(metadata["name"])], namespace)
        body = shown.read() if kind == DEPLOYMENT else None
        if looks_like_cnpg(body or {"metadata": metadata}):
            # The namespace's pass reads it, and wakes the plugins that it concerns.
            self._wake_namespace(namespace)
        elif names.labels.CHAIN in (metadata.get("labels") or {}):
            # The plugins trust its root, and sign with its keys; its pass tells them of the rest.
            self._wake_namespace(namespace)
            if kind == SECRET:
                self._wake(key for key in self._marks if key[0] == namespace)
        elif owners := owners_of(metadata):
            self._wake(key for owner in owners if (key := (namespace, owner)) in self._marks)
        elif kind == SECRET:
            self._wake_marked([secret_mark(metadata["name"])], namespace)

    def _wake_namespace(self, namespace: str) -> None:
        if namespace in self._namespaces:
            self._loops.wake((namespace,))

    def _wake_marked(self, marks: Iterable[str], namespace: str | None = None) -> None:
        """Wake the loops with one of these marks, in one namespace or in all of them."""
        wanted = frozenset(marks)
        self._wake(
            key
            for key, known in self._marks.items()
            if namespace in (None, key[0]) and not wanted.isdisjoint(known)
        )

    def _wake(self, keys: Iterable[Key]) -> None:
        for key in keys:
            self._loops.wake(key)


def _wanted(body: Body | None) -> object:
    """What a person asks for, and who the resource is."""
    if body is None:
        return None
    metadata = {key: value for key, value in body["metadata"].items() if key != "finalizers"}
    return metadata, body.get("spec")


def _is_held(body: Body) -> bool:
    return names.resource.FINALIZER in (body["metadata"].get("finalizers") or [])


def _shared(body: Body | None) -> object:
    """What the namespace's pass uses of a resource."""
    if body is None:
        return None
    status = read_status(body)
    conditions = [find_condition(status, kind) for kind in (Type.READY, Type.REGISTERED)]
    deleting = body["metadata"].get("deletionTimestamp")
    return (
        _wanted(body),
        shared_part(status),
        mapping(status.get("cnpg")).get("registeredRevision"),
        [(each.get("status"), each.get("observedGeneration")) for each in conditions],
        find_condition(status, Type.ACCEPTED).get("reason") if deleting else None,
    )


def owners_of(metadata: Body) -> frozenset[str]:
    """Name the resources that an object may belong to: its label or owner may have been removed."""
    label = (metadata.get("labels") or {}).get(names.labels.PLUGIN)
    references = metadata.get("ownerReferences") or []
    owners = {ref.get("name") for ref in references if ref.get("kind") == names.resource.KIND}
    return frozenset(str(name) for name in (label, *owners) if name)


def plugin_mark(name: str) -> str:
    """The mark of a resource for the plugin that it provides."""
    return f"plugin/{name}"


def secret_mark(name: str) -> str:
    """The mark of a resource for a Secret that it names."""
    return f"secret/{name}"


def service_mark(name: str) -> str:
    """The mark of a resource for its Service, and for one that it takes over."""
    return f"service/{name}"


SIDECAR_MARK: Final = "mode/Sidecar"
"""The mark of resources in mode Sidecar."""


def marks_of(name: str, spec: object) -> frozenset[str]:
    """Return the marks of a resource, whose spec may contain anything."""
    plugin = plugin_mark(str(mapping(spec).get("pluginName", "")))
    own = str(mapping(mapping(spec).get("service")).get("name") or name)
    taken = mapping(mapping(spec).get("takeOver")).get("serviceName")
    services = map(service_mark, [own, *([str(taken)] if taken else [])])
    mode = [SIDECAR_MARK] if names_sidecar(spec) else []
    return frozenset([plugin, *services, *mode, *map(secret_mark, bound(named_in(spec)))])
