"""The Deployment that runs a plugin."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.api.spec import Files, Probes, ServerFiles
from cnpg_plugin_operator.desired.access import account_name
from cnpg_plugin_operator.desired.merge import merge
from cnpg_plugin_operator.desired.objects import Object, build_child, complete_labels

POD_SECURITY: Final = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
"""Requirements of the Pod Security level `restricted` for pods. It sets no user id: the image has
its own, and OpenShift assigns one."""

CONTAINER_SECURITY: Final = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}
"""Requirements of the level `restricted` for containers, and a read-only root file system."""

CA_FILE: Final = "ca.crt"
"""Another name of the file with the trusted client certificates, which many plugins expect."""

SERVER_FLAGS: Final[Mapping[str, str]] = {
    "--server-cert": "CNPG_PLUGIN_SERVER_CERT",
    "--server-key": "CNPG_PLUGIN_SERVER_KEY",
    "--client-cert": "CNPG_PLUGIN_CLIENT_CERT",
    "--server-address": "CNPG_PLUGIN_ADDRESS",
}
"""What every server built on cnpg-i-machinery accepts, and the variable with the same value."""

TOKEN_SOURCES: Final = frozenset({"serviceAccountToken", "podCertificate"})
"""Sources of a projected volume that prove the pod's account to others."""

DEFAULT_ACCOUNT: Final = "default"
"""The account that every namespace has."""


def build_deployment(plugin: Plugin, reloaded_for: str = "") -> Object:
    """Build the Deployment of a standalone plugin.

    `reloaded_for` is the digest of the certificates that its pods were restarted for; empty where
    they never were.
    """
    spec = plugin.spec
    template = build_pod_template(plugin)
    if reloaded_for:
        annotations = template.setdefault("metadata", {}).setdefault("annotations", {})
        annotations[names.annotations.RELOADED] = reloaded_for
    strategy: dict[str, Any] = {"type": spec.strategy.type}
    if spec.strategy.rolling_update is not None:
        strategy["rollingUpdate"] = spec.strategy.rolling_update
    pace = {
        "minReadySeconds": spec.min_ready_seconds,
        "progressDeadlineSeconds": spec.progress_deadline_seconds,
    }
    return build_child(
        plugin,
        "apps/v1",
        "Deployment",
        plugin.name,
        labels=spec.deployment_labels,
        spec={
            "replicas": spec.replicas,
            "strategy": strategy,
            **{field: seconds for field, seconds in pace.items() if seconds is not None},
            "selector": {"matchLabels": {names.labels.PLUGIN: plugin.name}},
            "template": template,
        },
    )


def without_replicas(plugin: Plugin) -> Plugin:
    """Return the plugin as one that does not run for now."""
    return replace(plugin, spec=plugin.spec.model_copy(update={"replicas": 0}))


def build_pod_template(plugin: Plugin) -> Object:
    """Build the pod template; `spec.podTemplate` is merged last."""
    spec = plugin.spec
    pod: dict[str, Any] = {
        "containers": [_build_container(plugin)],
        "securityContext": {**POD_SECURITY, **spec.pod_security_context},
        "volumes": [*tls_volumes(plugin), *spec.volumes],
    }
    optional = {
        "imagePullSecrets": list(spec.image_pull_secrets),
        "nodeSelector": spec.node_selector,
        "tolerations": list(spec.tolerations),
        "affinity": spec.affinity,
        "topologySpreadConstraints": list(spec.topology_spread_constraints),
        "priorityClassName": spec.priority_class_name,
    }
    pod.update({field: value for field, value in optional.items() if value})
    template = {
        "metadata": {
            "labels": complete_labels(plugin, spec.pod_labels),
            "annotations": dict(spec.pod_annotations),
        },
        "spec": pod,
    }
    merged: Object = merge(template, spec.pod_template)
    if isinstance(merged.get("spec"), dict):
        _settle_account(plugin, merged["spec"])
    return merged


def _settle_account(plugin: Plugin, pod: Object) -> None:
    """Set the account after the merge: the pod gets the token of a chosen account, or none.

    The account is always set: when a field manager removes `serviceAccountName`, the API server
    fills it in again from its deprecated alias.
    """
    account = account_name(plugin)
    declined = pod.get("automountServiceAccountToken") is False
    pod.pop("serviceAccount", None)
    pod["serviceAccountName"] = account or DEFAULT_ACCOUNT
    pod["automountServiceAccountToken"] = account is not None and not declined


def proves_account(pod: Mapping[str, Any]) -> bool:
    """Whether a running pod template has a non-default account, or a token of any."""
    without = without_account(pod)
    return (
        (pod.get("serviceAccountName") or DEFAULT_ACCOUNT) != DEFAULT_ACCOUNT
        or pod.get("automountServiceAccountToken") is not False
        or (pod.get("volumes") or []) != without["volumes"]
    )


def without_account(pod: Mapping[str, Any]) -> Object:
    """Build the fields of a running pod template that remove its account and tokens."""
    volumes = []
    for volume in pod.get("volumes") or []:
        projected = volume.get("projected") or {}
        kept = [s for s in projected.get("sources") or [] if TOKEN_SOURCES.isdisjoint(s)]
        part = {"projected": {**projected, "sources": kept}} if projected else {}
        volumes.append({**volume, **part})
    return {
        "serviceAccountName": DEFAULT_ACCOUNT,
        "serviceAccount": DEFAULT_ACCOUNT,
        "automountServiceAccountToken": False,
        "volumes": volumes,
    }


def _build_container(plugin: Plugin) -> Object:
    spec = plugin.spec
    facts = server_environment(plugin)
    container: Object = {
        "name": names.children.CONTAINER,
        "image": spec.image,
        "args": [*spec.args, *_server_arguments(plugin)],
        "ports": [
            {"name": "grpc", "containerPort": spec.port, "protocol": "TCP"},
            *(
                {"name": extra.name, "containerPort": extra.port, "protocol": extra.protocol}
                for extra in spec.extra_ports
            ),
        ],
        "env": [{"name": name, "value": value} for name, value in facts.items()] + list(spec.env),
        "securityContext": {**CONTAINER_SECURITY, **spec.security_context},
        "volumeMounts": [*_tls_mounts(spec.tls.files), *spec.volume_mounts],
        # Without a termination message, the end of the log says why a plugin exited.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        **_build_probes(spec.probes, spec.port),
    }
    optional = {
        "command": list(spec.command),
        "imagePullPolicy": spec.image_pull_policy,
        "envFrom": list(spec.env_from),
        "resources": spec.resources,
    }
    container.update({field: value for field, value in optional.items() if value})
    return container


def server_environment(plugin: Plugin) -> dict[str, str]:
    """Return the paths of the server's files and its address; usable as `$(NAME)` in args."""
    server, client = plugin.spec.tls.files.server, plugin.spec.tls.files.client
    return {
        "CNPG_PLUGIN_SERVER_CERT": f"{server.directory}/{server.certificate}",
        "CNPG_PLUGIN_SERVER_KEY": f"{server.directory}/{server.private_key}",
        "CNPG_PLUGIN_CLIENT_CERT": f"{client.directory}/{client.trust}",
        "CNPG_PLUGIN_ADDRESS": f":{plugin.spec.port}",
    }


def _server_arguments(plugin: Plugin) -> list[str]:
    """Return the flags of every plugin built on cnpg-i-machinery."""
    if plugin.spec.server_arguments == "None":
        return []
    facts = server_environment(plugin)
    return [f"{flag}={facts[variable]}" for flag, variable in SERVER_FLAGS.items()]


def _build_probes(probes: Probes, port: int) -> dict[str, Any]:
    """Default to readiness by TCP, for kubelet's gRPC probes have no TLS. An empty probe is none.

    There is no other probe by default. A server that listens only as the leader may have to wait
    for that, and both others would restart it; a startup probe also costs a second, because the
    kubelet notices its success late.
    """
    ready = {"tcpSocket": {"port": port}, "periodSeconds": 2, "failureThreshold": 15}
    chosen = {
        "startupProbe": probes.startup,
        "readinessProbe": ready if probes.readiness is None else probes.readiness,
        "livenessProbe": probes.liveness,
    }
    return {field: probe for field, probe in chosen.items() if probe}


def _tls_mounts(files: Files) -> list[Object]:
    places = {names.children.VOLUME_SERVER: files.server.directory}
    if not files.share_directory:
        places[names.children.VOLUME_CLIENT] = files.client.directory
    return [
        {"name": volume, "mountPath": path, "readOnly": True} for volume, path in places.items()
    ]


def tls_volumes(plugin: Plugin) -> list[Object]:
    """Build the volumes of the server's pair and of the trusted client certificates.

    The plugin has no access to CloudNativePG's private key.
    """
    files = plugin.spec.tls.files
    pair = _items({"tls.crt": files.server.certificate, "tls.key": files.server.private_key})
    trust = [{"key": names.children.TRUSTED_CLIENTS, "path": files.client.trust}]
    trust_secret = names.children.trust_secret(plugin.name)
    if files.share_directory:
        sources = [
            {"secret": {"name": plugin.server_secret, "items": pair}},
            {"secret": {"name": trust_secret, "items": trust}},
        ]
        return [{"name": names.children.VOLUME_SERVER, "projected": {"sources": sources}}]
    if files.client.trust != CA_FILE:
        trust.append({"key": names.children.TRUSTED_CLIENTS, "path": CA_FILE})
    server: Object = {"secretName": plugin.server_secret}
    if files.server != ServerFiles(directory=files.server.directory):
        server["items"] = pair
    return [
        {"name": names.children.VOLUME_SERVER, "secret": server},
        {
            "name": names.children.VOLUME_CLIENT,
            "secret": {"secretName": trust_secret, "items": trust},
        },
    ]


def _items(paths: Mapping[str, str]) -> list[Object]:
    return [{"key": key, "path": path} for key, path in paths.items()]
