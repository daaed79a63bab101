"""A Kubernetes API in memory: the operator's own client port, for passes without a cluster.

It merges server-side applies well enough for one owner of each field, and can fail at any request.
What real server-side apply does is tested against a real API server.
"""

import base64
from collections.abc import Mapping
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any

from cnpg_plugin_operator import errors, names
from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.cluster.client import Client
from cnpg_plugin_operator.cluster.kinds import Kind
from tests.support.certificates import CLIENT, SERVER, authority, issue


class FakeClient(Client):
    """Holds objects by kind, namespace and name; `writes` says what was written."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str | None, str], dict[str, Any]] = {}
        self.writes: list[str] = []
        self.missing: set[str] = set()
        """Kinds that are not served."""
        self.fail_at: int | None = None
        """Number of the write that fails; `fail_after` says on which side of it."""
        self.fail_after = False
        self._uid = 0

    def put(self, kind: Kind, body: Mapping[str, Any]) -> dict[str, Any]:
        """Store an object as some other program would."""
        stored = deepcopy(dict(body))
        self._uid += 1
        stored["metadata"].setdefault("uid", f"uid-{self._uid}")
        stored["metadata"].setdefault("resourceVersion", "1")
        stored["metadata"].setdefault("creationTimestamp", "2026-03-01T11:00:00Z")
        self.objects[self._key(kind, stored["metadata"])] = stored
        return stored

    def the(self, kind: Kind, name: str, namespace: str = "cnpg-system") -> dict[str, Any]:
        """Look at an object."""
        return self.objects[kind.kind, namespace if kind.namespaced else None, name]

    async def get(self, kind: Kind, name: str, namespace: str | None = None) -> dict[str, Any]:
        self._check(kind)
        found = self.objects.get((kind.kind, namespace if kind.namespaced else None, name))
        if found is None:
            raise errors.NotFoundError(f"{kind.kind} {name}")
        return deepcopy(found)

    async def list(
        self,
        kind: Kind,
        namespace: str | None = None,
        *,
        labels: str | None = None,
        fields: str | None = None,
    ) -> list[dict[str, Any]]:
        self._check(kind)
        return [
            deepcopy(body)
            for (name, where, _), body in self.objects.items()
            if name == kind.kind and namespace in (None, where) and _selects(labels, body)
        ]

    async def served(self, api_version: str) -> frozenset[str]:
        """Serve cert-manager unless its kinds are missing."""
        return frozenset() if "Certificate" in self.missing else frozenset({"certificates"})

    async def apply(
        self,
        kind: Kind,
        body: Mapping[str, Any],
        *,
        manager: str,
        subresource: str | None = None,
        force: bool = True,
    ) -> dict[str, Any]:
        self._check(kind)
        key = self._key(kind, body["metadata"])
        self._fail(before=True)
        self.writes.append(f"{kind.kind} {key[2]}" + (f"/{subresource}" if subresource else ""))
        live = self.objects.get(key)
        if live is None:
            live = self.put(kind, {"apiVersion": kind.api_version, "kind": kind.kind, **body})
            live["metadata"]["generation"] = 1
        elif subresource:
            live["status"] = deepcopy(body["status"])
        elif manager == names.FINALIZER_MANAGER:
            live["metadata"]["finalizers"] = list(body["metadata"]["finalizers"])
        else:
            self._merge(live, body)
        self._collect(key)
        self._fail(before=False)
        return deepcopy(live)

    async def create(self, kind: Kind, body: Mapping[str, Any]) -> dict[str, Any]:
        self.writes.append(f"{kind.kind} {body.get('reason', '')}".strip())
        return dict(body)

    async def merge_patch(
        self, kind: Kind, name: str, namespace: str | None, patch: Mapping[str, Any]
    ) -> dict[str, Any]:
        self.writes.append(f"patch {kind.kind} {name}")
        live = self.objects[kind.kind, namespace, name]
        if "finalizers" in patch["metadata"]:
            live["metadata"]["finalizers"] = patch["metadata"]["finalizers"] or []
        annotations = patch["metadata"].get("annotations") or {}
        live["metadata"]["annotations"] = {**live["metadata"].get("annotations", {}), **annotations}
        self._collect((kind.kind, namespace, name))
        return deepcopy(live)

    async def delete(
        self, kind: Kind, name: str, namespace: str | None, *, uid: str | None = None
    ) -> None:
        self._fail(before=True)
        self.writes.append(f"delete {kind.kind} {name}")
        key = (kind.kind, namespace if kind.namespaced else None, name)
        live = self.objects.get(key)
        if live is not None:
            live["metadata"]["deletionTimestamp"] = "2026-03-01T12:00:00Z"
            self._collect(key)
        self._fail(before=False)

    def _merge(self, live: dict[str, Any], body: Mapping[str, Any]) -> None:
        """Replace what the body holds; labels and annotations of others stay."""
        before = deepcopy(live.get("spec"))
        for field in ("labels", "annotations"):
            merged = {**live["metadata"].get(field, {}), **body["metadata"].get(field, {})}
            live["metadata"][field] = merged
        for field, value in body.items():
            if field not in ("metadata", "apiVersion", "kind"):
                known = isinstance(live.get(field), dict) and isinstance(value, dict)
                live[field] = {**live[field], **deepcopy(value)} if known else deepcopy(value)
        if live.get("spec") != before:
            live["metadata"]["generation"] = live["metadata"].get("generation", 1) + 1

    def _collect(self, key: tuple[str, str | None, str]) -> None:
        """Remove what was deleted once nothing holds it."""
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


def _selects(labels: str | None, body: Mapping[str, Any]) -> bool:
    own = body["metadata"].get("labels") or {}
    for part in (labels or "").split(","):
        key, equals, value = part.partition("=")
        if key and (key not in own or (equals and own[key] != value)):
            return False
    return True


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self._now = datetime.now(UTC).replace(microsecond=0)

    def __call__(self) -> datetime:
        return self._now

    def pass_by(self, seconds: float) -> None:
        """Let time pass."""
        self._now += timedelta(seconds=seconds)


class World:
    """The controllers around the operator: cert-manager, the kubelet, CloudNativePG."""

    def __init__(self, client: FakeClient, clock: "Clock", version: str = "1.30.0") -> None:
        self.client = client
        self._clock = clock
        self._intermediate = authority("intermediate", authority("root"))
        self.install_cnpg(version)

    def install_cnpg(self, version: str) -> None:
        """Put CloudNativePG, its Lease and its leader into the namespace."""
        image = f"example.org/cloudnative-pg:{version}"
        self.client.put(
            kinds.DEPLOYMENT,
            {
                "metadata": _meta("cnpg", {names.LABEL_NAME: names.CNPG_APP}),
                "spec": {
                    "replicas": 1,
                    "template": {"spec": {"containers": [{"name": "manager", "image": image}]}},
                },
                "status": {"updatedReplicas": 1, "replicas": 1, "availableReplicas": 1},
            },
        )
        self.client.the(kinds.DEPLOYMENT, "cnpg")["status"]["observedGeneration"] = 0
        self.client.put(
            kinds.LEASE,
            {"metadata": _meta(names.CNPG_LEASE), "spec": {"holderIdentity": "cnpg-0_x"}},
        )
        self.client.put(kinds.POD, {"metadata": _meta("cnpg-0")})

    def issue(self) -> None:
        """Make the Secrets of all Certificates, as cert-manager would."""
        for (kind, _, name), body in list(self.client.objects.items()):
            if kind != "Certificate":
                continue
            body["status"] = {"conditions": [{"type": "Ready", "status": "True"}]}
            template = body["spec"].get("secretTemplate", {})
            if ("Secret", "cnpg-system", name) not in self.client.objects:
                self._issue(name, body["spec"], template.get("labels", {}))

    def _issue(self, name: str, spec: Mapping[str, Any], labels: dict[str, str]) -> None:
        usage = SERVER if "server auth" in spec["usages"] else CLIENT
        dns_names = spec.get("dnsNames", ())
        pair = issue(self._intermediate, name, dns=dns_names, usages=(usage,))
        encoded = {key: base64.b64encode(value).decode() for key, value in pair.secret.items()}
        self.client.put(kinds.SECRET, {"metadata": _meta(name, labels), "data": encoded})

    def run(self) -> None:
        """Bring every Deployment's pods up."""
        for (kind, _, _), body in self.client.objects.items():
            if kind == "Deployment":
                wanted = body["spec"].get("replicas", 1)
                body["status"] = {
                    "observedGeneration": body["metadata"].get("generation", 0),
                    "updatedReplicas": wanted,
                    "replicas": wanted,
                    "availableReplicas": wanted,
                }

    def register(self) -> None:
        """Write CloudNativePG's Event for every published Service."""
        for (kind, _, name), body in list(self.client.objects.items()):
            if kind == "Service" and names.CNPG_PLUGIN_NAME in body["metadata"].get("labels", {}):
                self.client.put(
                    kinds.EVENT,
                    {
                        "metadata": _meta(f"{name}.event"),
                        "type": "Normal",
                        "reason": "PluginRegistered",
                        "message": "registered",
                        "lastTimestamp": self._clock().strftime("%Y-%m-%dT%H:%M:%SZ"),
                    },
                )


def _meta(name: str, labels: dict[str, str] | None = None) -> dict[str, Any]:
    return {"name": name, "namespace": "cnpg-system", "labels": labels or {}}
