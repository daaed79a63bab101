"""What a plugin's containers must not do: reach the node, or use another account.

The author of a `CNPGPlugin` must not gain access to the node (`pod_security`) or the rights of
another account; `private_secrets` protects the keys of others.
"""

from collections.abc import Iterator, Mapping
from posixpath import normpath
from typing import Any

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.decide.acceptance.pod_security import find_security_problems, show
from cnpg_plugin_operator.desired.access import account_name
from cnpg_plugin_operator.desired.workload import TOKEN_SOURCES


def find_pod_problems(plugin: Plugin, template: Mapping[str, Any]) -> Iterator[str]:
    """List what a plugin's pod must not do."""
    try:
        yield from _check_account(plugin)
        yield from _check_metadata(template["metadata"])
        yield from find_security_problems(template)
        yield from _check_mounts(plugin, template["spec"])
        yield from _check_pod(plugin, template["spec"])
    except (AttributeError, TypeError, KeyError):
        yield "template is invalid: a field has a list where an object belongs, or the reverse"


def _check_account(plugin: Plugin) -> Iterator[str]:
    """The account in podTemplate has no effect, so it must not differ."""
    pod, own = plugin.spec.pod_template.get("spec") or {}, account_name(plugin)
    for field_name in ("serviceAccountName", "serviceAccount"):
        if pod.get(field_name) not in (None, own):
            yield "gets its account from spec.serviceAccount, not from podTemplate"
    if pod.get("automountServiceAccountToken") and own is None:
        yield "has no account whose token could be mounted; name one in spec.serviceAccount"


def _check_metadata(metadata: Mapping[str, Any]) -> Iterator[str]:
    """Pods inherit the finalizers of their template, and would outlive the plugin."""
    for field_name in sorted(metadata.keys() - {"labels", "annotations"}):
        yield f"template can only have labels and annotations, not metadata.{show(field_name)}"


def _check_mounts(plugin: Plugin, pod: Mapping[str, Any]) -> Iterator[str]:
    """The plugin would not find its certificates; the CRD has the rule for spec.volumeMounts."""
    files = plugin.spec.tls.files
    own = (names.children.VOLUME_SERVER, names.children.VOLUME_CLIENT)
    for container in pod.get("containers") or []:
        if container.get("name") != names.children.CONTAINER:
            continue
        for mount in container.get("volumeMounts") or []:
            path = normpath(f"/{str(mount.get('mountPath', '')).lstrip('/')}")
            for directory in (files.server.directory, files.client.directory):
                inside = f"{path}/".startswith(f"{directory}/")
                if inside and mount.get("name") not in own:
                    yield (
                        f"mounts volume {show(mount.get('name'))} at {show(path)}, where its "
                        "certificates are (spec.tls.files); choose another mountPath"
                    )


def _check_pod(plugin: Plugin, pod: Mapping[str, Any]) -> Iterator[str]:
    for volume in pod.get("volumes") or []:
        if account_name(plugin) is None and holds_token(volume):
            yield (
                f"has no account of its own, so volume {show(volume.get('name'))} cannot hold its "
                "token; name one in spec.serviceAccount"
            )


def holds_token(volume: Mapping[str, Any]) -> bool:
    """Whether a volume holds a token, or a certificate, of the pod's account."""
    sources = (volume.get("projected") or {}).get("sources") or []
    return any(not TOKEN_SOURCES.isdisjoint(source) for source in sources)
