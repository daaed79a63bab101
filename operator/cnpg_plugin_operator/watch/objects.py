"""The objects that watches have shown, so that passes need not read them again.

Each is kept as text, without the details of managed fields: a fraction of what it takes as Python
objects. Of Secrets, which contain private keys, only certificates and what was read of the pair are
kept. An event wakes only if it changes what decisions use (`COUNTS`). As long as a watch may have
missed something, nothing of its kind is known, and passes read.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from cnpg_plugin_operator import errors
from cnpg_plugin_operator.api.conditions import find_condition
from cnpg_plugin_operator.api.untrusted import mapping, objects
from cnpg_plugin_operator.cluster import observe
from cnpg_plugin_operator.cluster.addresses import label_selector
from cnpg_plugin_operator.cluster.answers import well_formed
from cnpg_plugin_operator.cluster.kinds import (
    CERTIFICATE,
    DEPLOYMENT,
    POD,
    POD_DISRUPTION_BUDGET,
    SECRET,
    Kind,
)
from cnpg_plugin_operator.cluster.plugins import UNUSED
from cnpg_plugin_operator.cluster.secrets import drop_keys
from cnpg_plugin_operator.cluster.snapshot import OWN as OWN_LABELS
from cnpg_plugin_operator.decide.facts.plugin import PairFacts
from cnpg_plugin_operator.watch.facts import Change, FactStore, Table
from cnpg_plugin_operator.watch.kinds import MANAGED, OWN

Body = Mapping[str, Any]

OWN_LABEL: Final = label_selector(OWN_LABELS)
"""The selector of the watches of `OWN` kinds, which show no other objects."""

_REVISION: Final = "deployment.kubernetes.io/revision"
"""Kubernetes counts the templates of a Deployment in this annotation."""


@dataclass(slots=True)
class Shown:
    """An object as it was shown last; two are equal where nothing that counts differs."""

    counts: bytes
    """A digest."""
    metadata: Body = field(compare=False)
    """Without what every write changes."""
    text: str = field(compare=False, repr=False)
    """All of it, but no private key."""
    pair: PairFacts | None = field(compare=False)
    """What was read of a Secret."""
    _shared: dict[str, Any] | None = field(compare=False, repr=False, default=None)

    def read(self) -> dict[str, Any]:
        """Give the object, which the caller may change."""
        found: dict[str, Any] = json.loads(self.text)
        return found

    def share(self) -> dict[str, Any]:
        """Give the object to those who change nothing of it: all passes get the same."""
        if self._shared is None:
            self._shared = self.read()
        return self._shared


def _notify_none(_kind: Kind, _change: Change[Shown]) -> None:
    """Nothing depends on the objects yet."""


class ObjectStore:
    """The objects of the kinds that kopf watches in the managed namespaces."""

    def __init__(self, facts: FactStore) -> None:
        self._facts = facts
        """Has the kinds that are not kept here."""
        self.notify: Callable[[Kind, Change[Shown]], None] = _notify_none
        """Is called with every change that counts."""
        self._tables: dict[tuple[Kind, str], Table[Shown]] = {}

    def table(self, kind: Kind, namespace: str) -> Table[Shown]:
        """Give the table of a kind in a namespace."""
        found = self._tables.get((kind, namespace))
        if found is None:
            found = self._tables[kind, namespace] = Table(kind, partial(self.project, kind))
            found.notify = partial(self._tell, kind)
        return found

    def project(self, kind: Kind, body: Body) -> Shown:
        """Keep what counts of an object."""
        return project_object(kind, body)

    def find(self, kind: Kind, namespace: str | None, name: str) -> dict[str, Any] | None:
        """Give an object; None where it is not known."""
        if kind not in MANAGED or kind == SECRET or namespace is None:
            return None
        found = self.table(kind, namespace).get((namespace, name))
        return found.read() if found is not None else None

    def find_secret(
        self, namespace: str, name: str
    ) -> tuple[dict[str, Any], PairFacts | None] | None:
        """Give what is public of a Secret; None where it is not known."""
        found = self.table(SECRET, namespace).get((namespace, name))
        return (found.read(), found.pair) if found is not None else None

    def lacks(self, kind: Kind, namespace: str | None, name: str) -> bool:
        """Whether it is known that there is no such object."""
        if kind not in MANAGED or kind in OWN or namespace is None:
            return False
        return self.table(kind, namespace).lacks((namespace, name))

    def select(
        self, kind: Kind, namespace: str | None, labels: str | None
    ) -> list[dict[str, Any]] | None:
        """Give all objects that a selector matches, to be only read; None where any is unknown."""
        wanted = labels.split(",") if labels else []
        if kind not in MANAGED or kind == SECRET or namespace is None:
            return None
        table = self.table(kind, namespace)
        if table.error is not None or (kind in OWN and OWN_LABEL not in wanted):
            return None
        return [each.share() for each in table.values() if _matches(each.metadata, wanted)]

    def see(self, kind: Kind, body: Body, *, deleted: bool = False) -> None:
        """Learn from a watch how an object is, or that it is gone."""
        self.table(kind, body["metadata"]["namespace"]).take(body, deleted=deleted)

    def take(self, kind: Kind, body: Body) -> None:
        """Learn how an object is since a write of this operator."""
        if kind in MANAGED:
            self.table(kind, body["metadata"]["namespace"]).take(body, written=True)
        else:
            self._facts.wrote(kind, body)

    def forget(self, kind: Kind, namespace: str | None, name: str) -> None:
        """Forget an object whose deletion was requested: its watch tells how it went."""
        if kind in MANAGED and namespace is not None:
            self.table(kind, namespace).forget((namespace, name))

    def distrust(self) -> None:
        """Let passes read until each kind is listed again: the watches have ended."""
        for table in self._tables.values():
            table.error = errors.UnavailableError(f"{table.kind.plural} are not watched")

    def _tell(self, kind: Kind, change: Change[Shown]) -> None:
        self.notify(kind, change)


def project_object(kind: Kind, body: Body) -> Shown:
    """Keep what counts of an object."""
    body = well_formed({**body, "metadata": dict(body["metadata"])})
    metadata = body["metadata"]
    counts = COUNTS.get(kind, _everything)(body)
    kept = {key: value for key, value in metadata.items() if key not in UNUSED}
    annotations = metadata.get("annotations") or {}
    kept["annotations"] = {k: text for k, text in annotations.items() if k != _REVISION}
    text = json.dumps([kept, counts], sort_keys=True, default=str)
    if "managedFields" in metadata:
        metadata["managedFields"] = list(map(_slim, metadata["managedFields"]))
    public, pair = drop_keys(body) if kind == SECRET else (body, None)
    return Shown(hashlib.sha256(text.encode()).digest(), kept, json.dumps(public), pair)


def _slim(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Keep of a field manager what it manages at the top."""
    return {**entry, "fieldsV1": {key: {} for key in mapping(entry.get("fieldsV1"))}}


def _everything(body: Body) -> object:
    return {
        key: value for key, value in body.items() if key not in ("metadata", "kind", "apiVersion")
    }


def _deployment(body: Body) -> object:
    """All but when conditions were looked at."""
    status = {**mapping(body.get("status"))}
    conditions = [
        {key: value for key, value in each.items() if not key.startswith("last")}
        for each in objects(status.pop("conditions", None))
    ]
    return [body.get("spec"), status, conditions]


def _pod(body: Body) -> object:
    """What is read of it."""
    return repr(observe.read_pods([body]))


def _certificate(body: Body) -> object:
    """All but the steps of its issuance."""
    status = mapping(body.get("status"))
    ready = find_condition(status, "Ready")
    return [
        body.get("spec"),
        ready,
        status.get("failedIssuanceAttempts"),
        status.get("renewalTime"),
    ]


def _budget(body: Body) -> object:
    """What is wanted: its status changes with every pod."""
    return body.get("spec")


COUNTS: Final[Mapping[Kind, Callable[[Body], object]]] = {
    DEPLOYMENT: _deployment,
    POD: _pod,
    CERTIFICATE: _certificate,
    POD_DISRUPTION_BUDGET: _budget,
}
"""What counts of an object beside its metadata; of other kinds, everything."""


def _matches(metadata: Body, wanted: Iterable[str]) -> bool:
    """Whether labels match a selector of this program: labels with a value, or only present."""
    labels = metadata.get("labels") or {}
    for each in wanted:
        key, equals, value = each.partition("=")
        if key not in labels or (equals and labels[key] != value):
            return False
    return True
