"""The class in which others change what the operator made, and CloudNativePG's Deployment."""

import asyncio
import base64
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, Final

from tests.campaign.admin import JSON_PATCH, MERGE, Object
from tests.campaign.lane import CNPG, Lane
from tests.campaign.oracle import KINDS
from tests.campaign.plans import Disturb, Plan, Recording, Recordings, RefusedError
from tests.campaign.workloads import NAME
from tests.support.e2e.api import ApiError

ODD: Final = "mutated"

_MADE: Final = ("app.kubernetes.io/managed-by", "cnpg-plugin-operator")
"""The label of what the operator made. What the chart made is not in its hands."""
_NOT_OURS: Final = ("cert-manager.io/", "controller.cert-manager.io/")
"""Prefixes of keys that cert-manager writes again, or not."""
_KEPT: Final = {
    "deployments": re.compile(
        r"\b(defaultMode|dnsPolicy|imagePullPolicy|progressDeadlineSeconds|restartPolicy|"
        r"revisionHistoryLimit|schedulerName|serviceAccount|successThreshold|timeoutSeconds|"
        r"terminationGracePeriodSeconds|terminationMessagePath|mountPath|env\.\d+\.name)$"
    ),
    "services": re.compile(r"\bports\.\d+\.name$"),
}
"""Fields that keep a change of others: those that the operator leaves to the API server, and keys
of lists, under which others have elements of their own. A port keeps its name, by which nodes find
its endpoints."""
_MARKS: Final = ("ownerReferences", "labels", "annotations")
"""By which a deletion finds what there is."""
HOLDING: Final = 8.0
"""Seconds for which a change lasts that is taken back."""

_STATUS: Final[tuple[tuple[str, str, Any], ...]] = (
    ("deployments", "availableReplicas", 0),
    ("deployments", "conditions", None),
    ("deployments", "observedGeneration", 999),
    ("certificates", "conditions", [{"type": "Ready", "status": "False", "reason": "Mutated"}]),
    ("certificates", "notAfter", "2001-01-01T00:00:00Z"),
    ("certificates", "renewalTime", "2001-01-01T00:00:00Z"),
    ("certificates", "revision", 999),
    ("cnpgplugins", "conditions", None),
    ("cnpgplugins", "certificates", None),
    ("cnpgplugins", "cnpg", None),
    ("cnpgplugins", "handshake", None),
    ("cnpgplugins", "observedGeneration", 999),
)
"""Fields of the status: of which kind, and what others write there."""


_ADDED: Final[tuple[tuple[str, str, dict[str, Any]], ...]] = (
    ("services", "server-name", {"metadata": {"annotations": {"cnpg.io/pluginServerName": "x"}}}),
    ("services", "touch", {"metadata": {"annotations": {"cnpgplugin.dev/touched-for": "x"}}}),
    ("services", "label", {"metadata": {"labels": {"cnpg.io/cluster": "x"}}}),
    ("services", "selector", {"spec": {"selector": {"app": "other"}}}),
    ("services", "type", {"spec": {"type": "NodePort"}}),
    ("services", "addresses", {"spec": {"externalIPs": ["192.0.2.1"]}}),
    ("services", "affinity", {"spec": {"sessionAffinity": "ClientIP"}}),
    ("services", "unready", {"spec": {"publishNotReadyAddresses": True}}),
    ("deployments", "paused", {"spec": {"paused": True}}),
    ("deployments", "label", {"metadata": {"labels": {"cnpg.io/pluginName": "x"}}}),
    ("certificates", "label", {"metadata": {"labels": {"cnpg.io/x": "x"}}}),
    ("serviceaccounts", "annotation", {"metadata": {"annotations": {"cnpg.io/x": "x"}}}),
)
"""Fields that others add: to which kind, what it is called, and the patch."""


def _pointer(*parts: str | int) -> str:
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in parts)


def _odd(value: Any) -> Any:
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case _:
            return ODD


def _leaves(value: Any, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Give each scalar of a tree with its path."""
    if isinstance(value, dict):
        for key in value:
            yield from _leaves(value[key], (*path, key))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _leaves(each, (*path, index))
    elif value is not None:
        yield path, value


Change = list[dict[str, Any]]
"""A JSON patch."""


def changes(body: Object) -> Iterator[tuple[str, Change]]:
    """Give every change of an object: what it is called, and how it is made."""
    for field in ("labels", "annotations"):
        for key in body.get(field, {}):
            if not key.startswith(_NOT_OURS):
                pointer = _pointer("metadata", field, key)
                yield f"{field}.{key}.changed", [replace(pointer, ODD)]
                yield f"{field}.{key}.removed", [_remove(pointer)]
    for field in ("ownerReferences", "finalizers"):
        if body.get(field):
            yield f"{field}.removed", [_remove(_pointer("metadata", field))]
    for path, value in _leaves(body.get("spec"), ("spec",)):
        yield ".".join(map(str, path)), [replace(_pointer(*path), _odd(value))]
    garbage = base64.b64encode(b"mutated").decode()
    for key in body.get("data", ()):
        yield f"data.{key}.changed", [replace(_pointer("data", key), garbage)]
        yield f"data.{key}.removed", [_remove(_pointer("data", key))]


def replace(pointer: str, value: Any) -> dict[str, Any]:
    """Build one step of a JSON patch."""
    return {"op": "replace", "path": pointer, "value": value}


def _remove(pointer: str) -> dict[str, Any]:
    return {"op": "remove", "path": pointer}


def _children(recording: Recording) -> Iterator[tuple[str, str, Object]]:
    """Give what the operator made: kind, name, and what it is."""
    for key, body in recording.state.items():
        plural, name = key.split("/", 1)
        if "#" not in name and _MADE in body.get("labels", {}).items():
            yield plural, name, body


@asynccontextmanager
async def happened() -> AsyncIterator[asyncio.Event]:
    """Say that the disturbance has happened."""
    event = asyncio.Event()
    event.set()
    yield event


def child(lane: Lane, plural: str, name: str) -> str:
    """The path of one object of a lane."""
    return f"{lane.path(plural, KINDS[plural])}/{name}"


async def patch(
    lane: Lane, path: str, change: Change | dict[str, Any], kind: str = MERGE
) -> Object:
    """Patch an object. Raises `RefusedError` where the API server refuses that."""
    try:
        return await lane.admin.patch(path, change, kind)
    except ApiError as error:
        raise RefusedError(str(error)) from error


def patched(plural: str, name: str, change: Change | dict[str, Any]) -> Disturb:
    """Change an object. Raises `RefusedError` where the API server refuses or ignores that."""

    @asynccontextmanager
    async def disturb(lane: Lane) -> AsyncIterator[asyncio.Event]:
        path, version = child(lane, plural, name), "resourceVersion"
        kind = JSON_PATCH if isinstance(change, list) else MERGE
        before = await lane.admin.get(path)
        after = await patch(lane, path, change, kind)
        if before["metadata"][version] == after["metadata"][version]:
            raise RefusedError(f"{path} stays as it was")
        async with happened() as event:
            yield event

    return disturb


def removed(plural: str, name: str) -> Disturb:
    """Delete an object."""

    @asynccontextmanager
    async def disturb(lane: Lane) -> AsyncIterator[asyncio.Event]:
        await lane.admin.delete(child(lane, plural, name))
        async with happened() as event:
            yield event

    return disturb


def restated(plural: str, name: str, field: str, value: Any) -> Disturb:
    """Change a field of an object's status."""

    @asynccontextmanager
    async def disturb(lane: Lane) -> AsyncIterator[asyncio.Event]:
        path = f"{child(lane, plural, name)}/status"
        await patch(lane, path, {"status": {field: value}})
        async with happened() as event:
            yield event

    return disturb


def mutations(recordings: Recordings) -> Iterator[Plan]:
    """Every field of every child, and of CloudNativePG's Deployment."""
    for workload in ("steady", "steady-own"):
        if (recording := recordings.get(workload)) is not None:
            for plural, name, body in _children(recording):
                for what, disturb in _disturbances(plural, name, body):
                    yield _mutation(recording, f"{plural}.{name}/{what}", disturb)
            for what, disturb in _restatements("cnpgplugins", NAME):
                yield _mutation(recording, f"cnpgplugins.{NAME}/{what}", disturb)
    if (recording := recordings.get("steady")) is not None:
        yield from _of_cnpg(recording)
        if (deleted := recordings.get("delete")) is not None:
            yield from _while_deleting(deleted, recording)


def _while_deleting(deleted: Recording, before: Recording) -> Iterator[Plan]:
    """A child loses a mark while its plugin is deleted."""
    for plural, name, body in _children(before):
        for what, change in changes(body):
            if what.startswith(_MARKS) and what.endswith("removed"):
                disturb = deleted_and_patched(plural, name, change)
                yield _mutation(deleted, f"{plural}.{name}/{what}", disturb)


def deleted_and_patched(plural: str, name: str, change: Change) -> Disturb:
    """Delete a plugin, and change an object before the operator has come to that."""

    @asynccontextmanager
    async def disturb(lane: Lane) -> AsyncIterator[asyncio.Event]:
        await lane.admin.delete(child(lane, "cnpgplugins", NAME))
        await patch(lane, child(lane, plural, name), change, JSON_PATCH)
        async with happened() as event:
            yield event

    return disturb


def _disturbances(plural: str, name: str, body: Object) -> Iterator[tuple[str, Disturb]]:
    """Give everything that is done to a child, and what it is called."""
    for what, change in changes(body):
        if plural not in _KEPT or not _KEPT[plural].search(what):
            yield what, patched(plural, name, change)
    for kind, what, added in _ADDED:
        if kind == plural:
            yield f"added.{what}", patched(plural, name, added)
    yield from _restatements(plural, name)
    yield "deleted", removed(plural, name)


def _restatements(plural: str, name: str) -> Iterator[tuple[str, Disturb]]:
    for kind, field, value in _STATUS:
        if kind == plural:
            yield f"status.{field}", restated(plural, name, field, value)


def _mutation(recording: Recording, what: str, disturb: Disturb) -> Plan:
    return Plan("mutation", recording.about, what, disturb, interrupts=True)


def _of_cnpg(recording: Recording) -> Iterator[Plan]:
    """CloudNativePG's Deployment, which is not the operator's: the change is taken back."""
    body = recording.state.get(f"deployments/{CNPG}", {})
    for what, change in changes(body):
        if "selector" in what or what.startswith("ownerReferences"):
            continue
        rolls = 2 if what.startswith("spec.template") else 0
        disturb = for_a_while("deployments", CNPG, change)
        name = f"deployments.{CNPG}/{what}"
        yield Plan("mutation", recording.about, name, disturb, interrupts=True, rolls=rolls)


def for_a_while(plural: str, name: str, change: Change) -> Disturb:
    """Change an object, and restore it some seconds later."""

    @asynccontextmanager
    async def disturb(lane: Lane) -> AsyncIterator[asyncio.Event]:
        path = child(lane, plural, name)
        back = _inverse(change, await lane.admin.get(path))
        async with patched(plural, name, change)(lane) as event:
            yield event
        await asyncio.sleep(HOLDING)
        await lane.admin.patch(path, back, JSON_PATCH)

    return disturb


def _inverse(change: Change, body: Object) -> Change:
    """Give the change that restores what an object had before."""

    def value(pointer: str) -> Any:
        found: Any = body
        for part in pointer.split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            found = found[int(key)] if isinstance(found, list) else found[key]
        return found

    restoring = {"remove": "add", "replace": "replace"}
    return [{**each, "op": restoring[each["op"]], "value": value(each["path"])} for each in change]
