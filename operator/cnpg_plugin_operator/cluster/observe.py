"""From API objects to facts: everything the program knows about the cluster is parsed here.

Parsing is tolerant: any object may contain anything, and a missing field must never stop a pass.
"""

import base64
import binascii
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.conditions import Type, find_condition
from cnpg_plugin_operator.api.status import read_status
from cnpg_plugin_operator.api.times import read_recorded_time, read_time
from cnpg_plugin_operator.api.untrusted import mapping
from cnpg_plugin_operator.decide.facts.cnpg import (
    Announcement,
    CNPGEvent,
    ServiceFacts,
)
from cnpg_plugin_operator.decide.facts.plugin import (
    ContainerFacts,
    PodFacts,
    WorkloadFacts,
)
from cnpg_plugin_operator.decide.registration.announcement import read_touch
from cnpg_plugin_operator.decide.sidecar.mode_change import PreviousService


def read_secret(body: Mapping[str, Any] | None) -> dict[str, bytes] | None:
    """Decode a Secret's data; None where it does not exist."""
    if body is None:
        return None
    data: dict[str, bytes] = {}
    for key, value in (body.get("data") or {}).items():
        try:
            data[key] = base64.b64decode(value)
        except (binascii.Error, ValueError):
            data[key] = b""
    return data


def read_workload(
    deployment: Mapping[str, Any] | None, pods: list[dict[str, Any]]
) -> WorkloadFacts:
    """Read a Deployment and its pods."""
    if deployment is None:
        return WorkloadFacts(exists=False)
    status = deployment.get("status") or {}
    conditions = status.get("conditions") or []
    refused = [
        str(c.get("message", ""))
        for c in conditions
        if c.get("type") == "ReplicaFailure" and c.get("status") == "True"
    ]
    generation = deployment["metadata"].get("generation", 0)
    return WorkloadFacts(
        exists=True,
        up_to_date=status.get("observedGeneration", -1) >= generation,
        wanted=(deployment.get("spec") or {}).get("replicas", 1),
        updated=status.get("updatedReplicas", 0),
        available=status.get("availableReplicas", 0),
        replicas=status.get("replicas", 0),
        refused=refused[0] if refused else "",
        pods=read_pods(pods),
    )


def read_pods(bodies: Iterable[Mapping[str, Any]]) -> tuple[PodFacts, ...]:
    """Read pods, oldest first."""
    return tuple(sorted(map(_read_pod, bodies), key=lambda pod: (pod.created, pod.name)))


def _read_pod(body: Mapping[str, Any]) -> PodFacts:
    metadata, status = body["metadata"], body.get("status") or {}
    conditions = {c.get("type"): c for c in status.get("conditions") or []}
    scheduled = conditions.get("PodScheduled") or {}
    readiness = conditions.get("Ready") or {}
    ready = readiness.get("status") == "True"
    statuses = [
        *(status.get("initContainerStatuses") or []),
        *(status.get("containerStatuses") or []),
    ]
    return PodFacts(
        name=metadata["name"],
        uid=metadata["uid"],
        created=read_time(metadata.get("creationTimestamp")) or datetime.min.replace(tzinfo=UTC),
        ready=ready,
        deleting=bool(metadata.get("deletionTimestamp")),
        unschedulable=(
            str(scheduled.get("message", "")) if scheduled.get("status") == "False" else ""
        ),
        containers=tuple(_read_container(container) for container in statuses),
        address=str(status.get("podIP") or ""),
        refreshed_for=str(
            (metadata.get("annotations") or {}).get(names.annotations.REFRESHED) or ""
        ),
        unready_since=None if ready else read_time(readiness.get("lastTransitionTime")),
        deleted_at=_read_deletion(metadata),
    )


def _read_deletion(metadata: Mapping[str, Any]) -> datetime | None:
    """Read when the deletion was requested: `deletionTimestamp` is the end of the grace period."""
    ends = read_time(metadata.get("deletionTimestamp"))
    if ends is None:
        return None
    return ends - timedelta(seconds=int(metadata.get("deletionGracePeriodSeconds") or 0))


def _read_container(status: Mapping[str, Any]) -> ContainerFacts:
    state = status.get("state") or {}
    last = status.get("lastState") or {}
    waiting, running = state.get("waiting") or {}, state.get("running") or {}
    terminated = state.get("terminated") or last.get("terminated") or {}
    return ContainerFacts(
        name=str(status.get("name", "")),
        running_since=read_time(running.get("startedAt")),
        waiting_reason=str(waiting.get("reason", "")),
        waiting_message=str(waiting.get("message") or ""),
        exit_code=terminated.get("exitCode"),
        exit_reason=str(terminated.get("reason") or ""),
        exit_message=str(terminated.get("message") or "").strip(),
        restarts=int(status.get("restartCount", 0)),
        ready=bool(status.get("ready")),
        image=str(status.get("image", "")),
    )


def read_service(body: Mapping[str, Any], now: datetime) -> ServiceFacts:
    """Read the plugin's Service: what it announces, and whether CloudNativePG has a finalizer."""
    metadata = body["metadata"]
    return ServiceFacts(
        announcement=_read_announcement(metadata, now),
        cnpg_finalizer=names.cnpg.SERVICE_FINALIZER in (metadata.get("finalizers") or []),
        deleting=bool(metadata.get("deletionTimestamp")),
    )


def holder_of(lease: Mapping[str, Any]) -> str:
    """Name the pod that holds a Lease, as client-go's leader election writes it; may be empty."""
    return str(mapping(lease.get("spec")).get("holderIdentity") or "").partition("_")[0]


def plugin_of(body: Mapping[str, Any]) -> str:
    """Name the resource that a child says it belongs to, or nothing."""
    return str((body["metadata"].get("labels") or {}).get(names.labels.PLUGIN) or "")


def read_previous_service(body: Mapping[str, Any]) -> PreviousService:
    """Read the Service of a plugin that becomes a sidecar."""
    metadata = body["metadata"]
    annotations = metadata.get("annotations") or {}
    seen_by = annotations.get(names.annotations.SEEN_BY)
    return PreviousService(
        name=metadata["name"],
        labelled=names.cnpg.PLUGIN_NAME in (metadata.get("labels") or {}),
        announced=names.cnpg.PLUGIN_PORT in annotations and not metadata.get("deletionTimestamp"),
        seen_by=frozenset(seen_by.split(",")) if isinstance(seen_by, str) else None,
    )


_ANNOUNCING: Final = (
    names.cnpg.PLUGIN_PORT,
    names.cnpg.SERVER_SECRET,
    names.cnpg.CLIENT_SECRET,
    names.cnpg.SERVER_NAME,
    names.annotations.REVISION,
    names.annotations.ENDPOINT,
    names.annotations.ANNOUNCED_AT,
    names.annotations.CHANGED_AT,
    names.annotations.REPLACES,
    names.annotations.TOUCHED,
)
"""The annotations that make up an announcement."""


def _read_announcement(metadata: Mapping[str, Any], now: datetime) -> Announcement | None:
    if names.cnpg.PLUGIN_NAME not in (metadata.get("labels") or {}):
        return None
    annotations = metadata.get("annotations") or {}
    announced_at = read_recorded_time(annotations.get(names.annotations.ANNOUNCED_AT), now)
    return Announcement(
        # An announcement without its time does not count, so that it is made again.
        revision=annotations.get(names.annotations.REVISION, "") if announced_at else "",
        endpoint=annotations.get(names.annotations.ENDPOINT, ""),
        announced_at=announced_at or datetime.min.replace(tzinfo=UTC),
        changed_at=read_recorded_time(annotations.get(names.annotations.CHANGED_AT), now),
        annotations={key: annotations[key] for key in _ANNOUNCING if key in annotations},
        replaces=str(annotations.get(names.annotations.REPLACES, "")),
        touch=read_touch(annotations.get(names.annotations.TOUCHED)),
        disturbed=str(annotations.get(names.annotations.DISTURBED, "")),
    )


def read_event(body: Mapping[str, Any]) -> CNPGEvent:
    """Read an Event; the newest of its times counts, because repeated Events are aggregated."""
    series = mapping(body.get("series"))
    times = (body.get("lastTimestamp"), series.get("lastObservedTime"), body.get("eventTime"))
    version = str(body["metadata"].get("resourceVersion", ""))
    seen = [moment for text in times if (moment := read_time(text)) is not None]
    return CNPGEvent(
        warning=body.get("type") == "Warning",
        reason=str(body.get("reason", "")),
        message=str(body.get("message", "")),
        at=max(seen, default=datetime.min.replace(tzinfo=UTC)),
        service=str(mapping(body.get("involvedObject")).get("name", "")),
        number=int(version) if version.isdigit() else 0,
    )


def may_become_ready(body: Mapping[str, Any], since: datetime) -> bool:
    """Whether a resource may become `Ready` soon, or has been failing only since `since`.

    Under load, a late pod or a failing first connection may cause a short failure.
    """
    if body["metadata"].get("deletionTimestamp") or mapping(body.get("spec")).get("suspend"):
        return False
    ready = find_condition(read_status(body), Type.READY)
    changed = read_time(ready.get("lastTransitionTime"))
    return ready.get("status") != "False" or changed is None or changed >= since
