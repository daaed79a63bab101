"""A Kubernetes API in memory: the operator's own client port, for passes without a cluster.

It merges server-side applies well enough for one owner of each field, and can fail at any request.
What real server-side apply does is tested against a real API server.
"""

import base64
import json
import marshal
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar, cast

from cnpg_plugin_operator import errors, names
from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.cluster.answers import well_formed
from cnpg_plugin_operator.cluster.client import Client, Page
from cnpg_plugin_operator.cluster.kinds import Kind
from tests.support.unit.server_side_apply import apply_part

JSON = TypeVar("JSON")

STATUS_MANAGERS = (names.managers.STATUS, names.managers.NAMESPACE)
"""The writers of a part of a resource's status."""

PART_MANAGERS = frozenset({names.managers.RESTART, names.managers.SIDECARS, names.managers.RECORDS})
"""The managers that apply a part of a foreign object."""


class FakeCluster(Client):
    """Holds objects by kind, namespace and name; `writes` says what was written."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str | None, str], dict[str, Any]] = {}
        self.writes: list[str] = []
        self.missing: set[str] = set()
        """Kinds that are not served."""
        self.unknown: dict[str, errors.ClusterError] = {}
        """Why the fact store knows nothing of a kind."""
        self.undeletable: set[Kind] = set()
        """Kinds of objects that the operator has no right to delete."""
        self.fail_at: int | None = None
        """Number of the write that fails, before or after it (`fail_after`)."""
        self.fail_after = False
        self.events: list[dict[str, Any]] = []
        """The operator's own Events, each once."""
        self.clock: Callable[[], datetime] | None = None
        """The clock for the times of writes, if there is one."""
        self.watch: Callable[[], None] = _look_away
        """Is called after every write."""
        self.invalid = ""
        """A text that the API server allows in no object."""
        self.forbidden = ""
        """A text that an admission policy allows in no object."""
        self.dry_runs = 0
        self.refused: Callable[[], None] = _look_away
        """Is called when an admission policy refuses."""
        self.kubernetes = "v1.33.4"
        """The version that the API server reports."""
        self._parts: dict[tuple[str, str], dict[str, Any]] = {}
        """What each manager applied last, by manager and uid."""
        self._uid = 0

    def put(self, kind: Kind, body: Mapping[str, Any]) -> dict[str, Any]:
        """Store an object as another program would."""
        stored = dict(_copy(body))
        self._uid += 1
        stored["metadata"].setdefault("uid", f"uid-{self._uid}")
        stored["metadata"].setdefault("creationTimestamp", "2026-03-01T11:00:00Z")
        self.objects[self._key(kind, stored["metadata"])] = stored
        self._touch(stored)
        return stored

    def the(self, kind: Kind, name: str, namespace: str = "cnpg-system") -> dict[str, Any]:
        """Read an object."""
        return self.objects[kind.kind, namespace if kind.namespaced else None, name]

    def read(self, secret: str, namespace: str = "cnpg-system") -> dict[str, bytes]:
        """Decode a Secret's data; empty if it does not exist."""
        body = self.objects.get(("Secret", namespace, secret), {})
        return {key: base64.b64decode(value) for key, value in body.get("data", {}).items()}

    async def get(self, kind: Kind, name: str, namespace: str | None = None) -> dict[str, Any]:
        self._check(kind)
        found = self.objects.get((kind.kind, namespace if kind.namespaced else None, name))
        if found is None:
            raise errors.NotFoundError(f"{kind.kind} {name}")
        return as_answered(found)

    async def list(
        self,
        kind: Kind,
        namespace: str | None = None,
        *,
        labels: str | None = None,
        fields: str | None = None,
        confirmed: bool = False,
    ) -> list[dict[str, Any]]:
        self._check(kind)
        own = (fields or "").startswith("metadata.name=") and kind is kinds.EVENT
        return [
            body
            for body in (self.events if own else self.all_of(kind))
            if namespace in (None, body["metadata"].get("namespace"))
            and selects(labels, body)
            and _has_name(fields, body)
        ]

    async def pages(
        self,
        kind: Kind,
        namespace: str | None = None,
        labels: str | None = None,
        fields: str | None = None,
    ) -> AsyncIterator[Page]:
        found = await self.list(kind, namespace, labels=labels, fields=fields)
        yield Page("", tuple(found))

    def all_of(self, kind: Kind) -> tuple[dict[str, Any], ...]:
        """Give all objects of a kind."""
        return tuple(map(as_answered, self.stored(kind)))

    def stored(self, kind: Kind) -> tuple[dict[str, Any], ...]:
        """Give all objects of a kind themselves, to be only read."""
        return tuple(body for (name, *_), body in self.objects.items() if name == kind.kind)

    async def served(self, api_version: str) -> frozenset[str]:
        """Serve cert-manager unless its kinds are missing."""
        return frozenset() if "Certificate" in self.missing else frozenset({"certificates"})

    async def version(self) -> str:
        """Return the version of Kubernetes."""
        return self.kubernetes

    async def apply(
        self,
        kind: Kind,
        body: Mapping[str, Any],
        *,
        manager: str,
        subresource: str | None = None,
        force: bool = True,
        dry_run: bool = False,
    ) -> dict[str, Any]:
        self._check(kind)
        self.dry_runs += dry_run
        key = self._key(kind, body["metadata"])
        self._fail(before=True)
        live = self.objects.get(key)
        self._compare(live, body)
        if self.invalid and subresource is None and self.invalid in json.dumps(body):
            raise errors.RejectedError(f"{kind.kind} {key[2]} is invalid: {self.invalid}")
        if self.forbidden and subresource is None and self.forbidden in json.dumps(body):
            self.refused()
            raise errors.ForbiddenError(f"{kind.kind} {key[2]} is forbidden: {self.forbidden}")
        if dry_run:
            return _copy(dict(body))
        self.writes.append(f"{kind.kind} {key[2]}" + (f"/{subresource}" if subresource else ""))
        if live is None:
            live = self.put(kind, {"apiVersion": kind.api_version, "kind": kind.kind, **body})
            live["metadata"]["generation"] = 1
        elif subresource:
            self._apply_status(live, body, manager)
        elif manager == names.managers.FINALIZER:
            live["metadata"]["finalizers"] = list(body["metadata"]["finalizers"])
        elif manager in PART_MANAGERS:
            self._apply_part(live, body, manager)
        else:
            self._merge(live, body)
        self._finish(key)
        return _copy(live)

    async def create(self, kind: Kind, body: Mapping[str, Any]) -> dict[str, Any]:
        name = body["metadata"]["name"] if kind is kinds.SECRET else body["reason"]
        self._fail(before=True)
        if self._key(kind, body["metadata"]) in self.objects or self._find_event(kind, body):
            raise errors.ConflictError(f"{kind.kind} {name} exists")
        self.writes.append(f"{kind.kind} {name}")
        if kind is kinds.SECRET:
            created = self.put(kind, body)
            self._finish(self._key(kind, body["metadata"]))
            return _copy(created)
        self.events.append(dict(_copy(body)))
        self._fail(before=False)
        return dict(_copy(body))

    async def merge_patch(
        self, kind: Kind, name: str, namespace: str | None, patch: Mapping[str, Any]
    ) -> dict[str, Any]:
        self._check(kind)
        self._fail(before=True)
        if event := self._find_event(kind, {"metadata": {"name": name}}):
            self.writes.append(f"patch {kind.kind} {event['reason']}")
            event.update(patch)
            return event
        live = self.objects.get((kind.kind, namespace, name))
        if live is None:
            raise errors.NotFoundError(f"{kind.kind} {name}")
        self.writes.append(f"patch {kind.kind} {name}")
        self._compare(live, {"metadata": {**live["metadata"], **patch.get("metadata", {})}})
        before, version = _copy(live.get("spec")), live["metadata"].get("resourceVersion")
        _merge_json(live, patch)
        live["metadata"]["resourceVersion"] = version
        if live.get("spec") != before:
            live["metadata"]["generation"] = live["metadata"].get("generation", 1) + 1
        self._finish((kind.kind, namespace, name))
        return _copy(live)

    async def delete(
        self, kind: Kind, name: str, namespace: str | None, *, uid: str | None = None
    ) -> None:
        self._check(kind)
        if kind in self.undeletable:
            raise errors.ForbiddenError(f"{kind.kind} {name}: cannot delete {kind.plural}")
        self._fail(before=True)
        key = (kind.kind, namespace if kind.namespaced else None, name)
        live = self.objects.get(key)
        if live is not None and uid not in (None, live["metadata"]["uid"]):
            raise errors.ConflictError(f"{kind.kind} {name} is another one now")
        self.writes.append(f"delete {kind.kind} {name}")
        if live is not None:
            live["metadata"]["deletionTimestamp"] = "2026-03-01T12:00:00Z"
            self._finish(key)
        else:
            self._fail(before=False)

    def _find_event(self, kind: Kind, body: Mapping[str, Any]) -> dict[str, Any] | None:
        """Find an Event of the operator's by the name of a body."""
        name = body["metadata"]["name"]
        own = self.events if kind is kinds.EVENT else []
        return next((each for each in own if each["metadata"]["name"] == name), None)

    def _merge(self, live: dict[str, Any], body: Mapping[str, Any]) -> None:
        """Replace the fields of the body; labels and annotations of others stay."""
        before = _copy(live.get("spec"))
        for field in ("labels", "annotations"):
            merged = {**live["metadata"].get(field, {}), **body["metadata"].get(field, {})}
            live["metadata"][field] = merged
        if "ownerReferences" in body["metadata"]:
            live["metadata"]["ownerReferences"] = _copy(body["metadata"]["ownerReferences"])
        for field, value in body.items():
            if field not in ("metadata", "apiVersion", "kind"):
                known = isinstance(live.get(field), dict) and isinstance(value, dict)
                live[field] = {**live[field], **_copy(value)} if known else _copy(value)
        if live.get("spec") != before:
            live["metadata"]["generation"] = live["metadata"].get("generation", 1) + 1

    def _apply_part(self, live: dict[str, Any], body: Mapping[str, Any], manager: str) -> None:
        """Merge the spec of one of several managers into a foreign object."""
        before, annotations = _copy(live["spec"]), body["metadata"].get("annotations") or {}
        part = _copy({"spec": body.get("spec") or {}, "metadata": {"annotations": annotations}})
        key = manager, live["metadata"]["uid"]
        apply_part(live, self._parts.get(key, {}), part)
        self._parts[key] = part
        if live["spec"] != before:
            live["metadata"]["generation"] = live["metadata"].get("generation", 1) + 1

    def applied_status(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Merge what the managers of a resource's status applied last."""
        merged: dict[str, Any] = {}
        for writer in STATUS_MANAGERS:
            apply_part(merged, {}, _copy(self._parts.get((writer, body["metadata"]["uid"]), {})))
        return merged

    def _apply_status(self, live: dict[str, Any], body: Mapping[str, Any], manager: str) -> None:
        """Apply one manager's part; what neither manager applied does not outlive a write."""
        self._parts[manager, live["metadata"]["uid"]] = _copy(dict(body["status"]))
        live["status"] = self.applied_status(live)

    def _touch(self, live: dict[str, Any]) -> None:
        """Record a write as the API server does."""
        metadata = live["metadata"]
        metadata["resourceVersion"] = str(int(metadata.get("resourceVersion", "0")) + 1)
        if self.clock is not None:
            stamp = self.clock().strftime("%Y-%m-%dT%H:%M:%SZ")
            metadata["managedFields"] = [{"manager": "fake", "time": stamp}]

    def _finish(self, key: tuple[str, str | None, str]) -> None:
        """Complete a write."""
        self._touch(self.objects[key])
        self._collect(key)
        self.watch()
        self._fail(before=False)

    @staticmethod
    def _compare(live: Mapping[str, Any] | None, body: Mapping[str, Any]) -> None:
        """Refuse a write that is based on another state than the present one."""
        for field in ("uid", "resourceVersion"):
            wanted = body["metadata"].get(field)
            if wanted is not None and (live is None or live["metadata"][field] != wanted):
                raise errors.ConflictError(f"{body['metadata']['name']} has another {field}")

    def _collect(self, key: tuple[str, str | None, str]) -> None:
        """Remove a deleted object once it has no finalizers."""
        metadata = self.objects[key]["metadata"]
        if metadata.get("deletionTimestamp") and not metadata.get("finalizers"):
            del self.objects[key]

    def _fail(self, *, before: bool) -> None:
        if self.fail_at is None or before == self.fail_after:
            return
        if len(self.writes) == self.fail_at + (0 if before else 1):
            self.fail_at = None
            raise errors.UnavailableError("the connection broke")

    def _check(self, kind: Kind) -> None:
        if kind.kind in self.missing:
            raise errors.KindMissingError(f"{kind.kind}: the cluster does not serve this kind")

    @staticmethod
    def _key(kind: Kind, metadata: Mapping[str, Any]) -> tuple[str, str | None, str]:
        return (kind.kind, metadata.get("namespace") if kind.namespaced else None, metadata["name"])


def _merge_json(live: dict[str, Any], patch: Mapping[str, Any]) -> None:
    """Merge as RFC 7396 says."""
    for key, value in patch.items():
        if value is None:
            live.pop(key, None)
        elif isinstance(value, Mapping):
            inner = live.setdefault(key, {})
            _merge_json(inner, value)
        else:
            live[key] = _copy(value)


def as_answered(stored: dict[str, Any]) -> dict[str, Any]:
    """Give a stored object as the operator's client does."""
    return well_formed(_copy(stored))


def _copy(value: JSON) -> JSON:
    """Copy JSON as a request does: of any depth, and fast."""
    try:
        copied: JSON = marshal.loads(marshal.dumps(cast("Any", value)))
    except ValueError:  # too deep for it, or not only built-in types
        copied = json.loads(json.dumps(value))
    return copied


def _look_away() -> None:
    """No watcher."""


def _has_name(fields: str | None, body: Mapping[str, Any]) -> bool:
    """Whether an object has the name that a field selector asks for; others select everything."""
    key, _, name = (fields or "").partition("=")
    return key != "metadata.name" or name == body["metadata"]["name"]


def selects(labels: str | None, body: Mapping[str, Any]) -> bool:
    own = body["metadata"].get("labels") or {}
    for part in (labels or "").split(","):
        key, equals, value = part.partition("=")
        if key and (key not in own or (equals and own[key] != value)):
            return False
    return True
