"""`status`: every plugin on one screen, from what the operator has reported.

It reads resources and, where the user may, Clusters; it loads no client, calls no plugin and
decides nothing.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from cnpg_plugin_operator import errors
from cnpg_plugin_operator.api.conditions import (
    SUMMED_UP,
    Reason,
    Status,
    Type,
    Verdict,
    read_verdict,
)
from cnpg_plugin_operator.api.screen import fold, show
from cnpg_plugin_operator.api.status import read_status
from cnpg_plugin_operator.api.times import display_time, read_time
from cnpg_plugin_operator.api.untrusted import mapping, printable
from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.decide.facts.cnpg import plugins_of
from cnpg_plugin_operator.decide.facts.version_skew import read_skew
from cnpg_plugin_operator.kubectl.access import Kubectl
from cnpg_plugin_operator.kubectl.output import Style, write_table

RESTARTS: Final = frozenset(
    {
        Reason.RESTART_PENDING,
        Reason.RESTARTING,
        Reason.RESTART_FORBIDDEN,
        Reason.RESTART_STUCK,
        Reason.RESTART_REVERTED,
        Reason.SIDECAR_PENDING,
    }
)
"""Reasons of plugins for which CloudNativePG has to restart, or to roll out."""

MEANINGS: Final[Mapping[str, str]] = {"True": "good", "False": "bad", "Unknown": "open"}

_SHOWN_CLUSTERS: Final = 5

Report = dict[str, Any]
"""What is told of one plugin: `docs/kubectl-plugin.md` has its fields, which only ever grow."""


def find_users(kubectl: Kubectl) -> Mapping[str, Sequence[str]] | None:
    """Read which Clusters use which plugin; None where the user may not, or nothing is served."""
    users: dict[str, list[str]] = defaultdict(list)
    try:
        for body in kubectl.list(kinds.CLUSTER):
            metadata = body["metadata"]
            for plugin in plugins_of(mapping(body.get("spec"))):
                users[plugin].append(f"{metadata['namespace']}/{metadata['name']}")
    except (errors.ForbiddenError, errors.KindMissingError):
        return None
    return users


def report(
    body: Mapping[str, Any], users: Mapping[str, Sequence[str]] | None, now: datetime
) -> Report:
    """Tell what the operator has reported of one plugin."""
    metadata, spec, status = body["metadata"], mapping(body.get("spec")), read_status(body)
    ready = read_verdict(status, Type.READY)
    cnpg, clusters = mapping(status.get("cnpg")), mapping(status.get("clusters"))
    name = str(spec.get("pluginName", ""))
    return {
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "pluginName": name,
        "version": str(mapping(status.get("plugin")).get("version", "")),
        "mode": str(spec.get("mode") or "Standalone"),
        "ready": str(ready.status if ready else Status.UNKNOWN),
        "reason": str(ready.reason if ready else Reason.NOT_YET_REPORTED),
        "message": ready.message if ready else "The operator has not reported anything yet.",
        "suspended": bool(spec.get("suspend")),
        "deleting": bool(metadata.get("deletionTimestamp")),
        "upToDate": status.get("observedGeneration") == metadata.get("generation"),
        "conditions": [_condition(kind, read_verdict(status, kind)) for kind in SUMMED_UP],
        "certificates": {
            role: _certificate(mapping(pair), now)
            for role, pair in mapping(status.get("certificates")).items()
        },
        "cnpg": {
            "deploymentName": str(cnpg.get("deploymentName", "")),
            "version": str(cnpg.get("version", "")),
            "lastRestart": str(mapping(cnpg.get("lastRestart")).get("time", "")),
            "lastRestartReason": str(mapping(cnpg.get("lastRestart")).get("reason", "")),
        },
        "restart": restart_of(status),
        "clusters": {
            "using": int(clusters.get("using") or 0),
            "unready": int(clusters.get("unready") or 0),
            "outdated": int(clusters.get("outdated") or 0),
            "names": sorted(users.get(name, ())) if users is not None else None,
        },
        "quarantine": mapping(status.get("sidecar")).get("quarantine"),
        "versionSkew": read_skew(status),
    }


def restart_of(status: Mapping[str, Any]) -> dict[str, str] | None:
    """Tell why CloudNativePG has to restart for a plugin, or None."""
    for kind in (Type.REGISTERED, Type.AVAILABLE):
        verdict = read_verdict(status, kind)
        if verdict is not None and verdict.reason in RESTARTS:
            return {"reason": str(verdict.reason), "message": verdict.message}
    return None


def _condition(kind: Type, verdict: Verdict | None) -> dict[str, str]:
    if verdict is None:
        unknown = {"status": str(Status.UNKNOWN), "reason": str(Reason.NOT_YET_REPORTED)}
        return {"type": str(kind), **unknown, "message": ""}
    told = {"status": str(verdict.status), "reason": str(verdict.reason)}
    return {"type": str(kind), **told, "message": verdict.message}


def _certificate(pair: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    ends = read_time(pair.get("notAfter"))
    return {
        "secretName": str(pair.get("secretName", "")),
        "notAfter": str(pair.get("notAfter", "")),
        "renewalTime": str(pair.get("renewalTime", "")),
        "secondsLeft": int((ends - now).total_seconds()) if ends is not None else None,
    }


def is_as_wanted(told: Report) -> bool:
    """Whether nothing is wrong, and the operator has seen the last change.

    A suspended plugin is as its user wants it.
    """
    return bool((told["ready"] == Status.TRUE and told["upToDate"]) or told["suspended"])


def write_all(found: Iterable[Report], style: Style) -> str:
    """Write a table of plugins, and below it why those are not Ready that should be."""
    reports = list(found)
    header = ("NAMESPACE", "NAME", "MODE", "VERSION", "READY", "REASON", "EXPIRES", "CLUSTERS")
    text = write_table(header, map(_row, reports), MEANINGS, style)
    for told in reports:
        if told["versionSkew"]:
            text += f"\n{_say(told, told['versionSkew'])}\n"
        if told["ready"] != Status.TRUE:
            text += f"\n{_say(told, told['message'])}\n"
    return text


def _say(told: Report, words: str) -> str:
    return fold(f"{told['namespace']}/{told['name']}: {printable(words)}")


def _row(told: Report) -> Sequence[str]:
    left = [each["secondsLeft"] for each in told["certificates"].values()]
    known = [seconds for seconds in left if seconds is not None]
    state = "Suspended" if told["suspended"] else told["reason"]
    return (
        *(told["namespace"], told["name"], told["mode"], told["version"] or "-"),
        *(told["ready"], state, _span(min(known)) if known else "-"),
        str(told["clusters"]["using"]),
    )


def write_one(told: Report, style: Style) -> str:
    """Write everything about one plugin, on one screen."""
    title = f"{told['namespace']}/{told['name']}"
    identity = f"{told['pluginName']} {told['version']}".strip()
    states = [word for word in ("suspended", "deleting") if told[word]]
    about = ", ".join([identity, f"mode {told['mode']}", *states])
    lines = [
        f"{style.mark(printable(title), 'title')}   {printable(about)}",
        "",
        *_condition_lines(told, style),
        "",
        show(_fact_lines(told), hanging=20),
    ]
    return "\n".join(lines) + "\n"


def _condition_lines(told: Report, style: Style) -> Iterator[str]:
    ready = {"type": str(Type.READY), "status": told["ready"], "reason": told["reason"]}
    for each in (*told["conditions"], ready):
        status = style.mark(f"{each['status']:<8}", MEANINGS[each["status"]])
        yield f"{each['type']:<19} {status} {each['reason']}"
    yield from ["", fold(printable(told["message"]))] if told["ready"] != Status.TRUE else []
    if not told["upToDate"]:
        yield "The operator has not seen the last change of the resource yet."


def _fact_lines(told: Report) -> Iterator[str]:
    for role, pair in sorted(told["certificates"].items()):
        ends = read_time(pair["notAfter"])
        when = f"until {display_time(ends)}, {_span(pair['secondsLeft'])}" if ends else "unknown"
        yield f"{'Certificate':<19} {role}: Secret {pair['secretName']}, {when}"
    cnpg, restart, users = told["cnpg"], told["restart"], told["clusters"]
    if cnpg["deploymentName"]:
        yield f"{'CloudNativePG':<19} {cnpg['version']}, Deployment {cnpg['deploymentName']}"
    if told["versionSkew"]:
        yield f"{'Versions':<19} {told['versionSkew']}"
    if cnpg["lastRestart"]:
        yield f"{'Last restart':<19} {cnpg['lastRestart']} for {cnpg['lastRestartReason']}"
    yield f"{'Restart':<19} {restart['reason'] if restart else 'none is needed'}"
    if told["quarantine"]:
        held = told["quarantine"]
        yield f"{'Quarantine':<19} since {held['time']}: {held.get('reason', '')}"
    yield f"{'Clusters':<19} {_describe_users(users)}"
    if told["reason"] == Reason.AWAITING_APPROVAL:
        approve = f"kubectl cnpg-plugin approve {told['name']} -n {told['namespace']}"
        yield f"{'To approve':<19} {approve}"


def _describe_users(users: Mapping[str, Any]) -> str:
    counts = [f"{users['using']} use it"]
    counts += [f"{users[word]} {word}" for word in ("unready", "outdated") if users[word]]
    listed = users["names"] or []
    more = f" and {len(listed) - _SHOWN_CLUSTERS} more" if len(listed) > _SHOWN_CLUSTERS else ""
    shown = f": {', '.join(listed[:_SHOWN_CLUSTERS])}{more}" if listed else ""
    return f"{', '.join(counts)}{shown}"


def _span(seconds: int) -> str:
    """Write a time that is left, as kubectl writes ages."""
    if seconds < 0:
        return "expired"
    for unit, size in (("d", 86_400), ("h", 3_600)):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds // 60}m"
