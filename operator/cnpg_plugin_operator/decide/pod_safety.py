"""What a plugin's containers must not do: the `baseline` level, foreign accounts.

Who may create a `CNPGPlugin` must not gain the node or another account's rights by it; the keys of
others are the subject of `private_secrets`.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.desired.access import account_name
from cnpg_plugin_operator.desired.workload import tls_volumes

BASELINE_CAPABILITIES: Final = frozenset(
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
"""What the `baseline` Pod Security level lets a container add."""


def find_pod_problems(plugin: Plugin, template: Mapping[str, Any]) -> Iterator[str]:
    """Name what a plugin's pod must not do: the `baseline` level, foreign accounts."""
    try:
        yield from _check_pod(plugin, template["spec"])
    except (AttributeError, TypeError, KeyError):
        yield "template cannot be read: a list or an object stands where the other belongs"


def _check_pod(plugin: Plugin, pod: Mapping[str, Any]) -> Iterator[str]:
    for field_name in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(field_name):
            yield f"must not set {field_name}"
    if (pod.get("serviceAccountName") or None) != account_name(plugin):
        yield "gets its account from spec.serviceAccount, not from podTemplate"
    if pod.get("automountServiceAccountToken") and account_name(plugin) is None:
        yield "has no account of its own whose token could be mounted"
    for volume in pod.get("volumes") or []:
        if volume not in tls_volumes(plugin):
            yield from check_volume(volume)
    for field_name in ("initContainers", "containers", "ephemeralContainers"):
        for container in pod.get(field_name) or []:
            yield from check_container(container)


def check_volume(volume: Mapping[str, Any]) -> Iterator[str]:
    """Name what a volume must not be."""
    if "hostPath" in volume:
        yield f"must not mount the node's files (volume {volume.get('name')})"


def check_container(container: Mapping[str, Any]) -> Iterator[str]:
    """Name what a container must not be or read."""
    name = container.get("name")
    security = container.get("securityContext") or {}
    added = set((security.get("capabilities") or {}).get("add") or [])
    if security.get("privileged"):
        yield f"must not be privileged (container {name})"
    if added - BASELINE_CAPABILITIES:
        yield f"must not add capabilities {', '.join(sorted(added))} (container {name})"
    if any(port.get("hostPort") for port in container.get("ports") or []):
        yield f"must not use a port of the node (container {name})"
