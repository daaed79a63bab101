"""The world around the operator in memory: time, cert-manager, the kubelet, CloudNativePG."""

import base64
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from cnpg_plugin_operator import names
from cnpg_plugin_operator.cluster import kinds
from tests.support.tls.certificates import CLIENT, SERVER, authority, issue
from tests.support.unit.fake_cluster import FakeCluster

NAMESPACE = "cnpg-system"


class Clock:
    """A clock that tests move."""

    def __init__(self) -> None:
        self._now = datetime.now(UTC).replace(microsecond=0)

    def __call__(self) -> datetime:
        return self._now

    def pass_by(self, seconds: float) -> None:
        """Let time pass."""
        self._now += timedelta(seconds=seconds)


class World:
    """The controllers around the operator: cert-manager, the kubelet, CloudNativePG."""

    def __init__(self, client: FakeCluster, clock: Clock, version: str = "1.30.0") -> None:
        self.client = client
        self._clock = clock
        root = authority("root")
        self.authorities = {
            names.children.CHAIN_ROOT: root,
            names.children.CHAIN_INTERMEDIATE: authority("intermediate", root),
        }
        """What cert-manager signs with, by the names of Issuers."""
        self.install_cnpg(version)

    def install_cnpg(self, version: str) -> None:
        """Create CloudNativePG, its Lease and its leader in the namespace."""
        image = f"example.org/cloudnative-pg:{version}"
        self.client.put(
            kinds.DEPLOYMENT,
            {
                "metadata": _meta("cnpg", {names.labels.NAME: names.cnpg.APP}),
                "spec": {
                    "replicas": 1,
                    "selector": {"matchLabels": {"app": "cnpg"}},
                    "template": {"spec": {"containers": [{"name": "manager", "image": image}]}},
                },
                "status": {"updatedReplicas": 1, "replicas": 1, "availableReplicas": 1},
            },
        )
        self.client.the(kinds.DEPLOYMENT, "cnpg")["status"]["observedGeneration"] = 0
        self.client.put(
            kinds.LEASE,
            {"metadata": _meta(names.cnpg.LEASE), "spec": {"holderIdentity": "cnpg-0_x"}},
        )
        self.client.put(kinds.POD, {"metadata": _meta("cnpg-0")})

    def issue(self) -> None:
        """Create the Secrets of all Certificates, as cert-manager would."""
        for (kind, _, name), body in list(self.client.objects.items()):
            if kind != "Certificate":
                continue
            seen = body["metadata"].get("generation", 1)
            ready = {"type": "Ready", "status": "True", "observedGeneration": seen}
            body["status"] = {"conditions": [ready]}
            marks = {
                "cert-manager.io/alt-names": ",".join(body["spec"].get("dnsNames", ())),
                "cert-manager.io/certificate-name": name,
                "cert-manager.io/issuer-name": body["spec"]["issuerRef"]["name"],
            }
            live = self.client.objects.get(("Secret", NAMESPACE, name))
            annotations = live["metadata"].get("annotations", {}) if live else {}
            if any(annotations.get(key) != value for key, value in marks.items()):
                self._issue(name, body["spec"], live, marks)

    def renew(self, name: str) -> None:
        """Let cert-manager issue a certificate again, an authority with another key."""
        secret = self.client.objects.get(("Secret", NAMESPACE, name))
        if secret is not None and ("Certificate", NAMESPACE, name) in self.client.objects:
            self.authorities.pop(name, None)
            secret["metadata"].get("annotations", {}).pop("cert-manager.io/issuer-name", None)

    def _issue(
        self, name: str, spec: Mapping[str, Any], live: dict[str, Any] | None, marks: dict[str, str]
    ) -> None:
        issuer = self.authorities.get(spec["issuerRef"]["name"])
        if spec.get("isCA"):
            pair = self.authorities.setdefault(name, authority(name, issuer))
        else:
            usage = SERVER if "server auth" in spec["usages"] else CLIENT
            dns_names = spec.get("dnsNames", ())
            pair = issue(issuer, name, dns=dns_names, usages=(usage,))
        encoded = {key: base64.b64encode(value).decode() for key, value in pair.secret.items()}
        metadata = dict(live["metadata"]) if live else _meta(name)
        for field, added in (
            ("labels", spec.get("secretTemplate", {}).get("labels", {})),
            ("annotations", marks),
        ):
            metadata[field] = {**metadata.get(field, {}), **added}
        self.client.put(kinds.SECRET, {"metadata": metadata, "data": encoded})

    def run(self) -> None:
        """Start the pods of every Deployment."""
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
            if kind == "Service" and names.cnpg.PLUGIN_NAME in body["metadata"].get("labels", {}):
                self.client.put(
                    kinds.EVENT,
                    {
                        "metadata": _meta(f"{name}.event"),
                        "involvedObject": {"kind": "Service", "name": name},
                        "type": "Normal",
                        "reason": "PluginRegistered",
                        "message": "registered",
                        "lastTimestamp": self._clock().strftime("%Y-%m-%dT%H:%M:%SZ"),
                    },
                )


def _meta(name: str, labels: dict[str, str] | None = None) -> dict[str, Any]:
    return {"name": name, "namespace": NAMESPACE, "labels": labels or {}}
