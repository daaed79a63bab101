"""Whether a resource is valid here: what the CRD's schema cannot see.

This is also where a `CNPGPlugin` author is kept within what the operator's chart grants by name:
somebody who may create the resource must not gain another account's rights, the node, or
CloudNativePG's keys.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.conditions import Reason, Verdict, no, yes
from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.decide.cnpg_facts import CNPGFacts
from cnpg_plugin_operator.decide.facts import ForeignObject
from cnpg_plugin_operator.decide.locating import LocatingInput, decide_locating
from cnpg_plugin_operator.desired.access import account_name, creates_account
from cnpg_plugin_operator.desired.workload import build_pod_template, tls_volumes


@dataclass(frozen=True, slots=True)
class Grants:
    """What the chart lets plugins use, by name."""

    cluster_roles: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()
    service_accounts: frozenset[str] = frozenset()
    """Existing accounts that a plugin may run under."""
    nudging: bool = False
    """Whether Clusters may be annotated for a plugin."""


@dataclass(frozen=True, slots=True)
class AdmissionInput:
    """What the checks look at."""

    plugin: Plugin
    managed_namespaces: tuple[str, ...]
    """Where this operator has rights, and hence expects CloudNativePG."""
    cnpg: tuple[CNPGFacts, ...]
    """The CloudNativePG operators of the resource's namespace."""
    cnpg_elsewhere: tuple[str, ...]
    """Managed namespaces in which CloudNativePG does run."""
    foreign: tuple[ForeignObject, ...]
    """Somebody else's objects under names that this resource needs."""
    rivals: tuple[str, ...]
    """Older resources of the namespace with the same plugin name."""
    grants: Grants = field(default_factory=Grants)


Check = Callable[[AdmissionInput], Verdict | None]
"""A check speaks up or stays silent; the first to speak decides."""


def decide_admission(given: AdmissionInput) -> Verdict:
    """Judge whether anything may be done for this resource."""
    return next(verdict for check in CHECKS if (verdict := check(given)) is not None)


def _suspended(given: AdmissionInput) -> Verdict | None:
    """The user wants nothing touched."""
    if given.plugin.spec.suspend:
        return no(Reason.SUSPENDED, "spec.suspend is set: nothing is touched until it is removed.")
    return None


def _confusing_name(given: AdmissionInput) -> Verdict | None:
    """Children carry the name as a label that CloudNativePG's own webhook Service selects by."""
    if given.plugin.name == names.CNPG_APP:
        return no(
            Reason.INVALID_SPEC,
            f"metadata.name: {names.CNPG_APP} is CloudNativePG's own; choose another name.",
        )
    return None


def _cnpg_out_of_place(given: AdmissionInput) -> Verdict | None:
    """There is not exactly one CloudNativePG here that can see the plugin."""
    return decide_locating(
        LocatingInput(
            plugin=given.plugin,
            managed_namespaces=given.managed_namespaces,
            found=given.cnpg,
            elsewhere=given.cnpg_elsewhere,
        )
    )


def _rival(given: AdmissionInput) -> Verdict | None:
    """An older resource has the plugin's name; CloudNativePG would flip between the two."""
    if given.rivals:
        return no(
            Reason.NAME_CONFLICT,
            f"CNPGPlugin {given.rivals[0]} already provides {given.plugin.spec.plugin_name} in "
            f"namespace {given.plugin.namespace}: delete one of the two.",
        )
    return None


def _foreign_object(given: AdmissionInput) -> Verdict | None:
    """Somebody else owns an object that this resource needs; nothing is adopted silently."""
    if not given.foreign:
        return None
    other = given.foreign[0]
    cure = (
        "choose another spec.service.name or delete it"
        if other.kind == "Service"
        else "rename this resource or delete it"
    )
    return no(
        Reason.NAME_CONFLICT,
        f"{other.kind} {given.plugin.namespace}/{other.name} belongs to {other.owner}: {cure}.",
    )


def _ungranted(given: AdmissionInput) -> Verdict | None:
    """The resource asks for rights that the operator's chart does not name."""
    spec, grants = given.plugin.spec, given.grants
    account = account_name(given.plugin)
    runs_as_other = account is not None and not creates_account(given.plugin)
    asked = (
        ("clusterRoles", spec.cluster_roles, grants.cluster_roles, "allowedClusterRoles"),
        ("roles", spec.roles, grants.roles, "allowedRoles"),
        (
            "serviceAccount.name",
            (account,) if runs_as_other and account else (),
            grants.service_accounts,
            "allowedServiceAccounts",
        ),
    )
    for path, wanted, granted, value in asked:
        for name in wanted:
            if name not in granted:
                return no(
                    Reason.INVALID_SPEC,
                    f"spec.{path}: {name} is not granted to plugins; an administrator can name it "
                    f"in the chart value {value}.",
                )
    if spec.nudge_clusters and not grants.nudging:
        return no(
            Reason.INVALID_SPEC,
            "spec.nudgeClusters: the operator may not annotate Clusters; an administrator can "
            "allow it with the chart value nudgeClusters.",
        )
    return None


def _dangerous_pod(given: AdmissionInput) -> Verdict | None:
    """The pod, with the user's template merged in, would reach beyond itself."""
    template = build_pod_template(given.plugin)
    problem = next(_pod_problems(given.plugin, template), None)
    return no(Reason.INVALID_SPEC, f"The pod {problem}.") if problem else None


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


def _pod_problems(plugin: Plugin, template: Mapping[str, Any]) -> Iterator[str]:
    """Name what a plugin's pod must not do: the `baseline` level, foreign accounts and keys."""
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
            yield from _check_volume(volume)
    for field_name in ("initContainers", "containers", "ephemeralContainers"):
        for container in pod.get(field_name) or []:
            yield from _check_container(container)


def _check_volume(volume: Mapping[str, Any]) -> Iterator[str]:
    if "hostPath" in volume:
        yield f"must not mount the node's files (volume {volume.get('name')})"
    for secret in _secrets_of_volume(volume):
        if _is_private(secret):
            yield f"must not mount Secret {secret}"


def _check_container(container: Mapping[str, Any]) -> Iterator[str]:
    name = container.get("name")
    security = container.get("securityContext") or {}
    added = set((security.get("capabilities") or {}).get("add") or [])
    if security.get("privileged"):
        yield f"must not be privileged (container {name})"
    if added - BASELINE_CAPABILITIES:
        yield f"must not add capabilities {', '.join(sorted(added))} (container {name})"
    if any(port.get("hostPort") for port in container.get("ports") or []):
        yield f"must not use a port of the node (container {name})"
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


def _accepted(given: AdmissionInput) -> Verdict | None:
    """Nothing speaks against it."""
    cnpg = given.cnpg[0]
    version = cnpg.version or "of unknown version"
    owner = f", managed by OLM's {cnpg.olm}" if cnpg.olm else ""
    return yes(
        Reason.ACCEPTED,
        f"The spec is valid for CloudNativePG {version} (Deployment {cnpg.deployment}{owner}).",
    )


CHECKS: Final[tuple[Check, ...]] = (
    _suspended,
    _confusing_name,
    _cnpg_out_of_place,
    _rival,
    _foreign_object,
    _ungranted,
    _dangerous_pod,
    _accepted,
)
"""In order: what the user asked for, the place, the names, the rights."""
