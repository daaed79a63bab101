"""Whom an event wakes: the one place where what kopf hears of becomes wake-ups. No kopf.

An event carries no meaning of its own: the passes that it wakes read the cluster again. So it is
better to wake one loop too many than to interpret an object.
"""

from collections.abc import Container, Iterable, Mapping
from typing import Any, Final

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.plugin import names_sidecar
from cnpg_plugin_operator.cluster.clusters import plugins_of
from cnpg_plugin_operator.cluster.cnpg import looks_like_cnpg
from cnpg_plugin_operator.cluster.kinds import CLUSTER, PLUGIN, SECRET, SERVICE, Kind
from cnpg_plugin_operator.cluster.private_secrets import bound, named_in
from cnpg_plugin_operator.watch.loops import Loops


class Wakeups:
    """Wakes the loops that an event concerns."""

    def __init__(self, loops: Loops, namespaces: Container[str]) -> None:
        self._loops = loops
        self._namespaces = namespaces
        """The managed ones: only they have a pass of what their plugins share."""
        self._provided: dict[str, str] = {}
        """By the uid of a Service, the plugin that it provides: a label that changes concerns whom
        it named, too."""

    def take(self, kind: Kind, body: Mapping[str, Any], *, deleted: bool) -> None:
        """Wake whom an event of this object concerns."""
        if kind == PLUGIN:
            self._take_plugin(body)
        elif kind == CLUSTER:
            self._take_cluster(frozenset(map(plugin_mark, plugins_of(body.get("spec") or {}))))
        else:
            if kind == SERVICE:
                self._take_service(body["metadata"], deleted=deleted)
            self._take_child(kind, body)

    def _take_plugin(self, body: Mapping[str, Any]) -> None:
        key = (body["metadata"]["namespace"], body["metadata"]["name"])
        self._loops.wake(key)
        self._loops.learn(key, marks_of(body.get("spec") or {}))
        self._wake_namespace(key[0])

    def _take_cluster(self, used: frozenset[str]) -> None:
        """Wake the plugins that a Cluster uses; sidecars among them concern their namespace."""
        self._wake_marked(used)
        hosted = self._loops.find(
            lambda _, known: SIDECAR_MARK in known and not used.isdisjoint(known)
        )
        for namespace in {key[0] for key in hosted}:
            self._wake_namespace(namespace)

    def _take_service(self, metadata: Mapping[str, Any], *, deleted: bool) -> None:
        """Wake whom a Service provides a plugin for, or did."""
        name = str((metadata.get("labels") or {}).get(names.cnpg.PLUGIN_NAME) or "")
        before = self._provided.pop(metadata["uid"], "")
        if name and not deleted:
            self._provided[metadata["uid"]] = name
        marks = [plugin_mark(each) for each in (name, before) if each]
        self._wake_marked(marks, metadata["namespace"])

    def _take_child(self, kind: Kind, body: Mapping[str, Any]) -> None:
        metadata = body["metadata"]
        namespace = metadata["namespace"]
        if looks_like_cnpg(body):
            # The namespace's pass reads it, and wakes the plugins for whom that matters.
            self._wake_namespace(namespace)
        elif names.labels.CHAIN in (metadata.get("labels") or {}):
            self._loops.wake_where(lambda key, _: key[0] == namespace)
        elif keys := {(namespace, owner) for owner in owners_of(metadata)}:
            self._loops.wake_where(lambda key, _: key in keys)
        elif kind == SECRET:
            self._wake_marked([secret_mark(metadata["name"])], namespace)

    def _wake_namespace(self, namespace: str) -> None:
        if namespace in self._namespaces:
            self._loops.wake((namespace,))

    def _wake_marked(self, marks: Iterable[str], namespace: str | None = None) -> None:
        """Wake what is known by one of these marks, in one namespace or in all of them."""
        wanted = frozenset(marks)
        self._loops.wake_where(
            lambda key, known: namespace in (None, key[0]) and not wanted.isdisjoint(known)
        )


def owners_of(metadata: Mapping[str, Any]) -> frozenset[str]:
    """Name the resources that an object may belong to: one of its marks may have been removed."""
    label = (metadata.get("labels") or {}).get(names.labels.PLUGIN)
    references = metadata.get("ownerReferences") or []
    owners = {ref.get("name") for ref in references if ref.get("kind") == names.resource.KIND}
    return frozenset(str(name) for name in (label, *owners) if name)


def plugin_mark(name: str) -> str:
    """How a resource is found again by the plugin it provides."""
    return f"plugin/{name}"


def secret_mark(name: str) -> str:
    """How a resource is found again by a Secret that it names."""
    return f"secret/{name}"


SIDECAR_MARK: Final = "mode/Sidecar"
"""How resources in mode Sidecar are found again."""


def marks_of(spec: Mapping[str, Any]) -> frozenset[str]:
    """Give what a resource is to be found again by; its spec may hold anything."""
    plugin = plugin_mark(str(spec.get("pluginName", "")))
    mode = [SIDECAR_MARK] if names_sidecar(spec) else []
    return frozenset([plugin, *mode, *map(secret_mark, bound(named_in(spec)))])
