"""The pods of plugins in memory: what their servers present, and which clients they accept.

A changed Secret reaches a pod after some time, or when the pod is annotated; the server may reload
it or not. Signatures are real, so verification is, too.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.conditions import Reason
from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.decide.facts.plugin import Endpoint, HandshakeOutcome, Identity, Material
from cnpg_plugin_operator.reconcile.context import STILL_ROUTED
from tests.support.unit.fake_cluster import FakeCluster
from tests.support.unit.stage.world import NAMESPACE, Clock

Files = tuple[bytes, bytes]
"""The server's `tls.crt`, and the certificates of trusted clients."""


def _look_away() -> None:
    """No watcher."""


@dataclass
class Pod:
    """One pod with its files, and what its server has loaded of them."""

    name: str
    plugin: str
    address: str
    template: str
    synced: datetime
    refreshed: str
    files: Files
    loaded: Files
    deleted_at: datetime | None = None
    """When its deletion was requested."""
    ends: datetime | None = None
    """When it ends, once its deletion is requested."""

    @property
    def port(self) -> str:
        """Where its server listens."""
        containers = json.loads(self.template)["spec"]["containers"]
        numbers = (port["containerPort"] for each in containers for port in each.get("ports", ()))
        return str(next(numbers))

    def is_routed(self, now: datetime) -> bool:
        """Whether calls to the Service may reach it: no node is later than `STILL_ROUTED`."""
        return self.deleted_at is None or now - self.deleted_at < STILL_ROUTED


@dataclass
class Kubelet:
    """Runs the pods of all plugins."""

    client: FakeCluster
    clock: Clock
    lag: timedelta = timedelta(seconds=60)
    """How long a changed Secret takes to reach a pod that is not annotated."""
    refreshes: bool = True
    """Whether an annotated pod gets its Secrets at once."""
    reloads: bool = True
    """Whether servers reload changed files."""
    stuck: bool = False
    """Whether servers always present their first certificate, even after a restart."""
    grace: timedelta = timedelta()
    """How long a replaced pod takes to end; for a while it receives calls beside its successor."""
    follows: Callable[[], None] = _look_away
    """Called whenever pods were updated."""
    pods: dict[str, Pod] = field(default_factory=dict)
    started: list[str] = field(default_factory=list)
    """The plugins of all pods that were ever started."""
    _first: dict[str, Files] = field(default_factory=dict)

    def run(self) -> None:
        """Start, end and update pods according to Deployments and Secrets."""
        wanted = {
            body["metadata"]["name"]: body
            for (kind, _, _), body in self.client.objects.items()
            if kind == "Deployment" and names.labels.PLUGIN in body["metadata"]["labels"]
        }
        for pod in list(self.pods.values()):
            template = wanted.get(pod.plugin, {}).get("spec", {}).get("template")
            if json.dumps(template) != pod.template:
                self._end(pod)
        for plugin, body in wanted.items():
            running = [p for p in self.pods.values() if p.plugin == plugin and p.ends is None]
            for _ in range(len(running), body["spec"].get("replicas", 1)):
                self._start(plugin, body["spec"]["template"])
        for pod in self.pods.values():
            self._sync(pod)
        self.follows()

    def _start(self, plugin: str, template: dict[str, Any]) -> None:
        files = self._read(template)
        if files is None:
            return
        self._first.setdefault(plugin, files)
        self.started.append(plugin)
        number = len(self.started)
        pod = Pod(
            name=f"{plugin}-{number}",
            plugin=plugin,
            address=f"10.0.0.{number}",
            template=json.dumps(template),
            synced=self.clock(),
            refreshed="",
            files=files,
            loaded=self._first[plugin] if self.stuck else files,
        )
        self.pods[pod.name] = pod
        labels = template["metadata"]["labels"]
        created = self.clock().strftime("%Y-%m-%dT%H:%M:%SZ")
        metadata = {
            "name": pod.name,
            "namespace": NAMESPACE,
            "labels": labels,
            "creationTimestamp": created,
        }
        ready = [{"type": "Ready", "status": "True"}]
        status = {"podIP": pod.address, "conditions": ready}
        self.client.put(kinds.POD, {"metadata": metadata, "status": status})

    def _end(self, pod: Pod) -> None:
        if pod.ends is None:
            pod.deleted_at, pod.ends = self.clock(), self.clock() + self.grace
        if self.clock() >= pod.ends:
            del self.pods[pod.name], self.client.objects["Pod", NAMESPACE, pod.name]
            return
        metadata = self.client.the(kinds.POD, pod.name)["metadata"]
        metadata["deletionTimestamp"] = pod.ends.strftime("%Y-%m-%dT%H:%M:%SZ")
        metadata["deletionGracePeriodSeconds"] = int(self.grace.total_seconds())

    def _sync(self, pod: Pod) -> None:
        if pod.ends is not None:
            return
        live = self.client.the(kinds.POD, pod.name)["metadata"]
        announced = live.get("annotations", {}).get(names.annotations.REFRESHED, "")
        touched = self.refreshes and announced != pod.refreshed
        if touched or self.clock() - pod.synced >= self.lag:
            pod.files = self._read(json.loads(pod.template)) or pod.files
            pod.synced, pod.refreshed = self.clock(), announced
        if self.reloads and not self.stuck:
            pod.loaded = pod.files

    def _read(self, template: dict[str, Any]) -> Files | None:
        """Read what a template mounts; None while a Secret is missing."""
        mounts = {v["name"]: v["secret"] for v in template["spec"]["volumes"] if "secret" in v}
        client = mounts[names.children.VOLUME_CLIENT]
        server = self.client.read(mounts[names.children.VOLUME_SERVER]["secretName"])
        trust = self.client.read(client["secretName"])
        if not server or not trust:
            return None
        return server["tls.crt"], trust[client["items"][0]["key"]]

    def answer(self, endpoint: Endpoint, material: Material) -> HandshakeOutcome:
        """Perform a handshake as CloudNativePG would, with a Service or a pod."""
        service = self.client.objects.get(("Service", NAMESPACE, endpoint.host.partition(".")[0]))
        plugin = service["spec"]["selector"][names.labels.PLUGIN] if service else ""
        found = [p for p in self.pods.values() if endpoint.host == p.address or plugin == p.plugin]
        if not found:
            return HandshakeOutcome(Reason.UNREACHABLE, "there is no pod")
        # Most calls go to the newest pod; `complain` covers those to its predecessor.
        return self._shake(found[-1], endpoint, material)

    def _shake(self, pod: Pod, endpoint: Endpoint, material: Material) -> HandshakeOutcome:
        server, clients = pod.loaded
        if not verifies(server, material.trust, self.clock()):
            return HandshakeOutcome(Reason.TLS_REJECTED, f"{pod.name} is not trusted")
        if not covers(server, endpoint.server_name):
            return HandshakeOutcome(Reason.TLS_REJECTED, f"{pod.name} has another name")
        if not verifies(material.certificate, clients, self.clock()):
            return HandshakeOutcome(Reason.CLIENT_CERTIFICATE_REFUSED, f"{pod.name} refuses")
        identity = Identity(endpoint.plugin_name, "1.0.0", capabilities=("WAL_SERVICE",))
        return HandshakeOutcome(Reason.IDENTIFIED, "answered", identity, fingerprint(server))

    def complain(self) -> None:
        """Fail if CloudNativePG, with the last announcement, could not call every routed pod."""
        now = self.clock()
        for (kind, _, name), body in self.client.objects.items():
            metadata = body["metadata"]
            if kind != "Service" or names.cnpg.PLUGIN_NAME not in metadata["labels"]:
                continue
            announced = metadata["annotations"]
            trust = self.client.read(announced[names.cnpg.SERVER_SECRET])
            client = self.client.read(announced[names.cnpg.CLIENT_SECRET])
            material = Material(
                trust.get("tls.crt", b""), client.get("tls.crt", b""), client.get("tls.key", b"")
            )
            server_name = announced.get(names.cnpg.SERVER_NAME, name)
            for pod in self.pods.values():
                is_its = pod.plugin == metadata["labels"][names.labels.PLUGIN]
                # Where the port changes, calls to a pod of before fail, whatever is announced.
                listens = announced[names.cnpg.PLUGIN_PORT] == pod.port
                if is_its and listens and pod.is_routed(now):
                    endpoint = Endpoint(pod.address, 9090, server_name, "")
                    outcome = self._shake(pod, endpoint, material)
                    assert outcome.succeeded, outcome.message


def fingerprint(certificates: bytes) -> str:
    """Identify what is presented."""
    leaf = x509.load_pem_x509_certificates(certificates)[0]
    return hashlib.sha256(leaf.public_bytes(serialization.Encoding.DER)).hexdigest()


def covers(certificates: bytes, name: str) -> bool:
    """Whether a certificate is for a name."""
    leaf = x509.load_pem_x509_certificates(certificates)[0]
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return name in names.get_values_for_type(x509.DNSName)


def verifies(presented: bytes, trusted: bytes, now: datetime) -> bool:
    """Whether a chain is accepted; as in Go, any certificate of the pool is a root."""
    if not presented or not trusted:
        return False
    leaf, *between = x509.load_pem_x509_certificates(presented)
    roots = x509.load_pem_x509_certificates(trusted)
    if _outlived(leaf, now):
        return False
    return leaf in roots or _leads(leaf, between, roots, now)


def _leads(
    certificate: x509.Certificate,
    between: Sequence[x509.Certificate],
    roots: Sequence[x509.Certificate],
    now: datetime,
) -> bool:
    for issuer in (*roots, *between):
        if _outlived(issuer, now) or issuer == certificate:
            continue
        try:
            certificate.verify_directly_issued_by(issuer)
        except (ValueError, InvalidSignature):
            continue
        if issuer in roots:
            return True
        rest = [other for other in between if other != issuer]
        if _leads(issuer, rest, roots, now):
            return True
    return False


def _outlived(certificate: x509.Certificate, now: datetime) -> bool:
    return not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc
