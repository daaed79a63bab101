"""From API objects to facts: what the rest of the program knows of the cluster passes through here.

Parsing is tolerant: any object may hold anything, and a missing field must never stop a pass.
"""

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from cnpg_plugin_operator import names
from cnpg_plugin_operator.decide.facts import (
    Announcement,
    ClusterFacts,
    CNPGEvent,
    CNPGFacts,
    ContainerFacts,
    LeaderFacts,
    PluginStatusFacts,
    PodFacts,
    ServiceFacts,
    WorkloadFacts,
)
from cnpg_plugin_operator.decide.versions import version_of

HEALTHY_PHASE: Final = "Cluster in healthy state"
"""`status.phase` of a Cluster that CloudNativePG has nothing left to do for (1.24 to 1.30)."""


def read_time(text: object) -> datetime | None:
    """Read an RFC 3339 time, or None where there is none."""
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


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
    statuses = [
        *(status.get("initContainerStatuses") or []),
        *(status.get("containerStatuses") or []),
    ]
    return PodFacts(
        name=metadata["name"],
        uid=metadata["uid"],
        created=read_time(metadata.get("creationTimestamp")) or datetime.min.replace(tzinfo=UTC),
        ready=(conditions.get("Ready") or {}).get("status") == "True",
        deleting=bool(metadata.get("deletionTimestamp")),
        unschedulable=(
            str(scheduled.get("message", "")) if scheduled.get("status") == "False" else ""
        ),
        containers=tuple(_read_container(container) for container in statuses),
        address=str(status.get("podIP") or ""),
        refreshed_for=str(
            (metadata.get("annotations") or {}).get(names.ANNOTATION_REFRESHED) or ""
        ),
    )


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


def read_service(body: Mapping[str, Any]) -> ServiceFacts:
    """Read the plugin's Service: what it announces, and whether CloudNativePG took hold of it."""
    metadata = body["metadata"]
    return ServiceFacts(
        announcement=_read_announcement(metadata),
        cnpg_finalizer=names.CNPG_SERVICE_FINALIZER in (metadata.get("finalizers") or []),
        deleting=bool(metadata.get("deletionTimestamp")),
    )


_ANNOUNCING: Final = (
    names.CNPG_PLUGIN_PORT,
    names.CNPG_SERVER_SECRET,
    names.CNPG_CLIENT_SECRET,
    names.CNPG_SERVER_NAME,
    names.ANNOTATION_REVISION,
    names.ANNOTATION_ENDPOINT,
    names.ANNOTATION_ANNOUNCED_AT,
    names.ANNOTATION_CHANGED_AT,
)
"""The annotations that together are an announcement."""


def _read_announcement(metadata: Mapping[str, Any]) -> Announcement | None:
    if names.CNPG_PLUGIN_NAME not in (metadata.get("labels") or {}):
        return None
    annotations = metadata.get("annotations") or {}
    announced_at = read_time(annotations.get(names.ANNOTATION_ANNOUNCED_AT))
    return Announcement(
        # Without its time an announcement is none: it is made again.
        revision=annotations.get(names.ANNOTATION_REVISION, "") if announced_at else "",
        endpoint=annotations.get(names.ANNOTATION_ENDPOINT, ""),
        announced_at=announced_at or datetime.min.replace(tzinfo=UTC),
        changed_at=read_time(annotations.get(names.ANNOTATION_CHANGED_AT)),
        annotations={key: annotations[key] for key in _ANNOUNCING if key in annotations},
    )


def read_event(body: Mapping[str, Any]) -> CNPGEvent:
    """Read an Event; the newest of its times counts, for repeated events are counted up."""
    series = body.get("series") or {}
    times = (body.get("lastTimestamp"), series.get("lastObservedTime"), body.get("eventTime"))
    seen = [moment for text in times if (moment := read_time(text)) is not None]
    return CNPGEvent(
        warning=body.get("type") == "Warning",
        reason=str(body.get("reason", "")),
        message=str(body.get("message", "")),
        at=max(seen, default=datetime.min.replace(tzinfo=UTC)),
    )


def read_cluster(body: Mapping[str, Any], plugin_name: str) -> ClusterFacts | None:
    """Read a Cluster, or None where it does not use the plugin."""
    spec, status = body.get("spec") or {}, body.get("status") or {}
    if plugin_name not in plugins_of(spec):
        return None
    reported = next(
        (p for p in status.get("pluginStatus") or [] if p.get("name") == plugin_name), None
    )
    return ClusterFacts(
        namespace=body["metadata"]["namespace"],
        name=body["metadata"]["name"],
        healthy=status.get("phase") == HEALTHY_PHASE,
        phase=": ".join(str(p) for p in (status.get("phase"), status.get("phaseReason")) if p),
        plugin_status=(
            PluginStatusFacts(name=plugin_name, version=str(reported.get("version", "")))
            if reported
            else None
        ),
    )


def plugins_of(spec: Mapping[str, Any]) -> frozenset[str]:
    """Name the plugins a Cluster uses.

    Enabled ones count, and those that its external clusters are restored with.
    """
    used = [p for p in spec.get("plugins") or [] if p.get("enabled", True)]
    used += [c["plugin"] for c in spec.get("externalClusters") or [] if c.get("plugin")]
    return frozenset(str(p.get("name", "")) for p in used)


def may_become_ready(body: Mapping[str, Any], since: datetime) -> bool:
    """Whether a resource is on its way to `Ready`, or has been in trouble only since then.

    Under load, a pod that is late or a first connection that fails looks like trouble for a moment.
    """
    if body["metadata"].get("deletionTimestamp") or (body.get("spec") or {}).get("suspend"):
        return False
    conditions = (body.get("status") or {}).get("conditions") or []
    ready: Mapping[str, Any] = next((c for c in conditions if c.get("type") == "Ready"), {})
    changed = read_time(ready.get("lastTransitionTime"))
    return ready.get("status") != "False" or changed is None or changed >= since


def read_cnpg(deployment: Mapping[str, Any], leader: Mapping[str, Any] | None) -> CNPGFacts:
    """Read CloudNativePG's Deployment and the pod that leads."""
    spec, status = deployment.get("spec") or {}, deployment.get("status") or {}
    metadata = deployment["metadata"]
    template = ((spec.get("template") or {}).get("metadata") or {}).get("annotations") or {}
    wanted, updated = spec.get("replicas", 1), status.get("updatedReplicas", 0)
    settled = (
        status.get("observedGeneration", -1) >= metadata.get("generation", 0)
        and updated == wanted
        and status.get("replicas", 0) == wanted
        and status.get("unavailableReplicas", 0) == 0
    )
    return CNPGFacts(
        deployment=metadata["name"],
        uid=metadata["uid"],
        version=version_of(deployment),
        rolling=not settled,
        available=status.get("availableReplicas", 0) > 0,
        leader=_read_leader(leader) if leader else None,
        restarted_at=read_time(template.get(names.ANNOTATION_RESTARTED_AT)),
        restarted_for=_read_revisions(template),
    )


def _read_leader(pod: Mapping[str, Any]) -> LeaderFacts:
    metadata = pod["metadata"]
    return LeaderFacts(
        pod=metadata["name"],
        created=read_time(metadata.get("creationTimestamp")) or datetime.min.replace(tzinfo=UTC),
        restarted_for=_read_revisions(metadata.get("annotations") or {}),
    )


def _read_revisions(annotations: Mapping[str, Any]) -> dict[str, str]:
    """Read which revisions a restart was for; somebody else's nonsense counts as none."""
    try:
        revisions = json.loads(annotations.get(names.ANNOTATION_RESTARTED_FOR) or "{}")
    except ValueError:
        return {}
    return {str(k): str(v) for k, v in revisions.items()} if isinstance(revisions, dict) else {}
