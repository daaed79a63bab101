"""From an installation without this operator to the `CNPGPlugin` that describes it.

Only what differs from the defaults is said, so that a person can read the result. What a resource
cannot say becomes a remark: nothing is dropped in silence.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Final

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.untrusted import mapping, objects
from cnpg_plugin_operator.desired.objects import Object

Body = Mapping[str, Any]

FLAGS: Final = ("--server-cert", "--server-key", "--client-cert", "--server-address")
"""What every server built on cnpg-i-machinery accepts, and the operator appends."""

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
        self._remarks: list[str] = []

    def describe(self, name: str) -> Migration:
        spec: Object = {"pluginName": _labels(self._found.service)[names.cnpg.PLUGIN_NAME]}
        for source, target in SAME_IN_SPEC.items():
            if value := self._container.get(source):
                spec[target] = value
        spec |= self._describe_server()
        spec |= self._describe_volumes(spec)
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
        self._remark_on_rest()
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
        return int(text) if text.isdecimal() else 9090

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
        args = [str(each) for each in self._container.get("args") or []]
        rest, flags = _split_flags(args)
        described: Object = {"port": self._port} if self._port != 9090 else {}  # noqa: PLR2004 - CNPG-I's
        if flags.keys() >= set(FLAGS):
            return described | ({"args": rest} if rest else {})
        described["serverArguments"] = "None"
        return described | ({"args": args} if args else {})

    def _describe_volumes(self, spec: Body) -> Object:
        """Describe volumes and TLS files; the operator mounts the two pairs itself."""
        volumes, mounts = (
            objects(self._pod.get("volumes")),
            objects(self._container.get("volumeMounts")),
        )
        own = {
            str(mapping(volume.get("secret")).get("secretName")): volume.get("name")
            for volume in volumes
            if mapping(volume.get("secret")).get("secretName") in self._pairs
        }
        described: Object = {}
        kept = [v for v in volumes if v.get("name") not in own.values() and not _is_token(v)]
        names_kept = {volume.get("name") for volume in kept}
        if kept:
            described["volumes"] = kept
        if further := [mount for mount in mounts if mount.get("name") in names_kept]:
            described["volumeMounts"] = further
        described["tls"] = self._describe_tls(own, mounts, spec)
        return described

    def _describe_tls(self, own: Body, mounts: Sequence[Body], spec: Body) -> Object:
        server, client = self._pairs
        tls: Object = {"provider": "Secrets", "secrets": {"server": server, "client": client}}
        self._remark_on_issuers()
        files: Object = {}
        for side, secret, default in (("server", server, "/server"), ("client", client, "/client")):
            paths = [str(m.get("mountPath")) for m in mounts if m.get("name") == own.get(secret)]
            if not paths:
                self._remarks.append(
                    f"Secret {secret} is not mounted as a directory: set spec.tls.files.{side} to "
                    "where the server expects its files."
                )
            elif paths[0] != default:
                files[side] = {"directory": paths[0].rstrip("/")}
        if files:
            tls["files"] = files
        _, flags = _split_flags([str(each) for each in self._container.get("args") or []])
        if PurePosixPath(flags.get("--client-cert", "")).name == "ca.crt":
            tls["clientTrust"] = "Root"
        elif spec.get("serverArguments") == "None":
            self._remarks.append(
                "Set spec.tls.clientTrust to Root if the server trusts ca.crt of its client "
                "directory, not tls.crt."
            )
        name = self._announced.get(names.cnpg.SERVER_NAME)
        if name or self._moves:
            tls["serverName"] = name or self._service
        return tls

    def _remark_on_issuers(self) -> None:
        """Say who renews the Secrets, and how to have the operator do it."""
        for body in self._found.certificates:
            wanted = mapping(body.get("spec"))
            if wanted.get("secretName") in self._pairs:
                issuer = mapping(wanted.get("issuerRef"))
                fields = "provider, secrets and serverName" if self._moves else "provider, secrets"
                self._remarks.append(
                    f"Certificate {body['metadata']['name']} of {issuer.get('kind', 'Issuer')} "
                    f"{issuer.get('name')} writes Secret {wanted.get('secretName')}: keep both, or "
                    f"remove {fields} from spec.tls, and the operator issues its own certificates."
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
            k: v for k, v in _labels(self._template).items() if k not in reserved and not _own(k)
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
        if not account or account == "default":
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
        return _labels(self._found.service).get(names.labels.MANAGED_BY) == HELM

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

    def _remark_on_rest(self) -> None:
        self._remarks += self._find_rest()

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
        for port in objects(mapping(self._found.service.get("spec")).get("ports")):
            if port.get("port") != self._port:
                yield (
                    f"Port {port.get('port')} of Service {self._service} is not part of the "
                    "resource: create a Service of your own for it, which selects the label "
                    f"{names.labels.PLUGIN}."
                )


def _split_flags(args: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Take the server's flags out of arguments, as `--flag=value` or `--flag value`."""
    rest, flags = [], {}
    words = iter(args)
    for word in words:
        flag, equals, value = word.partition("=")
        if flag in FLAGS:
            flags[flag] = value if equals else next(words, "")
        else:
            rest.append(word)
    return rest, flags


def _labels(body: Body) -> Mapping[str, str]:
    return mapping(mapping(body.get("metadata")).get("labels"))


def _own(key: str) -> bool:
    """Whether the operator sets a label itself, or another tool's selects by it."""
    return key in (names.labels.NAME, names.labels.MANAGED_BY, "helm.sh/chart")


def _is_token(volume: Body) -> bool:
    """Whether the API server added a volume for the account's token."""
    return str(volume.get("name")).startswith("kube-api-access-")
