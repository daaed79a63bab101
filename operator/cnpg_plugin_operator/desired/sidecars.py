"""Plugins as sidecars: what CloudNativePG's pod template is to hold for all of them together.

One server-side apply under a manager of its own owns exactly this, so an apply without it takes all
of it away and leaves the template as it was. Native sidecars (Kubernetes 1.29) start before the
gate, and the gate ends before CloudNativePG starts.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.api.untrusted import printable, read_json
from cnpg_plugin_operator.desired.drift import first_difference
from cnpg_plugin_operator.desired.objects import Object, digest
from cnpg_plugin_operator.desired.workload import CONTAINER_SECURITY, POD_SECURITY

SOCKETS: Final[Object] = {"name": names.VOLUME_SOCKETS, "emptyDir": {}}
NO_TOKEN: Final[Object] = {"name": names.VOLUME_NO_TOKEN, "emptyDir": {}}

NO_TOKEN_MOUNT: Final[Object] = {
    "name": names.VOLUME_NO_TOKEN,
    "mountPath": names.TOKEN_DIRECTORY,
    "readOnly": True,
}
"""Takes the place of the token that every container of the pod would get (the API server's
admission plugin ServiceAccount leaves alone what has something mounted there)."""

GATE_RESOURCES: Final[Object] = {"requests": {"cpu": "10m", "memory": "64Mi"}}


@dataclass(frozen=True, slots=True)
class Place:
    """What a sidecar has to know of the pod it goes into."""

    directory: str
    """Where CloudNativePG looks for sockets."""
    user: Mapping[str, int]
    """`runAsUser` and `runAsGroup` of CloudNativePG's container; empty where the platform assigns
    them. Only the same user may connect to a socket of mode 0755."""


@dataclass(frozen=True, slots=True)
class Gate:
    """The container that CloudNativePG's start waits for; settings of the operator."""

    image: str = ""
    """The operator's own; empty where it does not know it."""
    pull_policy: str = "IfNotPresent"
    deadline: timedelta = timedelta(seconds=60)
    """After which CloudNativePG starts whatever the sidecars do."""


@dataclass(frozen=True, slots=True)
class Sidecar:
    """One plugin's part of the pod template."""

    name: str
    """Of the `CNPGPlugin`."""
    socket: str
    """The CNPG-I name, which is the name of its socket."""
    revision: str
    container: Object
    volumes: tuple[Object, ...]
    pull_secrets: tuple[Object, ...] = ()


def build_sidecar(plugin: Plugin, place: Place) -> Sidecar:
    """Build what a plugin is to be in CloudNativePG's pod."""
    container = _build_container(plugin, place)
    volumes = tuple(
        {**volume, "name": names.sidecar_volume(plugin.name, str(volume.get("name")))}
        for volume in plugin.spec.volumes
    )
    secrets = plugin.spec.image_pull_secrets
    # With the uid, a resource that is made anew is another revision than its predecessor.
    revision = digest([plugin.uid, container, volumes, secrets])
    return Sidecar(
        plugin.name, plugin.spec.plugin_name, revision, container, volumes, tuple(secrets)
    )


def _build_container(plugin: Plugin, place: Place) -> Object:
    spec = plugin.spec
    flags = [f"--plugin-path={place.directory}"] if spec.server_arguments == "Machinery" else []
    mounts = [
        {**mount, "name": names.sidecar_volume(plugin.name, str(mount.get("name")))}
        for mount in spec.volume_mounts
    ]
    # Whoever names CloudNativePG's account, and may, gets its token.
    hiding = [] if spec.service_account.name else [NO_TOKEN_MOUNT]
    container: Object = {
        "name": names.sidecar_container(plugin.name),
        "image": spec.image,
        "restartPolicy": "Always",
        "args": [*spec.args, *flags],
        "env": [
            {"name": "CNPG_PLUGIN_SOCKET_DIR", "value": place.directory},
            *spec.env,
        ],
        "securityContext": {
            **CONTAINER_SECURITY,
            **POD_SECURITY,
            **place.user,
            **spec.security_context,
        },
        "volumeMounts": [_socket_mount(place), *hiding, *mounts],
        # The pod may be gone, and its log with it, before anybody reads why the plugin ended.
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    optional = {
        "command": list(spec.command),
        "imagePullPolicy": spec.image_pull_policy,
        "envFrom": list(spec.env_from),
        "resources": spec.resources,
        "livenessProbe": spec.probes.liveness,
    }
    container.update({field: value for field, value in optional.items() if value})
    return container


def _socket_mount(place: Place) -> Object:
    return {"name": names.VOLUME_SOCKETS, "mountPath": place.directory}


def keep_sidecar(name: str, socket: str, template: Mapping[str, Any]) -> Sidecar | None:
    """Take a plugin's part as it is, for a plugin that must not be changed now."""
    revision = read_sidecars(template).get(name)
    pod = template.get("spec") or {}
    own = names.sidecar_container(name)
    container = next((c for c in pod.get("initContainers") or [] if c.get("name") == own), None)
    if revision is None or container is None:
        return None
    mounted = {mount.get("name") for mount in container.get("volumeMounts") or []}
    volumes = tuple(
        volume
        for volume in pod.get("volumes") or []
        if volume.get("name") in mounted - {names.VOLUME_SOCKETS, names.VOLUME_NO_TOKEN}
    )
    # Which of the pull secrets are this sidecar's, nothing says; all of them do no harm.
    secrets = tuple(pod.get("imagePullSecrets") or [])
    return Sidecar(name, socket, revision, dict(container), volumes, secrets)


def build_template(
    sidecars: Sequence[Sidecar], place: Place, gate: Gate, live: Mapping[str, Any]
) -> Object:
    """Build this operator's part of the pod template; empty where there is no sidecar.

    The gate that is there stays: a new version of this operator is no reason to roll CloudNativePG.
    """
    if not sidecars:
        return {}
    ordered = sorted(sidecars, key=lambda sidecar: sidecar.name)
    revisions = {sidecar.name: sidecar.revision for sidecar in ordered}
    secrets = {str(s.get("name")): s for sidecar in ordered for s in sidecar.pull_secrets}
    pod: Object = {
        "initContainers": [
            *(sidecar.container for sidecar in ordered),
            _build_gate(ordered, place, gate),
        ],
        "containers": [{"name": names.CNPG_CONTAINER, "volumeMounts": [_socket_mount(place)]}],
        "volumes": [SOCKETS, NO_TOKEN, *(v for sidecar in ordered for v in sidecar.volumes)],
    }
    if secrets:
        pod["imagePullSecrets"] = list(secrets.values())
    annotations = {names.ANNOTATION_SIDECARS: json.dumps(revisions, sort_keys=True)}
    template = {"metadata": {"annotations": annotations}, "spec": pod}
    if read_sidecars(live) == revisions and (standing := _standing_gate(live)):
        pod["initContainers"][-1] = standing
    return template


def _build_gate(sidecars: Sequence[Sidecar], place: Place, gate: Gate) -> Object:
    return {
        "name": names.GATE,
        "image": gate.image,
        "imagePullPolicy": gate.pull_policy,
        "args": [
            "await-sockets",
            f"--directory={place.directory}",
            f"--deadline={int(gate.deadline.total_seconds())}s",
            *(sidecar.socket for sidecar in sidecars),
        ],
        "resources": GATE_RESOURCES,
        "securityContext": {**CONTAINER_SECURITY, **POD_SECURITY, **place.user},
        "volumeMounts": [_socket_mount(place), NO_TOKEN_MOUNT],
    }


def _standing_gate(template: Mapping[str, Any]) -> Object | None:
    """Find the gate as it is; the API server's defaults in it do no harm when applied."""
    containers = (template.get("spec") or {}).get("initContainers") or []
    return next((dict(c) for c in containers if c.get("name") == names.GATE), None)


def read_sidecars(template: Mapping[str, Any]) -> dict[str, str]:
    """Read which sidecars a pod template (or a pod) says it holds; nonsense counts as none."""
    annotations = (template.get("metadata") or {}).get("annotations") or {}
    found = read_json(annotations.get(names.ANNOTATION_SIDECARS))
    return {name: printable(revision) for name, revision in found.items()}


def find_template_drift(wanted: Object, live: Mapping[str, Any]) -> str | None:
    """Name the first field in which the pod template differs from what it is to hold, or None."""
    if not wanted:
        return "metadata.annotations" if _has_remains(live) else None
    return first_difference(wanted, live)


def _has_remains(template: Mapping[str, Any]) -> bool:
    """Whether anything of this operator's is left in a template that is to hold no sidecar."""
    containers = (template.get("spec") or {}).get("initContainers") or []
    return bool(read_sidecars(template)) or any(c.get("name") == names.GATE for c in containers)
