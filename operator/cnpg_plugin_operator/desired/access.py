"""The plugin's service account and its rights: existing roles, bound by name.

The operator never writes rules. Its chart names the roles that it may bind; see
`decide.acceptance`.
"""

from collections.abc import Collection, Mapping

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.desired.objects import Object, build_child, child_labels, stamp

RBAC: str = "rbac.authorization.k8s.io"
"""API group of roles and bindings."""


def account_name(plugin: Plugin) -> str | None:
    """Return the account of the plugin's pods; None for the default account without a token."""
    account = plugin.spec.service_account
    if creates_account(plugin):
        return account.name or names.children.account(plugin.name)
    return account.name


def creates_account(plugin: Plugin) -> bool:
    """Whether the operator creates the account: requested, or needed for the roles."""
    account = plugin.spec.service_account
    if account.create is None:
        return bool(plugin.spec.cluster_roles or plugin.spec.roles) and account.name is None
    return account.create


def build_access(
    plugin: Plugin, bindable: Collection[str], owners: Mapping[str, Object] | None = None
) -> list[Object]:
    """Build the account and the bindings of a plugin; empty where it needs no rights.

    `bindable` lists the ClusterRoles that the operator's own rights allow it to read and bind;
    `owners` maps their names to references to the chart's objects that grant them.
    """
    objects: list[Object] = []
    account = account_name(plugin)
    if account is None:
        return objects
    if creates_account(plugin):
        objects.append(
            build_child(
                plugin,
                "v1",
                "ServiceAccount",
                account,
                annotations=plugin.spec.service_account.annotations,
                automountServiceAccountToken=False,
            )
        )
    subject = {"kind": "ServiceAccount", "name": account, "namespace": plugin.namespace}
    objects.extend(
        build_child(
            plugin,
            f"{RBAC}/v1",
            "RoleBinding",
            f"{plugin.name}-{role}",
            roleRef={"apiGroup": RBAC, "kind": "Role", "name": role},
            subjects=[subject],
        )
        for role in plugin.spec.roles
    )
    objects.extend(
        _build_cluster_binding(plugin, role, subject, (owners or {}).get(role))
        for role in plugin.spec.cluster_roles
        if role in bindable
    )
    return objects


def _build_cluster_binding(
    plugin: Plugin, role: str, subject: dict[str, str], owner: Object | None
) -> Object:
    """Build a cluster-wide binding. It cannot have a namespaced owner: deletion prunes it.

    Its owner is the object that grants the role. When the chart's values no longer name the role,
    Helm deletes that object, and the garbage collector the binding, even without the operator.
    """
    return stamp(
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {
                "name": f"{plugin.namespace}-{plugin.name}-{role}",
                "labels": {
                    **child_labels(plugin),
                    names.labels.NAMESPACE: plugin.namespace,
                },
                "annotations": {},
                **({"ownerReferences": [owner]} if owner else {}),
            },
            "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role},
            "subjects": [subject],
        }
    )
