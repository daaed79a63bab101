"""Which resources a command is about, and which operator looks after them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cnpg_plugin_operator import errors, names
from cnpg_plugin_operator.api.untrusted import mapping, objects
from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.kubectl.access import Kubectl

PART_OF: Final = f"app.kubernetes.io/part-of={names.resource.OPERATOR}"
"""Selects the Deployment that the chart creates."""

NAMESPACES: Final = "CNPGP_NAMESPACES"
"""The operator's setting with the namespaces that it looks after."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What the user asked for."""

    namespace: str | None
    """None: all namespaces."""
    names: tuple[str, ...] = ()
    operator_namespace: str | None = None


@dataclass(frozen=True, slots=True)
class OperatorDeployment:
    """The operator as it is installed."""

    namespace: str
    name: str
    container: str
    image: str
    settings: Mapping[str, str]
    """The environment variables with plain values."""
    available: bool

    @property
    def manages(self) -> tuple[str, ...]:
        """The namespaces that it looks after."""
        listed = self.settings.get(NAMESPACES) or "cnpg-system"
        return tuple(each.strip() for each in listed.split(","))


def find_plugins(kubectl: Kubectl, scope: Scope) -> list[dict[str, Any]]:
    """Read the resources that a command is about, sorted by namespace and name.

    Raises `NotFoundError` for a name that does not exist, and what `Kubectl.list` does.
    """
    try:
        bodies = kubectl.list(kinds.PLUGIN, scope.namespace)
    except errors.KindMissingError as error:
        raise errors.KindMissingError(
            "the cluster does not serve cnpgplugins.cnpgplugin.dev: install the operator's chart"
        ) from error
    missing = {*scope.names} - {body["metadata"]["name"] for body in bodies}
    if missing:
        where = f"in namespace {scope.namespace}" if scope.namespace else "in any namespace"
        hint = "; try --namespace or --all-namespaces" if scope.namespace else ""
        raise errors.NotFoundError(f"no CNPGPlugin {', '.join(sorted(missing))} {where}{hint}")
    chosen = (b for b in bodies if not scope.names or b["metadata"]["name"] in scope.names)
    return sorted(chosen, key=lambda b: (b["metadata"]["namespace"], b["metadata"]["name"]))


def find_plugin(kubectl: Kubectl, scope: Scope) -> dict[str, Any]:
    """Read the one resource that a command is about. Raises as `find_plugins` does."""
    found = find_plugins(kubectl, scope)
    if len(found) > 1:
        where = ", ".join(body["metadata"]["namespace"] for body in found)
        raise errors.SettingsError(f"{scope.names[0]} exists in {where}: choose one by --namespace")
    return found[0]


def find_operator(kubectl: Kubectl, scope: Scope) -> OperatorDeployment:
    """Find the operator's Deployment by the label that the chart sets.

    Raises `NotFoundError` where there is none, `SettingsError` where several may be meant.
    """
    try:
        bodies = kubectl.list(kinds.DEPLOYMENT, scope.operator_namespace, labels=PART_OF)
    except errors.ForbiddenError as error:
        if scope.operator_namespace:
            raise
        raise errors.ForbiddenError(f"{error}; name it by --operator-namespace") from error
    found = [_read_operator(body) for body in bodies]
    fitting = [each for each in found if scope.namespace in (None, *each.manages)] or found
    if not fitting:
        where = f"namespace {scope.operator_namespace}" if scope.operator_namespace else "cluster"
        raise errors.NotFoundError(f"no Deployment with label {PART_OF} is in this {where}")
    if len(fitting) > 1:
        where = ", ".join(f"{each.namespace}/{each.name}" for each in fitting)
        raise errors.SettingsError(f"several operators ({where}): choose by --operator-namespace")
    return fitting[0]


def _read_operator(body: Mapping[str, Any]) -> OperatorDeployment:
    pod = body["spec"]["template"]["spec"]
    container = next(
        (each for each in pod["containers"] if NAMESPACES in _variables(each)), pod["containers"][0]
    )
    return OperatorDeployment(
        namespace=body["metadata"]["namespace"],
        name=body["metadata"]["name"],
        container=container["name"],
        image=str(container.get("image", "")),
        settings=_variables(container),
        available=bool(mapping(body.get("status")).get("availableReplicas")),
    )


def _variables(container: Mapping[str, Any]) -> dict[str, str]:
    variables: Sequence[Mapping[str, Any]] = objects(container.get("env"))
    return {each["name"]: str(each["value"]) for each in variables if "value" in each}
