"""Passes that write nothing: what `diagnose` uses instead of the cluster's applier and handshakes.

A write is described and, as far as that is honest, taken for done, so that the pass goes on with
what would be there next. Where nothing can tell what comes next, the pass ends there. No value of
a Secret is described.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, Final

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.conditions import Reason, Status, Type, read_verdict
from cnpg_plugin_operator.api.untrusted import mapping, printable
from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.decide.facts.plugin import (
    IDENTITY_KEYS,
    Endpoint,
    HandshakeOutcome,
    Identity,
    Material,
)
from cnpg_plugin_operator.desired.drift import find_differences
from cnpg_plugin_operator.desired.objects import Object, read_stamp
from cnpg_plugin_operator.desired.surplus import find_surplus
from cnpg_plugin_operator.errors import UnforeseeableError
from cnpg_plugin_operator.reconcile import writes
from cnpg_plugin_operator.reconcile.applying import issue_pair
from cnpg_plugin_operator.reconcile.environment import Applied, Handshaker
from cnpg_plugin_operator.reconcile.writes import Write

VALUE_LIMIT: Final = 80
"""Characters of a value that are shown."""

MOST_CHANGES: Final = 12
"""Changes of one object that are shown."""

HANDSHAKE_DEPENDS_ON: Final = frozenset(
    {kinds.SECRET.kind, kinds.DEPLOYMENT.kind, kinds.SERVICE.kind}
)
"""Kinds whose writes a handshake has to wait for."""


@dataclass(frozen=True, slots=True)
class Described:
    """One write that a pass would make."""

    verb: str
    kind: str
    namespace: str
    """Empty for an object without one."""
    name: str
    changes: tuple[str, ...] = ()
    """The fields that differ with both values, or what the write is for."""


@dataclass(slots=True)
class Recorder:
    """Describes the writes of a pass instead of making them."""

    writes: list[Described] = field(default_factory=list)

    def take(self) -> tuple[Described, ...]:
        """Give what was described since the last time."""
        taken, self.writes = tuple(self.writes), []
        return taken

    async def apply(self, write: Write, live: Mapping[str, Any] | None) -> Applied:
        """Describe one write; an object that is applied is there from then on."""
        after: Mapping[str, Any] | None = None
        verb, (kind, namespace, name) = "patch", write.place
        changes: tuple[str, ...] = (write.purpose,)
        match write:
            case writes.Apply(body):
                verb, changes = "create" if live is None else "apply", (*find_changes(body, live),)
                if live is not None and not changes:
                    return Applied(live, written=False)
                after = foresee(body, live)
            case writes.WriteSecret(body, known):
                verb = "create" if known is None else "apply"
                after = foresee(body, known.body if known is not None else None)
            case writes.IssuePair():
                verb = "create" if live is None else "apply"
                after = foresee(await issue_pair(write, lambda _: nullcontext()), live)
            case writes.RestoreMarks(known, marks, data):
                after = _merge(dict(known.body), {"metadata": dict(marks), "data": dict(data)})
            case writes.Delete():
                verb = "delete"
            case writes.RecordEvent():
                verb = "create"
            case _:
                pass
        self.writes.append(Described(verb, kind, namespace, name, changes))
        return Applied(after)


def find_changes(body: Object, live: Mapping[str, Any] | None) -> Iterator[str]:
    """Describe how an object would change; nothing where it stays or does not exist."""
    if live is None:
        return
    surplus = find_surplus(body, live)
    if surplus is not None:
        yield f"remove {surplus.field.removeprefix('.')}"
    secret, found = body["kind"] == kinds.SECRET.kind, 0
    for each in find_differences(body, live):
        path = each.path.removeprefix(".")
        if path == f"metadata.annotations.{names.annotations.DESIRED}":
            continue
        found += 1
        if found <= MOST_CHANGES:
            yield path if secret else f"{path} {_show(each.live)} → {_show(each.wanted)}"
    if found > MOST_CHANGES:
        yield f"and {found - MOST_CHANGES} more"
    if not found and surplus is None and read_stamp(body) != read_stamp(live):
        yield "remove fields that are no longer wanted"


def foresee(body: Object, live: Mapping[str, Any] | None) -> dict[str, Any]:
    """Foresee an object after it was applied; what controllers make of it is not foreseen."""
    before = json.loads(json.dumps(live or {}))
    after: dict[str, Any] = _merge(before, json.loads(json.dumps(body)))
    metadata = after["metadata"]
    metadata.setdefault("uid", "")
    metadata.setdefault("resourceVersion", "")
    if after.get("spec") != (live or {}).get("spec"):
        metadata["generation"] = int(metadata.get("generation", 0)) + 1
    return after


def _merge(live: Any, wanted: Any) -> Any:  # noqa: ANN401 - JSON of any shape
    if not isinstance(live, dict) or not isinstance(wanted, dict):
        return wanted
    return {**live, **{key: _merge(live.get(key), value) for key, value in wanted.items()}}


def _show(value: object) -> str:
    if value is None:
        return "(none)"
    text = printable(json.dumps(value, ensure_ascii=False))
    return text if len(text) <= VALUE_LIMIT else f"{text[:VALUE_LIMIT]}…"


@dataclass(slots=True)
class CautiousHandshaker:
    """Performs a handshake if that shows what the operator would find; else uses the status."""

    recorder: Recorder
    real: Handshaker | None
    """None where none is to be made."""
    in_cluster: bool
    """Whether this process reaches what the operator's pod reaches."""
    status: Mapping[str, Any] = field(default_factory=dict)
    """Of the resource that is looked at."""
    assumed: str = ""
    """Why the last handshake was not made, or does not count."""

    async def shake(
        self,
        endpoint: Endpoint,
        material: Material,
        timeout: float,  # noqa: ASYNC109 - a value
    ) -> HandshakeOutcome:
        """Perform one handshake, or give the outcome that the status tells.

        Raises `UnforeseeableError` where neither tells anything.
        """
        if any(write.kind in HANDSHAKE_DEPENDS_ON for write in self.recorder.writes):
            raise UnforeseeableError("the handshake, once these writes are made")
        self.assumed = "no handshake was asked for"
        if self.real is not None:
            outcome = await self.real.shake(endpoint, material, timeout)
            if self.in_cluster or outcome.reason is not Reason.UNREACHABLE:
                self.assumed = ""
                return outcome
            self.assumed = f"the plugin cannot be reached from here ({outcome.message})"
        return self._assume()

    def _assume(self) -> HandshakeOutcome:
        known = read_verdict(self.status, Type.HANDSHAKE_SUCCEEDED)
        if known is None or known.status is Status.UNKNOWN:
            raise UnforeseeableError(
                f"the handshake: {self.assumed}; run this command in the operator's pod"
            )
        said = mapping(self.status.get("plugin"))
        texts = {field: str(said.get(key, "")) for key, field in IDENTITY_KEYS.items()}
        identity = Identity(**texts, capabilities=tuple(said.get("capabilities") or ()))
        message = f"As the status says, for {self.assumed}: {known.message}"
        return HandshakeOutcome(known.reason, message, identity if known.is_true else None)
