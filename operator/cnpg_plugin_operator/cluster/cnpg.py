"""Finds the CloudNativePG operator of a namespace, however it was installed.

It is looked up by its label, as CloudNativePG's own tools do (internal/cmd/plugin/report, 1.30.0);
by the holder of its leader Lease, which Helm's `nameOverride` cannot rename
(internal/cmd/manager/controller, 1.24.0 to 1.30.0); and among all Deployments. Only the properties
of a Deployment count: its container, or a pod that holds the Lease. Neither a label nor the name in
a resource makes a Deployment CloudNativePG's, and no Deployment of this operator's ever is.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.conditions import find_condition
from cnpg_plugin_operator.api.times import read_time
from cnpg_plugin_operator.api.untrusted import mapping, printable, read_json
from cnpg_plugin_operator.cluster import kinds, observe
from cnpg_plugin_operator.cluster.addresses import label_selector
from cnpg_plugin_operator.cluster.client import Client
from cnpg_plugin_operator.cluster.cnpg_pods import list_pods, read_pods
from cnpg_plugin_operator.decide.facts.cnpg import CNPGFacts, CNPGPod, LeaderFacts
from cnpg_plugin_operator.decide.facts.cnpg_versions import manager_of, version_of
from cnpg_plugin_operator.decide.workload.cnpg_trouble import describe_cnpg_trouble
from cnpg_plugin_operator.desired.sidecars import read_sidecars

SELECTOR: Final = label_selector({names.labels.NAME: names.cnpg.APP})

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Leader:
    """The pod that holds the Lease."""

    pod: Object
    owner: str
    """Name of its Deployment."""
    since: datetime | None
    """When it acquired the Lease."""


@dataclass(frozen=True, slots=True)
class Located:
    """A CloudNativePG operator, with the objects that its facts were read from."""

    facts: CNPGFacts
    deployment: Object
    pods: list[dict[str, Any]] | None
    """None where they were not read."""


async def locate(client: Client, namespace: str, reference: str = "") -> tuple[Located, ...]:
    """Read the CloudNativePG operators of a namespace, each with its leader.

    With a reference, return only the one of that name, if it is CloudNativePG's.
    """
    deployments, leader = await _find(client, namespace, reference)
    owner = leader.owner if leader else ""
    return tuple(
        await asyncio.gather(
            *(
                _read(client, body, leader if body["metadata"]["name"] == owner else None)
                for body in deployments
            )
        )
    )


async def _read(client: Client, deployment: Object, leader: Leader | None) -> Located:
    """Read the pods where they matter: during a rollout, or where OLM owns the Deployment."""
    needed = not _is_settled(deployment) or bool(_olm_owner(deployment))
    pods = await list_pods(client, deployment) if needed else None
    return Located(read_cnpg(deployment, leader, read_pods(pods or ())), deployment, pods)


async def _find(
    client: Client, namespace: str, reference: str
) -> tuple[list[Object], Leader | None]:
    deployments: list[Object]
    if reference:
        named = await client.find(kinds.DEPLOYMENT, reference, namespace)
        deployments = [named] if named else []
    else:
        deployments = list(await client.list(kinds.DEPLOYMENT, namespace, labels=SELECTOR))
    if reference and not deployments:
        return [], None
    leader = await _read_leader(client, namespace, {d["metadata"]["name"] for d in deployments})
    known = {body["metadata"]["name"] for body in deployments}
    owner = leader.owner if leader else ""
    if not reference and owner and owner not in known:
        led = await client.find(kinds.DEPLOYMENT, owner, namespace)
        deployments += [led] if led else []
    found = [body for body in deployments if _is_cnpg(body, owner)]
    if not reference and not found:
        every = await client.list(kinds.DEPLOYMENT, namespace)
        found = [body for body in every if _is_cnpg(body, owner)]
    return found, leader


async def _read_leader(client: Client, namespace: str, known: set[str]) -> Leader | None:
    """Read the holder of the Lease and find its Deployment; None while there is no holder."""
    lease = await client.find(kinds.LEASE, names.cnpg.LEASE, namespace) or {}
    name = observe.holder_of(lease)
    since = read_time(mapping(lease.get("spec")).get("acquireTime"))
    pod = await client.find(kinds.POD, name, namespace) if name else None
    if pod is None:
        return None
    replica_set = _owner(pod, "ReplicaSet")
    # A ReplicaSet's name starts with that of its Deployment. A known one needs no further reads.
    guessed = replica_set.rpartition("-")[0] or pod["metadata"]["name"].rpartition("-")[0]
    if guessed in known:
        return Leader(pod, guessed, since)
    body = await client.find(kinds.REPLICA_SET, replica_set, namespace) if replica_set else None
    owner = _owner(body, "Deployment") if body else ""
    return Leader(pod, owner, since) if owner else None


def _owner(body: Object, kind: str) -> str:
    references = body["metadata"].get("ownerReferences") or []
    return next((str(ref.get("name")) for ref in references if ref.get("kind") == kind), "")


def looks_like_cnpg(deployment: Object) -> bool:
    """Whether a Deployment may be CloudNativePG's, by its label or by its container.

    Enough to trigger an evaluation; `locate` decides.
    """
    labels = deployment["metadata"].get("labels") or {}
    return labels.get(names.labels.NAME) == names.cnpg.APP or _runs_cnpg(deployment)


def _is_cnpg(deployment: Object, leading: str) -> bool:
    """Whether a Deployment is CloudNativePG's; `leading` is the one of the Lease's holder."""
    metadata = deployment["metadata"]
    if (metadata.get("labels") or {}).get(names.labels.MANAGED_BY) == names.resource.OPERATOR:
        return False
    if _owner(deployment, names.resource.KIND):
        return False
    return metadata["name"] == leading or _runs_cnpg(deployment)


def _runs_cnpg(deployment: Object) -> bool:
    variables = {e.get("name") for e in manager_of(deployment).get("env") or []}
    return names.cnpg.IMAGE_VARIABLE in variables


def read_cnpg(
    deployment: Object, leader: Leader | None, pods: tuple[CNPGPod, ...] = ()
) -> CNPGFacts:
    """Read CloudNativePG's Deployment, its leading pod, and its pods as far as they are known."""
    metadata, status = deployment["metadata"], deployment.get("status") or {}
    spec, annotations = deployment.get("spec") or {}, metadata.get("annotations") or {}
    template, recorded = spec.get("template") or {}, _template_annotations(deployment)
    settled, refusal = _is_settled(deployment), _read_refusal(status)
    proxy, _ = _first_set(deployment, names.cnpg.PROXY_VARIABLES)
    _, unproxied = _first_set(deployment, names.cnpg.NO_PROXY_VARIABLES)
    return CNPGFacts(
        deployment=metadata["name"],
        uid=metadata["uid"],
        version=version_of(deployment),
        rolling=not settled,
        available=status.get("availableReplicas", 0) > 0,
        leader=_leader_facts(leader) if leader else None,
        restarted_at=read_time(recorded.get(names.annotations.RESTARTED_AT)),
        restarted_for=read_revisions(recorded.get(names.annotations.RESTARTED_FOR)),
        namespace=metadata.get("namespace", ""),
        generation=int(metadata.get("generation", 0)),
        olm=_olm_owner(deployment),
        watches=_watches(deployment),
        proxy=proxy,
        unproxied=_split(unproxied),
        changed_by=_changed_by(metadata.get("managedFields") or []),
        withdrawn=_withdrawn(annotations),
        pods=pods,
        rolled_at=read_time(annotations.get(names.annotations.ROLLED_AT)),
        resource_version=str(metadata.get("resourceVersion") or ""),
        template=template,
        selector=spec.get("selector") or {},
        sidecars=read_sidecars(template),
        replicas=int(spec.get("replicas", 1)),
        min_ready_seconds=int(spec.get("minReadySeconds", 0)),
        progress_deadline_seconds=int(spec.get("progressDeadlineSeconds", 600)),
        paused=bool(spec.get("paused")),
        stuck=_stuck(deployment, pods, settled=settled),
        refused=str(refusal.get("message") or ""),
        refused_since=read_time(refusal.get("lastTransitionTime")),
    )


def _read_refusal(status: Mapping[str, Any]) -> Mapping[str, Any]:
    """Find the condition that says that pods cannot be created."""
    condition = find_condition(status, "ReplicaFailure")
    return condition if condition.get("status") == "True" else {}


def _is_settled(deployment: Object) -> bool:
    spec, status = deployment.get("spec") or {}, deployment.get("status") or {}
    wanted = spec.get("replicas", 1)
    return bool(
        status.get("observedGeneration", -1) >= deployment["metadata"].get("generation", 0)
        and status.get("updatedReplicas", 0) == wanted
        and status.get("replicas", 0) == wanted
        and status.get("unavailableReplicas", 0) == 0
    )


def _stuck(deployment: Object, pods: tuple[CNPGPod, ...], *, settled: bool) -> str:
    """Return why a rollout makes no progress: it is paused, a pod fails, or its deadline passed."""
    if (deployment.get("spec") or {}).get("paused"):
        return f"Deployment {deployment['metadata']['name']} is paused"
    if settled:
        return ""
    namespace = deployment["metadata"].get("namespace", "")
    trouble = describe_cnpg_trouble(namespace, (each.pod for each in pods))
    if trouble:
        return trouble
    for condition in (deployment.get("status") or {}).get("conditions") or []:
        refused = condition.get("type") == "ReplicaFailure" and condition.get("status") == "True"
        if refused or condition.get("reason") == "ProgressDeadlineExceeded":
            return f"{condition.get('reason')}: {condition.get('message')}"
    return ""


def _template_annotations(deployment: Object) -> Mapping[str, Any]:
    template = (deployment.get("spec") or {}).get("template") or {}
    annotations: Mapping[str, Any] = (template.get("metadata") or {}).get("annotations") or {}
    return annotations


def _olm_owner(deployment: Object) -> str:
    """Return the ClusterServiceVersion that owns the Deployment, by label or owner reference."""
    labels = deployment["metadata"].get("labels") or {}
    return str(labels.get(names.labels.OLM_OWNER) or _owner(deployment, "ClusterServiceVersion"))


def _watches(deployment: Object) -> tuple[str, ...]:
    """Read the namespaces that it watches; OLM sets them in an annotation of the pod."""
    for variable in manager_of(deployment).get("env") or []:
        if variable.get("name") == names.cnpg.WATCH_VARIABLE:
            path = ((variable.get("valueFrom") or {}).get("fieldRef") or {}).get("fieldPath", "")
            value = variable.get("value") or ""
            if path == "metadata.namespace":
                value = deployment["metadata"]["namespace"]
            elif path.startswith("metadata.annotations['"):
                key = path.partition("'")[2].rpartition("'")[0]
                value = _template_annotations(deployment).get(key) or ""
            return _split(str(value))
    return ()


def _first_set(deployment: Object, variables: Iterable[str]) -> tuple[str, str]:
    """Return the first of these variables that has a value, and the value."""
    environment = {e.get("name"): e.get("value") for e in manager_of(deployment).get("env") or []}
    found = ((name, str(environment[name])) for name in variables if environment.get(name))
    return next(found, ("", ""))


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _changed_by(managed: list[Object]) -> str:
    """Return who changed the spec last, other than this operator and the status's writer."""
    others = [
        entry
        for entry in managed
        if entry.get("manager") not in (names.managers.RESTART, names.managers.SIDECARS)
        and "f:spec" in (entry.get("fieldsV1") or {})
    ]
    return str(max(others, key=lambda e: str(e.get("time", "")), default={}).get("manager", ""))


def _leader_facts(leader: Leader) -> LeaderFacts:
    pod, metadata = leader.pod, leader.pod["metadata"]
    annotations = metadata.get("annotations") or {}
    return LeaderFacts(
        pod=metadata["name"],
        created=observe.read_pods([pod])[0].created,
        restarted_for=read_revisions(annotations.get(names.annotations.RESTARTED_FOR)),
        since=leader.since,
    )


def _withdrawn(annotations: Mapping[str, Any]) -> dict[str, datetime]:
    recorded = read_revisions(annotations.get(names.annotations.WITHDRAWN))
    times = ((name, read_time(text)) for name, text in recorded.items())
    return {name: moment for name, moment in times if moment is not None}


def read_revisions(text: object) -> dict[str, str]:
    """Read a JSON object of texts, by names; other content counts as none."""
    return {name: printable(value) for name, value in read_json(text).items()}
