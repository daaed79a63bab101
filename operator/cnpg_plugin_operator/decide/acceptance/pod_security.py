"""What a pod must not request from its node: the Pod Security Standards, level Baseline.

Source: https://kubernetes.io/docs/concepts/security/pod-security-standards/ (Kubernetes 1.34), one
`Control` for each row of its Baseline table, with the same name. They are followed by the volume
types of its Restricted table, and by what would bypass the scheduler. Settings and Secrets of a
plugin are checked in other modules: this one knows pod templates only.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

Template = Mapping[str, Any]
"""A pod template: `metadata` and `spec`."""

CONTAINERS: Final = ("initContainers", "containers", "ephemeralContainers")
PROBES: Final = ("startupProbe", "readinessProbe", "livenessProbe")
HOOKS: Final = ("postStart", "preStop")

CAPABILITIES: Final = frozenset(
    {
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "MKNOD",
        "NET_BIND_SERVICE",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    }
)
SELINUX_TYPES: Final = frozenset(
    {"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
)
PROFILES: Final = frozenset({"RuntimeDefault", "Localhost"})
"""Profile types of seccomp and AppArmor; an administrator installs `Localhost` ones on the node."""

APPARMOR_ANNOTATION: Final = "container.apparmor.security.beta.kubernetes.io/"
SECCOMP_POD: Final = "seccomp.security.alpha.kubernetes.io/pod"
SECCOMP_CONTAINER: Final = "container.seccomp.security.alpha.kubernetes.io/"
SYSCTLS: Final = frozenset(
    {
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.ping_group_range",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.tcp_wmem",
    }
)
VOLUME_TYPES: Final = frozenset(
    {
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
    }
)
SHOWN: Final = 63
"""Maximum characters of a quoted name or value: the length of a DNS label."""


@dataclass(frozen=True, slots=True)
class Control:
    """One row of the table."""

    name: str
    """The name in the Pod Security Standards."""
    check: Callable[[Template], Iterator[str]]
    """Yields each problem as the rest of a sentence about the pod."""


def find_security_problems(template: Template) -> Iterator[str]:
    """List what a pod must not do, control by control.

    Raises `AttributeError`, `TypeError` or `KeyError` where a field has a shape that the API server
    would refuse.
    """
    for control in CONTROLS:
        yield from control.check(template)


def show(value: object) -> str:
    """Shorten a name or a value for a message; raises `TypeError` for anything but text."""
    if not isinstance(value, str):
        raise TypeError(f"expected a text, not a {type(value).__name__}")
    return value if len(value) <= SHOWN else f"{value[:SHOWN]}…"


def _containers(template: Template) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield every container of any kind, with its name."""
    for kind in CONTAINERS:
        for container in template["spec"].get(kind) or []:
            yield show(container.get("name") or "without a name"), container


def _security(template: Template) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the security context of the pod and of each container, with its location."""
    yield "securityContext of the pod", template["spec"].get("securityContext") or {}
    for name, container in _containers(template):
        yield f"container {name}", container.get("securityContext") or {}


def _annotations(template: Template) -> Mapping[str, Any]:
    found: Mapping[str, Any] = (template.get("metadata") or {}).get("annotations") or {}
    return found


def _host_process(template: Template) -> Iterator[str]:
    for where, security in _security(template):
        if (security.get("windowsOptions") or {}).get("hostProcess"):
            yield f"must not set windowsOptions.hostProcess ({where})"


def _host_namespaces(template: Template) -> Iterator[str]:
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if template["spec"].get(field):
            yield f"must not set {field}"


def _privileged(template: Template) -> Iterator[str]:
    for name, container in _containers(template):
        if (container.get("securityContext") or {}).get("privileged"):
            yield f"must not be privileged (container {name})"


def _capabilities(template: Template) -> Iterator[str]:
    for name, container in _containers(template):
        capabilities = (container.get("securityContext") or {}).get("capabilities") or {}
        for capability in capabilities.get("add") or []:
            if capability not in CAPABILITIES:
                yield f"must not add capability {show(capability)} (container {name})"


def _host_paths(template: Template) -> Iterator[str]:
    for volume in template["spec"].get("volumes") or []:
        if "hostPath" in volume:
            yield f"must not mount files of the node (volume {show(volume.get('name') or '')})"


def _host_ports(template: Template) -> Iterator[str]:
    for name, container in _containers(template):
        if any(port.get("hostPort") for port in container.get("ports") or []):
            yield f"must not use a port of the node: hostPort (container {name})"


def _probe_hosts(template: Template) -> Iterator[str]:
    """The kubelet calls the hosts of probes and hooks from the node."""
    for name, container in _containers(template):
        lifecycle = container.get("lifecycle") or {}
        handlers = {field: container.get(field) for field in PROBES}
        handlers |= {f"lifecycle.{field}": lifecycle.get(field) for field in HOOKS}
        for field, handler in handlers.items():
            for action in ("httpGet", "tcpSocket"):
                if ((handler or {}).get(action) or {}).get("host"):
                    yield f"must not set {field}.{action}.host (container {name})"


def _profiles(template: Template, field: str) -> Iterator[str]:
    """Find profiles of a type that is not allowed; AppArmor and seccomp allow the same types."""
    for where, security in _security(template):
        profile = security.get(field)
        if profile and profile.get("type") not in PROFILES:
            yield f"must not set {field}.type {show(profile.get('type'))} ({where})"


def _app_armor(template: Template) -> Iterator[str]:
    yield from _profiles(template, "appArmorProfile")
    for key, value in _annotations(template).items():
        if key.startswith(APPARMOR_ANNOTATION):
            allowed = value in ("", "runtime/default") or value.startswith("localhost/")
            if not allowed:
                yield f"must not have annotation {show(key)}: {show(value)}"


def _se_linux(template: Template) -> Iterator[str]:
    for where, security in _security(template):
        options = security.get("seLinuxOptions") or {}
        if (options.get("type") or "") not in SELINUX_TYPES:
            yield f"must not set seLinuxOptions.type {show(options['type'])} ({where})"
        for field in ("user", "role"):
            if options.get(field):
                yield f"must not set seLinuxOptions.{field} ({where})"


def _proc_mount(template: Template) -> Iterator[str]:
    for name, container in _containers(template):
        mount = (container.get("securityContext") or {}).get("procMount") or "Default"
        if mount != "Default":
            yield f"must not set procMount {show(mount)} (container {name})"


def _seccomp(template: Template) -> Iterator[str]:
    yield from _profiles(template, "seccompProfile")
    for key, value in _annotations(template).items():
        if key == SECCOMP_POD or key.startswith(SECCOMP_CONTAINER):
            allowed = value in ("runtime/default", "docker/default")
            if not allowed and not value.startswith("localhost/"):
                yield f"must not have annotation {show(key)}: {show(value)}"


def _sysctls(template: Template) -> Iterator[str]:
    security = template["spec"].get("securityContext") or {}
    for sysctl in security.get("sysctls") or []:
        name = show(sysctl.get("name"))
        if name not in SYSCTLS:
            yield f"must not set sysctl {name}"


def _volume_types(template: Template) -> Iterator[str]:
    for volume in template["spec"].get("volumes") or []:
        for kind in volume:
            if kind not in VOLUME_TYPES | {"name", "hostPath"}:
                name = show(volume.get("name") or "")
                yield f"must not have a volume of type {show(kind)} (volume {name})"


def _node_name(template: Template) -> Iterator[str]:
    """A named node bypasses the scheduler; a node that refuses the pods gets them endlessly."""
    if template["spec"].get("nodeName"):
        yield "must not set nodeName; use spec.nodeSelector or spec.affinity to choose nodes"


CONTROLS: Final = (
    Control("HostProcess", _host_process),
    Control("Host Namespaces", _host_namespaces),
    Control("Privileged Containers", _privileged),
    Control("Capabilities", _capabilities),
    Control("HostPath Volumes", _host_paths),
    Control("Host Ports", _host_ports),
    Control("Host Probes / Lifecycle Hooks", _probe_hosts),
    Control("AppArmor", _app_armor),
    Control("SELinux", _se_linux),
    Control("/proc Mount Type", _proc_mount),
    Control("Seccomp", _seccomp),
    Control("Sysctls", _sysctls),
    Control("Volume Types", _volume_types),
    Control("Node Name", _node_name),
)
