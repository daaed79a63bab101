"""The course of one plugin from `kubectl apply` to Ready: who did what, and who waited for whom.

Told from outside: the operator's requests in the audit log, and the changes of objects by others.
"""

import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from tests.bench.audit import AuditLog, Request
from tests.bench.environment import AFTERMATH_SECONDS, Bench, pause
from tests.bench.plugins import PATIENCE
from tests.cluster.progress import heartbeat
from tests.demo.installing import CNPG_NAMESPACE
from tests.support import wait
from tests.support.e2e.api import (
    APPS,
    CERT_MANAGER,
    CORE,
    PLUGINS,
    Change,
    Object,
    Recorder,
)

NAME: Final = "timeline"
OPERATOR: Final = "operator"
READS: Final = "reads"
WATCHED: Final = {
    f"{PLUGINS}/namespaces/{CNPG_NAMESPACE}/cnpgplugins": OPERATOR,
    f"{CERT_MANAGER}/namespaces/{CNPG_NAMESPACE}/certificates": "cert-manager",
    f"{APPS}/namespaces/{CNPG_NAMESPACE}/deployments": "Kubernetes",
    f"{CORE}/namespaces/{CNPG_NAMESPACE}/pods": "Kubernetes",
    f"{CORE}/namespaces/{CNPG_NAMESPACE}/events": "CNPG",
}
"""What is watched, and who changes it while a plugin comes up."""


@dataclass(frozen=True)
class Step:
    """Something that happened, in seconds after the apply."""

    at: float
    who: str
    what: str


def follow(bench: Bench) -> list[str]:
    """Apply a plugin, and tell its course."""
    audit = AuditLog(bench.cluster.audit_log)
    with heartbeat("following one plugin"), ExitStack() as stack:
        recorders = {
            who: [
                stack.enter_context(Recorder(bench.api, path))
                for path, by in WATCHED.items()
                if by == who
            ]
            for who in WATCHED.values()
        }
        begun, clock = time.monotonic(), time.time()
        bench.plugins.apply(NAME)
        [resources] = recorders[OPERATOR]
        ready = wait.until("it is Ready", lambda: resources.first(_is_ready), within=PATIENCE)
        pause(AFTERMATH_SECONDS)
    steps = [Step(ready - begun, OPERATOR, "Ready")]
    steps += [_asked(request, clock) for request in audit.requests()]
    for who, watches in recorders.items():
        changes = [change for each in watches for change in each.changes]
        steps += list(_happened(who, changes, begun))
    until = ready - begun + 1e-6
    return tell(step for step in steps if 0 <= step.at <= until)


def _asked(request: Request, clock: float) -> Step:
    what = f"{request.verb} {request.subject}" if request.writes else READS
    return Step(_seconds(request.at) - clock, OPERATOR, what)


def _seconds(moment: datetime) -> float:
    return moment.timestamp()


def _happened(who: str, changes: Iterable[Change], begun: float) -> Iterator[Step]:
    """Give the changes of the plugin's objects by others."""
    known: set[str] = set()
    for change in changes:
        for what in _describe(change.object):
            if NAME in change.name and what not in known:
                known.add(what)
                yield Step(change.at - begun, who, what)


def _describe(body: Object) -> list[str]:
    """Say what can be seen of an object: its true conditions, or what an Event says."""
    kind, name = body.get("kind", ""), body["metadata"]["name"]
    if kind == "Event":
        return [f"Event {body['reason']}"] if body["reason"] == "PluginRegistered" else []
    if kind == "CNPGPlugin":
        return []
    conditions = (body.get("status") or {}).get("conditions") or []
    subject = kind if kind == "Pod" else f"{kind} {name}"
    true = [str(each["type"]) for each in conditions if each["status"] == "True"]
    return [f"{subject} is {each}" for each in true]


def tell(steps: Iterable[Step]) -> list[str]:
    """Write the steps in order, each with the time since the previous one.

    The operator reads while it waits, so reads are no steps: their time belongs to the step that
    ends it.
    """
    lines = ["timeline of one plugin: seconds, since the previous step, who, what"]
    previous, reads, shares = 0.0, 0, dict[str, float]()
    for step in sorted(steps, key=lambda step: step.at):
        if step.what == READS:
            reads += 1
            continue
        gap = step.at - previous
        after = f"  (after {reads} {READS})" if reads else ""
        lines.append(f"{step.at:7.3f}  +{gap:.3f}  {step.who:12}  {step.what}{after}")
        shares[step.who] = shares.get(step.who, 0.0) + gap
        previous, reads = step.at, 0
    told = ", ".join(f"{who} {seconds:.2f} s" for who, seconds in shares.items())
    return [*lines, f"steps ended by: {told}"]


def _is_ready(resource: Object) -> bool:
    conditions = (resource.get("status") or {}).get("conditions") or []
    ready = {each["type"]: each["status"] for each in conditions}.get("Ready")
    return resource["metadata"]["name"] == NAME and ready == "True"
