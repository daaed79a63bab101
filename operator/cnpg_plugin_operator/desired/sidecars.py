"""Plugins as sidecars: their combined part of CloudNativePG's pod template.

One field manager owns exactly this part, so an apply without it removes all of it and leaves the
rest of the Deployment unchanged. Native sidecars (Kubernetes 1.29) start before the gate, and the
gate ends before CloudNativePG starts.

Each sidecar has its own socket directory. CloudNativePG registers every entry of its directory as a
plugin of that name (`RegisterUnixSocketPluginsInPath`, 1.24.0 to 1.30.0), so only the gate can
write there: it links the sockets of declared plugins. Each sidecar has a volume, not a `subPath` of
a shared one, because an eviction names the volume, and so the sidecar.
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

_TINY: Final[Object] = {"medium": "Memory", "sizeLimit": "1Mi"}
"""For sockets and links. The kernel enforces the limit: such a volume never fills the node's disk,
and the pod is never evicted because of it."""

LINKS: Final[Object] = {"name": names.sidecars.VOLUME_SOCKETS, "emptyDir": _TINY}
NO_TOKEN: Final[Object] = {"name": names.sidecars.VOLUME_NO_TOKEN, "emptyDir": {}}

NO_TOKEN_MOUNT: Final[Object] = {
    "name": names.sidecars.VOLUME_NO_TOKEN,
    "mountPath": names.sidecars.TOKEN_DIRECTORY,
    "readOnly": True,
}
"""Hides the token that every container of the pod would get: the API server's admission plugin
ServiceAccount does not mount it where something else is mounted."""

MIN_READY_SECONDS: Final = 5
"""How long a pod of CloudNativePG with sidecars has to be ready before Kubernetes ends the previous
one. A sidecar that crashes whenever it is started is ready for a moment each time. Each rollout
takes that much longer, so this is no more than such a moment needs."""

GATE_RESOURCES: Final[Object] = {"requests": {"cpu": "10m", "memory": "64Mi"}}


@dataclass(frozen=True, slots=True)
class Place:
    """What a sidecar needs to know about its pod."""

    directory: str
    """The directory of the sockets."""
    user: Mapping[str, int]
    """`runAsUser` and `runAsGroup` of CloudNativePG's container; empty where the platform assigns
    them. Only the same user can connect to a socket of mode 0755."""


@dataclass(frozen=True, slots=True)
class Gate:
    """The init container that starts before CloudNativePG, from the operator's settings."""

    image: str = ""
    """The operator's own image; empty where it is not configured."""
    pull_policy: str = "IfNotPresent"
    deadline: timedelta = timedelta(seconds=60)
    """The time after which CloudNativePG starts, whatever the sidecars do."""
    pull_secrets: tuple[str, ...] = ()
    """Secrets in CloudNativePG's namespace for pulling the image."""


@dataclass(frozen=True, slots=True)
class Sidecar:
    """One plugin's part of the pod template."""

    name: str
    """Name of the `CNPGPlugin`."""
    socket: str
    """The CNPG-I name, which is also the name of its socket."""
    revision: str
    container: Object
    volumes: tuple[Object, ...]
    pull_secrets: tuple[Object, ...] = ()


def build_sidecar(plugin: Plugin, place: Place) -> Sidecar:
    """Build a plugin's part of CloudNativePG's pod."""
    container = _build_container(plugin, place)
    volumes = tuple(
        {**volume, "name": names.sidecars.volume(plugin.name, str(volume.get("name")))}
        for volume in plugin.spec.volumes
    )
    secrets = plugin.spec.image_pull_secrets
    # With the uid, a resource that is created again has another revision than the previous one.
    revision = digest([plugin.uid, container, volumes, secrets])
    return Sidecar(
        plugin.name, plugin.spec.plugin_name, revision, container, volumes, tuple(secrets)
    )


def _build_container(plugin: Plugin, place: Place) -> Object:
    spec = plugin.spec
    flags = [f"--plugin-path={place.directory}"] if spec.server_arguments == "Machinery" else []
    mounts = [
        {**mount, "name": names.sidecars.volume(plugin.name, str(mount.get("name")))}
        for mount in spec.volume_mounts
    ]
    # A plugin that uses CloudNativePG's account, which needs a grant, gets its token.
    hiding = [] if spec.service_account.name else [NO_TOKEN_MOUNT]
    container: Object = {
        "name": names.sidecars.container(plugin.name),
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
        "volumeMounts": [_own_socket_mount(plugin.name, place.directory), *hiding, *mounts],
        # The pod and its log may be deleted before a user reads why the plugin exited.
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


def _own_socket_mount(name: str, directory: str) -> Object:
    """Mount a sidecar's own directory where it would expect CloudNativePG's."""
    return {"name": names.sidecars.socket_volume(name), "mountPath": directory}


def _links_mount(place: Place) -> Object:
    return {"name": names.sidecars.VOLUME_SOCKETS, "mountPath": place.directory}


def _directory_mounts(sidecars: Sequence[Sidecar]) -> list[Object]:
    """Mount all sidecars' directories; clients can connect to a socket on a read-only mount."""
    return [
        {
            "name": names.sidecars.socket_volume(sidecar.name),
            "mountPath": names.sidecars.socket_directory(sidecar.name),
            "readOnly": True,
        }
        for sidecar in sidecars
    ]


def keep_sidecar(name: str, socket: str, template: Mapping[str, Any]) -> Sidecar | None:
    """Return a plugin's current part, for a plugin that must not change now.

    Only its socket directory may change: up to 0.1, all sidecars shared one.
    """
    revision = read_sidecars(template).get(name)
    pod = template.get("spec") or {}
    named = names.sidecars.container(name)
    container = next((c for c in pod.get("initContainers") or [] if c.get("name") == named), None)
    if revision is None or container is None:
        return None
    mounts: list[Object] = container.get("volumeMounts") or []
    shared = {
        names.sidecars.VOLUME_SOCKETS,
        names.sidecars.VOLUME_NO_TOKEN,
        names.sidecars.socket_volume(name),
    }
    mounted = {mount.get("name") for mount in mounts} - shared
    volumes = tuple(v for v in pod.get("volumes") or [] if v.get("name") in mounted)
    own: list[Object] = [
        _own_socket_mount(name, str(mount.get("mountPath")))
        if mount.get("name") == names.sidecars.VOLUME_SOCKETS
        else mount
        for mount in mounts
    ]
    # The template does not tell which pull secrets are this sidecar's; keeping all is harmless.
    secrets = tuple(pod.get("imagePullSecrets") or [])
    return Sidecar(name, socket, revision, {**container, "volumeMounts": own}, volumes, secrets)


def build_template(
    sidecars: Sequence[Sidecar], place: Place, gate: Gate, live: Mapping[str, Any]
) -> Object:
    """Build this operator's part of the pod template; empty where there is no sidecar.

    An existing gate stays: a new version of this operator must not roll out CloudNativePG.
    """
    if not sidecars:
        return {}
    ordered = sorted(sidecars, key=lambda sidecar: sidecar.name)
    revisions = {sidecar.name: sidecar.revision for sidecar in ordered}
    container, secrets = _choose_gate(ordered, place, gate, live, revisions)
    pull = {str(s.get("name")): s for sidecar in ordered for s in sidecar.pull_secrets}
    pull |= {str(s.get("name")): s for s in secrets}
    mounts = [{**_links_mount(place), "readOnly": True}, *_directory_mounts(ordered)]
    pod: Object = {
        "initContainers": [*(sidecar.container for sidecar in ordered), container],
        "containers": [{"name": names.cnpg.CONTAINER, "volumeMounts": mounts}],
        "volumes": [
            LINKS,
            NO_TOKEN,
            *({"name": names.sidecars.socket_volume(s.name), "emptyDir": _TINY} for s in ordered),
            *(v for sidecar in ordered for v in sidecar.volumes),
        ],
    }
    if pull:
        pod["imagePullSecrets"] = list(pull.values())
    annotations = {names.annotations.SIDECARS: json.dumps(revisions, sort_keys=True)}
    return {"metadata": {"annotations": annotations}, "spec": pod}


def build_spec(template: Object, min_ready_seconds: int, progress_deadline_seconds: int) -> Object:
    """Build this operator's part of the Deployment's spec; empty where there is no sidecar.

    A `minReadySeconds` that another party has set stays. None is set where the API server would
    refuse it: `progressDeadlineSeconds` has to be longer. It counts only while the sidecars change,
    so it is written with them, and its absence alone is no drift.
    """
    if not template:
        return {}
    free = min_ready_seconds in {0, MIN_READY_SECONDS}
    if not free or progress_deadline_seconds <= MIN_READY_SECONDS:
        return {"template": template}
    return {"template": template, "minReadySeconds": MIN_READY_SECONDS}


def _choose_gate(
    sidecars: Sequence[Sidecar],
    place: Place,
    gate: Gate,
    live: Mapping[str, Any],
    revisions: Mapping[str, str],
) -> tuple[Object, list[Object]]:
    """Keep a gate for the same sidecars with the same mounts, and the secrets that pull it."""
    built = _build_gate(sidecars, place, gate)
    standing = _standing_gate(live)
    if standing is None or read_sidecars(live) != revisions or _places(standing) != _places(built):
        return built, [{"name": name} for name in gate.pull_secrets]
    return standing, list((live.get("spec") or {}).get("imagePullSecrets") or [])


def _places(container: Mapping[str, Any]) -> set[tuple[str, str]]:
    """Return the volumes that a container mounts, and where."""
    mounts = container.get("volumeMounts") or []
    return {(str(m.get("name")), str(m.get("mountPath"))) for m in mounts}


def _build_gate(sidecars: Sequence[Sidecar], place: Place, gate: Gate) -> Object:
    return {
        "name": names.sidecars.GATE,
        "image": gate.image,
        "imagePullPolicy": gate.pull_policy,
        "args": [
            "await-sockets",
            f"--directory={names.sidecars.SOCKET_DIRECTORIES}",
            f"--links={place.directory}",
            f"--deadline={int(gate.deadline.total_seconds())}s",
            *(f"{names.sidecars.socket_subdirectory(s.name)}/{s.socket}" for s in sidecars),
        ],
        "resources": GATE_RESOURCES,
        "securityContext": {**CONTAINER_SECURITY, **POD_SECURITY, **place.user},
        "volumeMounts": [_links_mount(place), *_directory_mounts(sidecars), NO_TOKEN_MOUNT],
    }


def _standing_gate(template: Mapping[str, Any]) -> Object | None:
    """Find the current gate; applying it with the API server's defaults changes nothing."""
    containers = (template.get("spec") or {}).get("initContainers") or []
    return next((dict(c) for c in containers if c.get("name") == names.sidecars.GATE), None)


def read_sidecars(template: Mapping[str, Any]) -> dict[str, str]:
    """Read the sidecars that a pod template (or a pod) declares; invalid content counts as none."""
    annotations = (template.get("metadata") or {}).get("annotations") or {}
    found = read_json(annotations.get(names.annotations.SIDECARS))
    return {name: printable(revision) for name, revision in found.items()}


def find_template_drift(wanted: Object, live: Mapping[str, Any]) -> str | None:
    """Return the first field in which the pod template differs from the wanted part, or None."""
    if not wanted:
        return "metadata.annotations" if _has_remains(live) else None
    return first_difference(wanted, live)


def _has_remains(template: Mapping[str, Any]) -> bool:
    """Whether a template that should have no sidecar still has a part of this operator's."""
    containers = (template.get("spec") or {}).get("initContainers") or []
    return bool(read_sidecars(template)) or any(
        c.get("name") == names.sidecars.GATE for c in containers
    )
