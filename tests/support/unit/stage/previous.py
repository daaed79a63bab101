"""An installation without the operator, in memory, and a CloudNativePG that always uses it."""

import base64
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from cnpg_plugin_operator import names
from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.decide.facts.plugin import Endpoint, Material
from cnpg_plugin_operator.reconcile.context import STILL_ROUTED
from tests.support.tls.certificates import CLIENT, self_signed
from tests.support.unit.stage.kubelet import Pod
from tests.support.unit.stage.stage import Stage
from tests.support.unit.stage.world import NAMESPACE

PLUGIN = "hello.example.org"
SELECTOR = {"app": "previous"}
LEASE = "822e3f5c.cnpg.io"


def install(stage: Stage, service: str, **annotations: str) -> None:
    """Install a plugin as its manifest does, under other names than the operator's."""
    client = stage.client
    for name, pair in {
        "previous-server": self_signed(service, dns=(service,)),
        "previous-client": self_signed("cnpg", dns=(), usages=(CLIENT,)),
    }.items():
        marks = {
            "cert-manager.io/alt-names": "",
            "cert-manager.io/certificate-name": name,
            "cert-manager.io/issuer-name": "previous-issuer",
        }
        data = {key: base64.b64encode(value).decode() for key, value in pair.secret.items()}
        client.put(kinds.SECRET, {"metadata": _meta(name, annotations=marks), "data": data})
        reference = {"name": "previous-issuer", "kind": "Issuer"}
        spec = {"secretName": name, "issuerRef": reference}
        client.put(kinds.CERTIFICATE, {"metadata": _meta(name), "spec": spec})
    client.put(kinds.ISSUER, {"metadata": _meta("previous-issuer"), "spec": {"selfSigned": {}}})
    client.put(kinds.SERVICE_ACCOUNT, {"metadata": _meta("previous")})
    subjects = [{"kind": "ServiceAccount", "name": "previous", "namespace": NAMESPACE}]
    client.put(kinds.ROLE_BINDING, {"metadata": _meta("previous"), "subjects": subjects})
    template = {"metadata": {"labels": SELECTOR}, "spec": {"serviceAccountName": "previous"}}
    client.put(
        kinds.DEPLOYMENT,
        {"metadata": _meta("previous"), "spec": {"replicas": 1, "template": template}},
    )
    client.put(kinds.POD, {"metadata": _meta("previous-0", labels=SELECTOR)})
    announced = {
        names.cnpg.PLUGIN_PORT: "9090",
        names.cnpg.SERVER_SECRET: "previous-server",
        names.cnpg.CLIENT_SECRET: "previous-client",
        **annotations,
    }
    client.put(
        kinds.SERVICE,
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": _meta(
                service,
                labels={names.cnpg.PLUGIN_NAME: PLUGIN, **SELECTOR},
                annotations=announced,
                finalizers=[names.cnpg.SERVICE_FINALIZER],
            ),
            "spec": {"selector": dict(SELECTOR), "ports": [{"port": 9090, "targetPort": "grpc"}]},
        },
    )


class LeaderOnly:
    """Makes the world one in which only the leader listens: the previous pods, while they run."""

    def __init__(self, stage: Stage) -> None:
        self._stage, self._run = stage, stage.world.run
        self.broken = False
        """Whether the new pods do not even listen as the leader."""
        stage.world.run = self.run  # type: ignore[method-assign]
        self._hold()

    def _hold(self) -> None:
        spec = {"holderIdentity": "previous-0_1234"}
        self._stage.client.put(kinds.LEASE, {"metadata": _meta(LEASE), "spec": spec})

    @property
    def serves(self) -> bool:
        """Whether the previous pods serve."""
        replicas = self._stage.client.the(kinds.DEPLOYMENT, "previous")["spec"]["replicas"]
        return bool(replicas)

    def run(self) -> None:
        """Start all pods; those of the plugin become ready as the leader."""
        self._run()
        client = self._stage.client
        if self.serves:
            self._hold()
        else:
            client.objects.pop(("Lease", NAMESPACE, LEASE), None)
        ready = not self.serves and not self.broken
        deployment = client.objects.get(("Deployment", NAMESPACE, "hello"))
        if deployment is not None and not ready:
            deployment["status"]["availableReplicas"] = 0
        for body in client.all_of(kinds.POD):
            if names.labels.PLUGIN in body["metadata"]["labels"]:
                status = client.the(kinds.POD, body["metadata"]["name"])["status"]
                started = {"running": {"startedAt": body["metadata"]["creationTimestamp"]}}
                status["containerStatuses"] = [{"name": "plugin", "ready": ready, "state": started}]
                status["conditions"] = [{"type": "Ready", "status": str(ready)}]


def _meta(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "namespace": NAMESPACE, "labels": {}, **fields}


@dataclass
class CloudNativePG:
    """Follows Services as CloudNativePG 1.30.1 does, and calls the plugin after every write.

    It keeps one entry per plugin's name: the Service that changed last. The end of a Service ends
    the entry of the name that the Service was registered by last.
    """

    stage: Stage
    entry: str = ""
    """The Service that is used."""
    _registered: dict[str, tuple[str, str]] = field(default_factory=dict)
    """By Service: its version and the name that it was registered by."""
    _routed: dict[tuple[str, str], datetime] = field(default_factory=dict)
    """When a Service last had the pods of a plugin behind it."""
    _previous: Pod = field(init=False)

    def __post_init__(self) -> None:
        server, client = map(self.stage.client.read, ("previous-server", "previous-client"))
        files = (server["tls.crt"], client["tls.crt"])
        now = self.stage.clock()
        self._previous = Pod("previous-0", "", "10.1.0.1", "", now, "", files, files)
        self.look()
        self.stage.client.watch = self.look
        self.stage.kubelet.follows = self.look

    def look(self) -> None:
        """Register what changed, then call every pod that a call may reach."""
        services = {
            name: body
            for (kind, _, name), body in self.stage.client.objects.items()
            if kind == "Service"
        }
        for name, body in services.items():
            self._register(name, body)
        for name in self._registered.keys() - services.keys():
            _, plugin = self._registered.pop(name)
            if plugin == PLUGIN:
                self.entry = ""
        assert self.entry, "CloudNativePG has forgotten the plugin"
        self._call(services[self.entry])

    def _register(self, name: str, body: dict[str, Any]) -> None:
        plugin = body["metadata"].get("labels", {}).get(names.cnpg.PLUGIN_NAME)
        version = body["metadata"]["resourceVersion"]
        if plugin is None or self._registered.get(name, ("",))[0] == version:
            return
        self._registered[name] = version, plugin
        if plugin == PLUGIN:
            self.entry = name

    def _call(self, service: dict[str, Any]) -> None:
        metadata, now = service["metadata"], self.stage.clock()
        announced = metadata["annotations"]
        selector = service["spec"]["selector"]
        behind = selector.get(names.labels.PLUGIN, "")
        self._routed[metadata["name"], behind] = now
        trust = self.stage.client.read(announced[names.cnpg.SERVER_SECRET])
        client = self.stage.client.read(announced[names.cnpg.CLIENT_SECRET])
        material = Material(trust["tls.crt"], client["tls.crt"], client["tls.key"])
        name = announced.get(names.cnpg.SERVER_NAME, metadata["name"])
        running = self.stage.client.objects.get(("Deployment", NAMESPACE, "previous"))
        previous = [self._previous] if running and running["spec"]["replicas"] else []
        for pod in [*self.stage.kubelet.pods.values(), *previous]:
            last = self._routed.get((metadata["name"], pod.plugin))
            if last is not None and now - last < STILL_ROUTED - timedelta(seconds=1):
                outcome = self.stage.kubelet._shake(pod, Endpoint("", 9090, name, ""), material)
                assert outcome.succeeded, outcome.message
