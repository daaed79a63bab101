"""What must hold after every plan, and during it: always the same, whatever disturbed the operator.

The end state is that of the undisturbed run of the same workload; the checks know nothing of the
operator's code.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tests.campaign.admin import Admin, Object
from tests.campaign.calls import Call
from tests.support.e2e.api import APPS, CERT_MANAGER, CORE, PLUGINS, RBAC

MESSAGE_LIMIT: Final = 1024

KINDS: Final = {
    "cnpgplugins": PLUGINS,
    "deployments": APPS,
    "services": CORE,
    "secrets": CORE,
    "configmaps": CORE,
    "serviceaccounts": CORE,
    "certificates": CERT_MANAGER,
    "issuers": CERT_MANAGER,
    "roles": RBAC,
    "rolebindings": RBAC,
    "poddisruptionbudgets": "/apis/policy/v1",
    "networkpolicies": "/apis/networking.k8s.io/v1",
}
"""What is compared."""

_METADATA: Final = ("labels", "annotations", "finalizers")
_CHANCE: Final = re.compile(r"\b([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{8,64})\b")
"""Uids and digests."""
_TIME: Final = re.compile(r"\b\d{4}-\d\d-\d\dT[0-9:.]+(Z|\+00:00)")
_OTHERS: Final = frozenset(
    {
        "deployment.kubernetes.io/revision",
        "kubectl.kubernetes.io/last-applied-configuration",
        "cert-manager.io/private-key-name",
        "example.com/made-by",
        # When the operator rolled CloudNativePG: the next roll waits for that, in any case.
        "cnpgplugin.dev/sidecars-rolled-at",
        # That another certificate or endpoint was announced, or trusted, once.
        "cnpgplugin.dev/changed-at",
        "cnpgplugin.dev/replaces",
        "cnpgplugin.dev/trust-changed-at",
    }
)
"""Keys that others write, or that stay."""
_ASSIGNED: Final = frozenset({"clusterIP", "clusterIPs", "nodePort", "revision", "renewalTime"})

State = dict[str, Any]
"""What there is in a namespace, by kind and name, without what differs in each run."""


async def snapshot(admin: Admin, namespace: str) -> State:
    """Read everything that is compared."""
    found: State = {}
    for plural, root in KINDS.items():
        for body in await admin.list(f"{root}/namespaces/{namespace}/{plural}"):
            key = f"{plural}/{body['metadata']['name']}"
            found[_clean(key, namespace)] = normalize(body, namespace)
    return found


def normalize(body: Object, namespace: str) -> Object:
    """Keep of an object what is the same in each run."""
    metadata = body["metadata"]
    owners = [f"{o['kind']} {o['name']}" for o in metadata.get("ownerReferences") or ()]
    kept: Object = {key: metadata[key] for key in _METADATA if metadata.get(key)}
    kept |= {"ownerReferences": owners} if owners else {}
    kept["spec"] = body.get("spec")
    kept["data"] = sorted(body.get("data") or ())
    kept["rules"] = [body.get(key) for key in ("rules", "roleRef", "subjects")]
    conditions = (body.get("status") or {}).get("conditions") or ()
    if "pluginName" in (body.get("spec") or {}):
        kept["conditions"] = {c["type"]: f"{c['status']} {c['reason']}" for c in conditions}
    cleaned: Object = _clean(kept, namespace)
    return cleaned


def _clean(value: Any, namespace: str) -> Any:
    match value:
        case dict():
            return {
                key: _clean(each, namespace)
                for key, each in value.items()
                if key not in _OTHERS and key not in _ASSIGNED
            }
        case list():
            return [_clean(each, namespace) for each in value]
        case str():
            plain = _TIME.sub("<time>", value).replace(namespace, "<lane>")
            return _CHANCE.sub("#", plain)
        case _:
            return value


def differences(expected: Any, found: Any, path: str = "") -> Iterator[str]:
    """Say where two states differ."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for key in sorted({*expected, *found}):
            yield from differences(expected.get(key), found.get(key), f"{path}/{key}")
    elif expected != found:
        yield f"{path}: {_short(found)}, not {_short(expected)}"


def _short(value: Any) -> str:
    text = "absent" if value is None else str(value)
    return text if len(text) <= 200 else f"{text[:200]}…"


@dataclass
class Seen:
    """What was observed while a plan ran."""

    messages: set[str] = field(default_factory=set)
    """Of conditions and Events."""
    services: dict[str, str] = field(default_factory=dict)
    """The Services that have CloudNativePG's label, and the plugin that each announces."""
    unproven: list[str] = field(default_factory=list)
    """Announced plugins that did not answer at that moment, and why."""
    failed: list[str] = field(default_factory=list)
    """Calls of the probe."""
    calls: int = 0
    """How many calls of the probe there were."""
    rolls: int = 0
    """How often CloudNativePG's pods were replaced."""

    @property
    def announced(self) -> set[str]:
        """The plugins that CloudNativePG sees."""
        return set(self.services.values())

    def faults(self, *, may_interrupt: bool, rolls: range) -> Iterator[str]:
        """Say what must not have happened."""
        for message in sorted(self.messages):
            if not message.isprintable() or len(message.encode()) > MESSAGE_LIMIT:
                yield f"a message is not printable, or too long: {message[:200]!r}"
        yield from (f"announced without proof: {each}" for each in self.unproven)
        if not may_interrupt:
            yield from (f"a call failed: {each}" for each in self.failed[:3])
        if self.rolls not in rolls:
            yield f"CloudNativePG was rolled {self.rolls} times, not {rolls[0]} to {rolls[-1]}"


def judge_requests(calls: Sequence[Call], usual: int, explained: int = 0) -> Iterator[str]:
    """Say where there were more requests than a disturbance explains."""
    most = 3 * usual + 200 + explained
    if len(calls) > most:
        yield f"{len(calls)} requests; {usual} in the undisturbed run, {most} at most"


def judge_leftovers(before: Iterable[str], after: Mapping[str, Any]) -> Iterator[str]:
    """Say what is there after everything was deleted that was not there before, or is lost."""
    known = set(before)
    yield from (f"left behind: {key}" for key in sorted(set(after) - known))
    yield from (f"deleted, but not ours: {key}" for key in sorted(known - set(after)))
