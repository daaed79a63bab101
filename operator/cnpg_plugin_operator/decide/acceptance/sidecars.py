"""Whether CloudNativePG's pod can run a plugin as a sidecar: what can be checked beforehand.

A faulty sidecar affects CloudNativePG. So anything that would keep CloudNativePG from starting, or
give an author more than a pod of their own, is refused before anything rolls out.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.conditions import Reason, Verdict, no
from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.decide import first
from cnpg_plugin_operator.decide.acceptance.pod_security import find_security_problems
from cnpg_plugin_operator.decide.acceptance.pods import holds_token
from cnpg_plugin_operator.decide.facts.cnpg import CNPGFacts, PodEnvironment
from cnpg_plugin_operator.desired.sidecars import Gate, Place, build_sidecar

NATIVE_SIDECARS: Final = (1, 29)
"""First Kubernetes with `restartPolicy: Always` for init containers (beta, enabled by default)."""

CNPG_PORTS: Final = frozenset({8080, 9443})
"""CloudNativePG's metrics and webhooks, whatever its container declares (1.24.0 to 1.30.0)."""

_PORT: Final = re.compile(r"(?::|(?:port|addr|address)=)(\d{2,5})$", re.IGNORECASE)
_ELECTION: Final = re.compile(r"^--?leader-elect(?:ion)?(?:=(?:true|1|t))?$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class SidecarSpecInput:
    """The input of the checks."""

    plugin: Plugin
    cnpg: CNPGFacts
    environment: PodEnvironment
    gate: Gate


def judge_sidecar_spec(
    plugin: Plugin, cnpg: CNPGFacts, environment: PodEnvironment, gate: Gate
) -> Verdict | None:
    """Explain why CloudNativePG's pod cannot run a plugin; None where it can."""
    given = SidecarSpecInput(plugin, cnpg, environment, gate)
    return first(CHECKS, given)


def _managed_by_olm(given: SidecarSpecInput) -> Verdict | None:
    """OLM reverts the Deployment to its ClusterServiceVersion at once."""
    if not given.cnpg.olm:
        return None
    return no(
        Reason.UNSUPPORTED_BY_OLM,
        f"ClusterServiceVersion {given.cnpg.olm} owns Deployment {given.cnpg.deployment}: OLM "
        "would remove the sidecar at once. Use mode: Standalone.",
    )


def _too_old(given: SidecarSpecInput) -> Verdict | None:
    """Without native sidecars, nothing would start before CloudNativePG."""
    version = given.environment.kubernetes
    if version is None or version >= NATIVE_SIDECARS:
        return None
    return no(
        Reason.UNSUPPORTED_BY_KUBERNETES,
        f"Kubernetes {version[0]}.{version[1]} has no native sidecars; they require "
        f"{NATIVE_SIDECARS[0]}.{NATIVE_SIDECARS[1]} or newer. Use mode: Standalone.",
    )


def _gateless(given: SidecarSpecInput) -> Verdict | None:
    """The operator does not know its own image."""
    if given.gate.image:
        return None
    return no(
        Reason.INVALID_SPEC,
        "spec.mode: Sidecar requires the operator's own image, which is not configured: set "
        "CNPGP_SIDECAR_GATE_IMAGE (the chart does).",
    )


def _mounted_by_others(given: SidecarSpecInput) -> Verdict | None:
    """An administrator added sidecars by hand."""
    environment = given.environment
    if not environment.mounted:
        return None
    return no(
        Reason.NAME_CONFLICT,
        f"Deployment {given.cnpg.deployment} already mounts volume {environment.mounted} at "
        f"{environment.directory}, where CloudNativePG looks for sockets: remove that mount, and "
        "the sidecars that use it, from the Deployment.",
    )


def _invalid(given: SidecarSpecInput) -> Verdict | None:
    """The container would gain more than its own rights, or stop CloudNativePG."""
    problem = next(_find_problems(given), None)
    return no(Reason.INVALID_SPEC, f"{problem}.") if problem else None


CHECKS: Final = (
    _managed_by_olm,
    _too_old,
    _gateless,
    _mounted_by_others,
    _invalid,
)
"""In order: where a sidecar cannot run, then what it must not be."""


def _find_problems(given: SidecarSpecInput) -> Iterator[str]:
    plugin, environment = given.plugin, given.environment
    try:
        sidecar = build_sidecar(plugin, Place(environment.directory, environment.user))
        pod = {"initContainers": [sidecar.container], "volumes": list(plugin.spec.volumes)}
        yield from (f"The sidecar {problem}" for problem in find_security_problems({"spec": pod}))
        yield from _check_account(plugin, environment)
        for volume in plugin.spec.volumes:
            yield from _check_token(plugin, volume)
            yield from _check_memory(volume)
        yield from _check_storage(plugin)
        yield from _check_mounts(plugin, environment)
        yield from _check_user(plugin, environment)
        yield from _check_arguments(plugin, environment)
    except (AttributeError, TypeError, KeyError, ValueError):
        yield "The spec is invalid: a field has a list where an object belongs, or the reverse"
    except RecursionError:
        yield "The spec has too many levels"


def _check_account(plugin: Plugin, environment: PodEnvironment) -> Iterator[str]:
    account = plugin.spec.service_account.name
    if account and account != environment.account:
        yield (
            f"spec.serviceAccount.name: a sidecar can only use CloudNativePG's account, "
            f"{environment.account}"
        )


def _check_token(plugin: Plugin, volume: Mapping[str, Any]) -> Iterator[str]:
    """Refuse CloudNativePG's token to plugins that are not granted its account."""
    if holds_token(volume) and not plugin.spec.service_account.name:
        yield (
            f"spec.volumes: {volume.get('name')} would hold a token of CloudNativePG's account; "
            "name that account in spec.serviceAccount.name"
        )


def _check_memory(volume: Mapping[str, Any]) -> Iterator[str]:
    """Refuse a volume that can use up the memory of the node."""
    source = volume.get("emptyDir") or {}
    if source.get("medium") and not source.get("sizeLimit"):
        yield (
            f"spec.volumes: {volume.get('name')} is stored in memory and could use up the "
            "node's; set its emptyDir.sizeLimit"
        )


def _check_storage(plugin: Plugin) -> Iterator[str]:
    """Refuse a limit that the kubelet would apply to CloudNativePG's whole pod.

    The kubelet adds up the limits of all containers and evicts a pod whose logs and files exceed
    the sum (`podEphemeralStorageLimitEviction`); CloudNativePG's own container has none.
    """
    limits = plugin.spec.resources.get("limits") or {}
    if "ephemeral-storage" in limits:
        yield (
            "spec.resources.limits: ephemeral-storage would limit CloudNativePG's whole pod, "
            "which would be evicted; set the sizeLimit of an emptyDir of the sidecar instead"
        )


def _check_mounts(plugin: Plugin, environment: PodEnvironment) -> Iterator[str]:
    own = {volume.get("name") for volume in plugin.spec.volumes}
    for mount in plugin.spec.volume_mounts:
        path = str(mount.get("mountPath", "")).rstrip("/")
        if mount.get("name") not in own:
            yield f"spec.volumeMounts: {mount.get('name')} is not in spec.volumes"
        for taken in (environment.directory.rstrip("/"), names.sidecars.TOKEN_DIRECTORY):
            if path == taken or taken.startswith(f"{path}/") or path.startswith(f"{taken}/"):
                yield f"spec.volumeMounts: {path or '/'} would hide {taken}"


def _check_user(plugin: Plugin, environment: PodEnvironment) -> Iterator[str]:
    """Another user could not open the socket."""
    security = plugin.spec.security_context
    for key, value in environment.user.items():
        if security.get(key, value) != value:
            yield (
                f"spec.securityContext.{key}: CloudNativePG runs with {value} and could not "
                "connect to a socket with another value; remove it"
            )
    if security.get("runAsNonRoot") is False or security.get("runAsUser") == 0:
        yield "spec.securityContext: CloudNativePG's pod must not run anything as root"


def _check_arguments(plugin: Plugin, environment: PodEnvironment) -> Iterator[str]:
    ports = CNPG_PORTS | environment.ports
    arguments = [*plugin.spec.command, *plugin.spec.args]
    for argument in arguments:
        # A Go program reads `--leader-elect false` as true, and `false` as another argument.
        if _ELECTION.match(argument):
            yield (
                f"spec.args: {argument}: a leader-elected server opens its socket only when it "
                "leads, after CloudNativePG has looked for the socket; remove it"
            )
        port = _PORT.search(argument)
        if port and int(port[1]) in ports:
            yield f"spec.args: {argument}: CloudNativePG uses port {port[1]} in that pod"
