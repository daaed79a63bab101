"""What a plugin's containers must not do: reach the node, foreign accounts, foreign keys.

Whoever may create a `CNPGPlugin` must not gain the node (`pod_security`), another account's rights,
or the keys of CloudNativePG and of other plugins.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.decide.pod_security import find_security_problems, show
from cnpg_plugin_operator.desired.access import account_name
from cnpg_plugin_operator.desired.workload import TOKEN_SOURCES, tls_volumes

PRIVATE_SECRETS: Final = names.CNPG_PRIVATE_SECRETS | {
    names.CHAIN_ROOT,
    names.CHAIN_INTERMEDIATE,
    names.OWN_ROOT,
    names.OWN_INTERMEDIATE,
}
"""Keys of CloudNativePG and of the certificate chain: whoever holds them can be anybody."""

PRIVATE_SUFFIXES: Final = (
    names.server_secret(""),
    names.client_secret(""),
    names.authority(""),
)
"""Ends of the names of all plugins' own Secrets, keys to be CloudNativePG or another plugin."""


def _is_private(secret: object) -> bool:
    """Whether a Secret holds a key that no plugin may choose to read."""
    return secret in PRIVATE_SECRETS or str(secret or "").endswith(PRIVATE_SUFFIXES)


def find_pod_problems(plugin: Plugin, template: Mapping[str, Any]) -> Iterator[str]:
    """Name what a plugin's pod must not do."""
    try:
        yield from _check_account(plugin)
        yield from find_security_problems(template)
        yield from _check_pod(plugin, template["spec"])
    except (AttributeError, TypeError, KeyError):
        yield "template cannot be read: a list or an object stands where the other belongs"


def _check_account(plugin: Plugin) -> Iterator[str]:
    """What podTemplate says of the account has no effect; so it must not say anything else."""
    pod, own = plugin.spec.pod_template.get("spec") or {}, account_name(plugin)
    for field_name in ("serviceAccountName", "serviceAccount"):
        if pod.get(field_name) not in (None, own):
            yield "gets its account from spec.serviceAccount, not from podTemplate"
    if pod.get("automountServiceAccountToken") and own is None:
        yield "has no account of its own whose token could be mounted"


def _check_pod(plugin: Plugin, pod: Mapping[str, Any]) -> Iterator[str]:
    for volume in pod.get("volumes") or []:
        if volume not in tls_volumes(plugin):
            yield from check_volume(volume)
        if account_name(plugin) is None and holds_token(volume):
            yield (
                f"has no account of its own whose token volume {show(volume.get('name'))} could "
                "hold; name one in spec.serviceAccount"
            )
    for field_name in ("initContainers", "containers", "ephemeralContainers"):
        for container in pod.get(field_name) or []:
            yield from check_container(container)


def holds_token(volume: Mapping[str, Any]) -> bool:
    """Whether a volume holds a token, or a certificate, of the pod's account."""
    sources = (volume.get("projected") or {}).get("sources") or []
    return any(not TOKEN_SOURCES.isdisjoint(source) for source in sources)


def check_volume(volume: Mapping[str, Any]) -> Iterator[str]:
    """Name the Secrets that a volume must not hold."""
    for secret in _secrets_of_volume(volume):
        if _is_private(secret):
            yield f"must not mount Secret {secret}"


def check_container(container: Mapping[str, Any]) -> Iterator[str]:
    """Name the Secrets that a container must not read."""
    references = [
        (e.get("valueFrom") or {}).get("secretKeyRef") for e in container.get("env") or []
    ]
    references += [source.get("secretRef") for source in container.get("envFrom") or []]
    for reference in references:
        if reference and _is_private(reference.get("name")):
            yield f"must not read Secret {reference['name']}"


def _secrets_of_volume(volume: Mapping[str, Any]) -> Iterator[object]:
    yield (volume.get("secret") or {}).get("secretName")
    for source in (volume.get("projected") or {}).get("sources") or []:
        yield (source.get("secret") or {}).get("name")
