"""What no plugin may request from its node, control by control: specs, and the message."""

from typing import Any, Final

Spec = dict[str, Any]
Row = tuple[str, Spec, str]
"""What is tried, the part of the spec that tries it, and parts of the message."""


def _pod(**fields: object) -> Spec:
    return {"podTemplate": {"spec": fields}}


def _container(**fields: object) -> Spec:
    return _pod(containers=[{"name": "plugin", **fields}])


def _helper(**fields: object) -> Spec:
    return _pod(initContainers=[{"name": "helper", "image": "localhost/helper:1", **fields}])


def _debugger(**fields: object) -> Spec:
    return _pod(ephemeralContainers=[{"name": "debugger", **fields}])


def _annotated(key: str, value: str) -> Spec:
    return {"podTemplate": {"metadata": {"annotations": {key: value}}}}


def _volume(**source: object) -> Spec:
    return {"volumes": [{"name": "loot", **source}]}


_HOST = {"host": "127.0.0.1", "port": 10248}
_WINDOWS = {"windowsOptions": {"hostProcess": True}}
_APPARMOR = "container.apparmor.security.beta.kubernetes.io/plugin"
_SECCOMP_POD = "seccomp.security.alpha.kubernetes.io/pod"
_SECCOMP = "container.seccomp.security.alpha.kubernetes.io/plugin"
_SYS_ADMIN = {"capabilities": {"add": ["SYS_ADMIN"]}}
_UNCONFINED = {"type": "Unconfined"}

REFUSED: Final[dict[str, list[Row]]] = {
    "HostProcess": [
        ("host-process-pod", {"podSecurityContext": _WINDOWS}, "windowsOptions.hostProcess"),
        ("host-process", {"securityContext": _WINDOWS}, "windowsOptions.hostProcess"),
    ],
    "Host Namespaces": [
        ("host-network", _pod(hostNetwork=True), "hostNetwork"),
        ("host-pid", _pod(hostPID=True), "hostPID"),
        ("host-ipc", _pod(hostIPC=True), "hostIPC"),
    ],
    "Privileged Containers": [
        ("privileged", {"securityContext": {"privileged": True}}, "privileged (container plugin)"),
        ("privileged-init", _helper(securityContext={"privileged": True}), "container helper"),
        ("privileged-debug", _debugger(securityContext={"privileged": True}), "debugger"),
    ],
    "Capabilities": [
        ("capability", {"securityContext": _SYS_ADMIN}, "capability SYS_ADMIN"),
        ("capability-all", _helper(securityContext={"capabilities": {"add": ["ALL"]}}), "ALL"),
        ("capability-net-raw", _container(securityContext={"capabilities": {"add": ["NET_RAW"]}}),
         "NET_RAW"),
    ],
    "HostPath Volumes": [
        ("host-path", _volume(hostPath={"path": "/"}), "files of the node (volume loot)"),
        ("host-path-template", _pod(volumes=[{"name": "node", "hostPath": {"path": "/"}}]),
         "volume node"),
    ],
    "Host Ports": [
        ("host-port", _container(ports=[{"containerPort": 9090, "hostPort": 9090}]), "hostPort"),
        ("host-port-init", _helper(ports=[{"containerPort": 1, "hostPort": 2}]), "hostPort"),
    ],
    "Host Probes / Lifecycle Hooks": [
        ("probe-http", {"probes": {"liveness": {"httpGet": _HOST}}}, "livenessProbe.httpGet.host"),
        ("probe-tcp", {"probes": {"readiness": {"tcpSocket": _HOST}}},
         "readinessProbe.tcpSocket.host"),
        ("probe-startup", _container(startupProbe={"httpGet": _HOST}), "startupProbe.httpGet.host"),
        ("hook-http", _container(lifecycle={"postStart": {"httpGet": _HOST}}),
         "lifecycle.postStart.httpGet.host"),
        ("hook-tcp", _container(lifecycle={"preStop": {"tcpSocket": _HOST}}),
         "lifecycle.preStop.tcpSocket.host"),
    ],
    "AppArmor": [
        ("apparmor-pod", {"podSecurityContext": {"appArmorProfile": _UNCONFINED}},
         "appArmorProfile.type Unconfined (securityContext of the pod)"),
        ("apparmor", {"securityContext": {"appArmorProfile": _UNCONFINED}},
         "appArmorProfile.type Unconfined (container plugin)"),
        ("apparmor-annotation", _annotated(_APPARMOR, "unconfined"), f"{_APPARMOR}: unconfined"),
    ],
    "SELinux": [
        ("selinux-type-pod", {"podSecurityContext": {"seLinuxOptions": {"type": "spc_t"}}},
         "seLinuxOptions.type spc_t"),
        ("selinux-type", {"securityContext": {"seLinuxOptions": {"type": "spc_t"}}}, "spc_t"),
        ("selinux-user", {"securityContext": {"seLinuxOptions": {"user": "system_u"}}},
         "seLinuxOptions.user"),
        ("selinux-role", {"podSecurityContext": {"seLinuxOptions": {"role": "system_r"}}},
         "seLinuxOptions.role"),
    ],
    "/proc Mount Type": [
        ("proc-mount", {"securityContext": {"procMount": "Unmasked"}}, "procMount Unmasked"),
        ("proc-mount-init", _helper(securityContext={"procMount": "Unmasked"}), "procMount"),
    ],
    "Seccomp": [
        ("seccomp-pod", {"podSecurityContext": {"seccompProfile": _UNCONFINED}},
         "seccompProfile.type Unconfined (securityContext of the pod)"),
        ("seccomp", {"securityContext": {"seccompProfile": _UNCONFINED}},
         "seccompProfile.type Unconfined (container plugin)"),
        ("seccomp-annotation-pod", _annotated(_SECCOMP_POD, "unconfined"), _SECCOMP_POD),
        ("seccomp-annotation", {"podAnnotations": {_SECCOMP: "unconfined"}},
         "seccomp.security.alpha"),
    ],
    "Sysctls": [
        ("sysctl", {"podSecurityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}},
         "sysctl kernel.msgmax"),
        ("sysctl-template", _pod(securityContext={
            "sysctls": [{"name": "net.core.somaxconn", "value": "1"}]}), "net.core.somaxconn"),
    ],
    "Volume Types": [
        ("volume-nfs", _volume(nfs={"server": "files.example.com", "path": "/"}),
         "type nfs (volume loot)"),
        ("volume-iscsi", _pod(volumes=[{"name": "disk", "iscsi": {
            "targetPortal": "10.0.0.1", "iqn": "iqn.2001-04.com.example:x", "lun": 0}}]),
         "type iscsi (volume disk)"),
        ("volume-flex", _volume(flexVolume={"driver": "example.com/x"}), "flexVolume"),
        ("volume-unknown", _volume(ofTomorrow={}), "type ofTomorrow"),
    ],
    "Node Name": [("node-name", _pod(nodeName="node-1"), "nodeName")],
}  # fmt: skip
"""By the names of `pod_security.CONTROLS`."""

SIDECARS_TOO: Final = (
    "host-process",
    "privileged",
    "capability",
    "host-path",
    "probe-http",
    "apparmor",
    "selinux-type",
    "proc-mount",
    "seccomp",
    "volume-nfs",
)
"""Rows that concern a container or a volume, and hence a sidecar."""

ACCEPTED: Final[dict[str, list[tuple[str, Spec]]]] = {
    "HostProcess": [("off", {"securityContext": {"windowsOptions": {"hostProcess": False}}})],
    "Host Namespaces": [("off", _pod(hostNetwork=False, hostPID=False, hostUsers=False))],
    "Privileged Containers": [("off", {"securityContext": {"privileged": False}})],
    "Capabilities": [
        ("one of Baseline", {"securityContext": {"capabilities": {"add": ["NET_BIND_SERVICE"]}}})
    ],
    "HostPath Volumes": [("none", _volume(emptyDir={}))],
    "Host Ports": [("zero", _container(ports=[{"containerPort": 9090, "hostPort": 0}]))],
    "Host Probes / Lifecycle Hooks": [
        ("the pod itself", {"probes": {"liveness": {"tcpSocket": {"port": 9090}}}}),
        ("a pause", _container(lifecycle={"preStop": {"sleep": {"seconds": 5}}})),
    ],
    "AppArmor": [
        ("of the runtime", {"podSecurityContext": {"appArmorProfile": {"type": "RuntimeDefault"}}}),
        ("of the node", _annotated(_APPARMOR, "localhost/mine")),
    ],
    "SELinux": [
        ("a container's", {"securityContext": {"seLinuxOptions": {
            "type": "container_t", "level": "s0:c1,c2"}}}),
    ],
    "/proc Mount Type": [("default", {"securityContext": {"procMount": "Default"}})],
    "Seccomp": [
        ("of the node", {"securityContext": {"seccompProfile": {
            "type": "Localhost", "localhostProfile": "mine.json"}}}),
        ("of the runtime", _annotated(_SECCOMP_POD, "runtime/default")),
    ],
    "Sysctls": [
        ("a safe one", {"podSecurityContext": {"sysctls": [
            {"name": "net.ipv4.tcp_syncookies", "value": "1"}]}}),
    ],
    "Volume Types": [
        ("a claim", _volume(persistentVolumeClaim={"claimName": "x"})),
        ("a ConfigMap in a projection", _volume(projected={
            "sources": [{"configMap": {"name": "x"}}, {"downwardAPI": {"items": []}}]})),
        ("a volume of a driver", _volume(csi={"driver": "example.com"})),
    ],
    "Node Name": [("a selector", {"nodeSelector": {"kubernetes.io/hostname": "node-1"}})],
}  # fmt: skip
"""What stays allowed."""
