"""From an installation without this operator to the `CNPGPlugin` that describes it.

Only what differs from the defaults is said, so that a person can read the result. What a resource
cannot say becomes a remark: nothing is dropped in silence.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.untrusted import labels_of, mapping, objects
from cnpg_plugin_operator.desired.migration_tls import Channel
from cnpg_plugin_operator.desired.objects import Object
from cnpg_plugin_operator.desired.workload import DEFAULT_ACCOUNT

Body = Mapping[str, Any]

SAME_IN_SPEC: Final = {
    "image": "image",
    "imagePullPolicy": "imagePullPolicy",
    "command": "command",
    "env": "env",
    "envFrom": "envFrom",
    "resources": "resources",
    "securityContext": "securityContext",
}
"""Fields of a container, by their names in the spec."""

SAME_OF_POD: Final = {
    "imagePullSecrets": "imagePullSecrets",
    "securityContext": "podSecurityContext",
    "nodeSelector": "nodeSelector",
    "tolerations": "tolerations",
    "affinity": "affinity",
    "topologySpreadConstraints": "topologySpreadConstraints",
    "priorityClassName": "priorityClassName",
}
"""Fields of a pod, by their names in the spec."""

IN_TEMPLATE: Final = frozenset({"lifecycle", "workingDir"})
IN_POD_TEMPLATE: Final = frozenset(
    {"dnsConfig", "hostAliases", "initContainers", "runtimeClassName"}
)
"""Fields of a container and of a pod that only `podTemplate` has."""

DEFAULTED: Final = frozenset(
    {
        "automountServiceAccountToken",
        "dnsPolicy",
        "enableServiceLinks",
        "name",
        "preemptionPolicy",
        "priority",
        "restartPolicy",
        "schedulerName",
        "serviceAccount",
        "terminationMessagePath",
        "terminationMessagePolicy",
    }
)
"""Fields that the API server fills in, or that the operator sets."""

GRACE: Final = 30
"""Default `terminationGracePeriodSeconds`."""

PROGRESS: Final = 600
"""Default `progressDeadlineSeconds`."""

PROBES: Final = ("startup", "readiness", "liveness")

HELM: Final = "Helm"
"""Value of `app.kubernetes.io/managed-by` on what Helm installed."""


@dataclass(frozen=True, slots=True)
class Found:
    """An installation, as it is in the cluster."""

    service: Body
    deployment: Body
    """The Deployment behind the Service."""
    certificates: Sequence[Body] = ()
    """All cert-manager Certificates of the namespace."""
    taken: frozenset[str] = frozenset()
    """Names that a new resource cannot have, because of other objects."""


@dataclass(slots=True)
class Migration:
    """The resource, and what a person has to know beside it."""

    resource: Object = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)


def build_migration(found: Found, name: str = "") -> Migration:
    """Describe an installation; `name` is that of the resource, else one is chosen."""
    return _Describing(found).describe(name)


class _Describing:
    """Describes one installation."""

    def __init__(self, found: Found) -> None:
        self._found = found
        metadata = found.service["metadata"]
        self._service, self._namespace = metadata["name"], metadata["namespace"]
        self._announced = mapping(metadata.get("annotations"))
        self._template = mapping(mapping(found.deployment.get("spec")).get("template"))
        self._pod = mapping(self._template.get("spec"))
        self._port = self._read_port()
        self._container, self._others = self._choose_container()
        self._pairs = (
            str(self._announced.get(names.cnpg.SERVER_SECRET) or ""),
            str(self._announced.get(names.cnpg.CLIENT_SECRET) or ""),
        )
        self._channel = self._read_channel()
        self._remarks = list(self._channel.find_remarks(found.certificates))

    def describe(self, name: str) -> Migration:
        spec: Object = {"pluginName": labels_of(self._found.service)[names.cnpg.PLUGIN_NAME]}
        for source, target in SAME_IN_SPEC.items():
            if value := self._container.get(source):
                spec[target] = value
        spec |= self._describe_server()
        spec |= self._describe_ports()
        spec |= self._describe_volumes()
        if probes := self._describe_probes():
            spec["probes"] = probes
        for source, target in SAME_OF_POD.items():
            if value := self._pod.get(source):
                spec[target] = value
        spec |= self._describe_metadata()
        spec |= self._describe_deployment()
        if template := self._describe_template():
            spec["podTemplate"] = {"spec": template}
        spec |= self._describe_account()
        spec |= self._describe_service()
        self._remarks += self._find_rest()
        metadata = {"name": name or self._choose_name(), "namespace": self._namespace}
        resource = {
            "apiVersion": names.resource.API_VERSION,
            "kind": names.resource.KIND,
            "metadata": metadata,
            "spec": spec,
        }
        return Migration(resource, self._remarks)

    def _read_port(self) -> int:
        text = str(self._announced.get(names.cnpg.PLUGIN_PORT) or "")
        return int(text) if text.isdecimal() else names.cnpg.USUAL_PORT

    def _choose_container(self) -> tuple[Body, list[Body]]:
        """Choose the container that listens; the first one where none says so."""
        containers = objects(self._pod.get("containers"))
        ports = [
            {p.get("containerPort") for p in objects(each.get("ports"))} for each in containers
        ]
        chosen = next((n for n, known in enumerate(ports) if self._port in known), 0)
        others = [each for n, each in enumerate(containers) if n != chosen]
        return (containers[chosen] if containers else {}), others

    def _describe_server(self) -> Object:
        """Describe arguments and port; the flags that the operator appends are left out."""
        described: Object = {}
        if self._port != names.cnpg.USUAL_PORT:
            described["port"] = self._port
        if not self._channel.flags:
            described["serverArguments"] = "None"
        return described | ({"args": self._channel.rest} if self._channel.rest else {})

    def _describe_volumes(self) -> Object:
        """Describe volumes and TLS files; the operator mounts the two pairs itself."""
        pairs = self._name_pair_volumes().values()
        kept = [
            volume
            for volume in objects(self._pod.get("volumes"))
            if volume.get("name") not in pairs and not _is_token(volume)
        ]
        named = {volume.get("name") for volume in kept}
        mounts = [m for m in self._mounts if m.get("name") in named]
        described: Object = {"volumes": kept} if kept else {}
        described |= {"volumeMounts": mounts} if mounts else {}
        return described | {"tls": self._channel.describe()}

    @property
    def _mounts(self) -> list[Body]:
        return objects(self._container.get("volumeMounts"))

    def _name_pair_volumes(self) -> dict[str, str]:
        """Name the volumes of the two pairs, by their Secrets."""
        named = {
            str(mapping(volume.get("secret")).get("secretName")): str(volume.get("name"))
            for volume in objects(self._pod.get("volumes"))
        }
        return {secret: named[secret] for secret in self._pairs if secret in named}

    def _read_channel(self) -> Channel:
        places = {m.get("name"): str(m.get("mountPath")).rstrip("/") for m in self._mounts}
        volumes = self._name_pair_volumes()
        said = str(self._announced.get(names.cnpg.SERVER_NAME) or "")
        server, client = self._pairs
        return Channel(
            server=server,
            client=client,
            mounted={s: places[name] for s, name in volumes.items() if name in places},
            args=[str(each) for each in self._container.get("args") or []],
            server_name=said or (self._service if self._moves else ""),
            moves=self._moves,
        )

    def _describe_probes(self) -> Object:
        found = {each: self._container.get(f"{each}Probe") for each in PROBES}
        return {each: self._number_port(probe) for each, probe in found.items() if probe}

    def _number_port(self, probe: Body) -> Object:
        """Replace the name of a port, which the operator's container does not have."""
        ports = {
            p.get("name"): p.get("containerPort") for p in objects(self._container.get("ports"))
        }
        described = dict(probe)
        for kind in ("tcpSocket", "httpGet"):
            if isinstance(action := probe.get(kind), Mapping) and action.get("port") in ports:
                described[kind] = {**action, "port": ports[action["port"]]}
        return described

    def _describe_metadata(self) -> Object:
        """Describe labels and annotations of the pods, without those that select them."""
        selecting = mapping(mapping(self._found.service.get("spec")).get("selector"))
        matched = mapping(mapping(self._found.deployment.get("spec")).get("selector"))
        reserved = {*selecting, *mapping(matched.get("matchLabels")), "pod-template-hash"}
        labels = {
            k: v for k, v in labels_of(self._template).items() if k not in reserved and not _own(k)
        }
        annotations = {
            k: v
            for k, v in mapping(mapping(self._template.get("metadata")).get("annotations")).items()
            if not k.startswith("kubectl.kubernetes.io/")
        }
        described: Object = {"podLabels": labels} if labels else {}
        return described | ({"podAnnotations": annotations} if annotations else {})

    def _describe_deployment(self) -> Object:
        spec = mapping(self._found.deployment.get("spec"))
        described: Object = {}
        if (replicas := spec.get("replicas", 1)) != 1:
            described["replicas"] = max(int(replicas), 1)
        strategy = mapping(spec.get("strategy"))
        if strategy.get("type", "RollingUpdate") == "RollingUpdate":
            rolling = strategy.get("rollingUpdate")
            described["strategy"] = {
                "type": "RollingUpdate",
                **({"rollingUpdate": rolling} if rolling else {}),
            }
        for key in ("minReadySeconds", "progressDeadlineSeconds"):
            if spec.get(key) not in (None, 0, PROGRESS):
                described[key] = spec[key]
        return described

    def _describe_template(self) -> Object:
        """Describe what only `podTemplate` has."""
        template: Object = {k: v for k, v in self._pod.items() if k in IN_POD_TEMPLATE and v}
        if (grace := self._pod.get("terminationGracePeriodSeconds", GRACE)) != GRACE:
            template["terminationGracePeriodSeconds"] = grace
        container = {k: v for k, v in self._container.items() if k in IN_TEMPLATE and v}
        if container:
            template["containers"] = [{"name": names.children.CONTAINER, **container}]
        return template

    def _describe_account(self) -> Object:
        account = self._pod.get("serviceAccountName")
        if account in (None, "", DEFAULT_ACCOUNT):
            return {}
        self._remarks.append(
            f"The plugin runs under ServiceAccount {account}: an administrator has to allow it "
            f"(chart value allowedServiceAccounts: [{account}]). Or name its roles in "
            "spec.clusterRoles and spec.roles, and the operator creates an account."
        )
        return {"serviceAccount": {"create": False, "name": account}}

    @property
    def _moves(self) -> bool:
        """Whether the plugin gets another Service, because Helm would delete this one."""
        return labels_of(self._found.service).get(names.labels.MANAGED_BY) == HELM

    def _describe_service(self) -> Object:
        taking: Object = {"takeOver": {"serviceName": self._service}}
        if self._moves:
            self._remarks.append(
                f"Helm manages Service {self._service} and deletes it with its release, so the "
                "plugin gets a Service of its own; uninstall that release once the plugin is Ready."
            )
            return taking
        return {"service": {"name": self._service}} | taking

    def _choose_name(self) -> str:
        """Choose a name whose objects are free; the previous ones stay for a while."""
        short = self._service[:40].rstrip("-")
        wanted = (short, f"{short}-plugin", *(f"{short}-plugin-{n}" for n in range(2, 100)))
        return str(next(each for each in wanted if each not in self._found.taken))

    def _find_rest(self) -> Iterator[str]:
        """Name what the resource cannot say."""
        for other in self._others:
            yield (
                f"Container {other.get('name')} is not part of the resource: add it to "
                "spec.podTemplate.spec.containers if the plugin needs it."
            )
        known = {*SAME_IN_SPEC, *IN_TEMPLATE, *DEFAULTED, "args", "ports", "volumeMounts"}
        known |= {f"{each}Probe" for each in PROBES}
        for key in sorted(self._container.keys() - known):
            yield f"Field {key} of the container is not part of the resource."
        known = {*SAME_OF_POD, *IN_POD_TEMPLATE, *DEFAULTED, "containers", "volumes"}
        known |= {"serviceAccountName", "terminationGracePeriodSeconds"}
        for key in sorted(self._pod.keys() - known):
            if self._pod[key]:
                yield f"Field {key} of the pod is not part of the resource."

    def _describe_ports(self) -> Object:
        """Describe the further ports of the container, and which of them the Service has."""
        targets = {}
        for port in objects(mapping(self._found.service.get("spec")).get("ports")):
            targets[port.get("targetPort", port.get("port"))] = port.get("port")
        described = []
        for port in objects(self._container.get("ports")):
            number, name = port.get("containerPort"), port.get("name")
            if number == self._port:
                continue
            extra: Object = {"name": name or f"port-{number}", "port": number}
            if port.get("protocol", "TCP") != "TCP":
                extra["protocol"] = port["protocol"]
            if served := targets.get(name) or targets.get(number):
                extra["servicePort"] = served
            described.append(extra)
        return {"extraPorts": described} if described else {}


def _own(key: str) -> bool:
    """Whether the operator sets a label itself, or another tool's selects by it."""
    return key in (names.labels.NAME, names.labels.MANAGED_BY, "helm.sh/chart")


def _is_token(volume: Body) -> bool:
    """Whether the API server added a volume for the account's token."""
    return str(volume.get("name")).startswith("kube-api-access-")
