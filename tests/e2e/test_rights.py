"""A user who may create a `CNPGPlugin` gains no other rights by it."""

import json
from typing import Any

import pytest

from tests.cluster.errors import ClusterError
from tests.e2e.names import SHARED
from tests.support import wait
from tests.support.e2e.installation import ALLOWED_ACCOUNT
from tests.support.e2e.operator import Operator
from tests.support.e2e.plugins import Plugins, collection
from tests.support.resources import NAMESPACE, behaviour, plugin, plugin_name

pytestmark = pytest.mark.cnpg("untouched")

AUTHOR = f"system:serviceaccount:{NAMESPACE}:e2e-author"
RBAC = "rbac.authorization.k8s.io"
TAKEN = "cnpg-plugin-taken"
"""An account that another program created under a name that the operator could choose."""


@pytest.fixture(scope="module")
def author(operator: Operator, module_plugins: Plugins) -> Plugins:
    """A user who may only write CNPGPlugins in CloudNativePG's namespace."""
    metadata = {"name": "e2e-author", "namespace": NAMESPACE}
    subject = {"kind": "ServiceAccount", **metadata}
    verbs = ["get", "list", "create", "update", "patch", "delete"]
    module_plugins.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": TAKEN, "namespace": NAMESPACE},
        },
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "Role",
            "metadata": metadata,
            "rules": [
                {"apiGroups": ["cnpgplugin.dev"], "resources": ["cnpgplugins"], "verbs": verbs}
            ],
        },
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": "e2e-author"},
            "subjects": [subject],
        },
    )
    return module_plugins


def pod(**spec: object) -> dict[str, Any]:
    return {"podTemplate": {"spec": spec}}


def secret_volume(name: str) -> dict[str, Any]:
    return {
        "volumes": [{"name": "loot", "secret": {"secretName": name}}],
        "volumeMounts": [{"name": "loot", "mountPath": "/loot"}],
    }


def secret_variable(name: str) -> dict[str, Any]:
    reference = {"secretKeyRef": {"name": name, "key": "tls.key"}}
    return {"env": [*behaviour("x"), {"name": "LOOT", "valueFrom": reference}]}


EXCESSIVE: dict[str, dict[str, Any]] = {
    "account-of-cloudnativepg": {"serviceAccount": {"name": "cnpg-manager"}},
    "account-made-from-cloudnativepg": {"serviceAccount": {"name": "cnpg-manager", "create": True}},
    "account-that-another-made": {"serviceAccount": {"name": TAKEN, "create": True}},
    "account-by-pod-template": pod(serviceAccountName="cnpg-manager"),
    "account-by-deprecated-name": pod(serviceAccount="cnpg-manager"),
    "token-of-the-default-account": pod(automountServiceAccountToken=True),
    "role-that-is-not-granted": {"roles": ["cnpg-manager"]},
    "cluster-role-that-is-not-granted": {"clusterRoles": ["cluster-admin"]},
    "volume-of-cloudnativepg-ca": secret_volume("cnpg-ca-secret"),
    "volume-of-the-webhook": secret_volume("cnpg-webhook-cert"),
    "volume-of-the-chain": secret_volume("cnpg-plugins"),
    "volume-of-the-root": secret_volume("cnpg-plugins-root"),
    "volume-of-the-operators-own-root": secret_volume("cnpg-plugins-selfmanaged-root"),
    "volume-of-a-plugins-own-authority": secret_volume("other-plugin-ca"),
    "variable-of-the-chain": secret_variable("cnpg-plugins-root"),
    "variables-of-the-chain": {"envFrom": [{"secretRef": {"name": "cnpg-plugins"}}]},
    "projected-ca": {
        "volumes": [
            {"name": "p", "projected": {"sources": [{"secret": {"name": "cnpg-ca-secret"}}]}}
        ]
    },
    "client-key-of-another-plugin": secret_volume(f"{SHARED}-client-tls"),
    "server-key-of-another-plugin": secret_volume(f"{SHARED}-server-tls"),
    "own-client-key": secret_volume("own-client-key-client-tls"),
}
OTHER_REASONS = {"account-that-another-made": "NameConflict"}
"""Where the request itself is valid: the plugin's own account may be created, but not adopted."""


@pytest.fixture(scope="module")
def attempts(author: Plugins, shared: Plugins) -> dict[str, str]:
    """Every attempt, made at once as the author, with the API server's message about refusals."""
    refused = {}
    for name, spec in EXCESSIVE.items():
        manifest = plugin(name, **spec)
        # Nothing may remain, even if the schema refuses it.
        author.made["CNPGPlugin", NAMESPACE, name] = None
        try:
            author.kubectl("create", "-f", "-", f"--as={AUTHOR}", input=json.dumps(manifest))
        except ClusterError as error:
            refused[name] = str(error)
    return refused


@pytest.mark.parametrize("name", EXCESSIVE)
def test_a_plugin_that_requests_more_than_is_granted_is_refused(
    author: Plugins, attempts: dict[str, str], name: str
) -> None:
    if name in attempts:
        assert "invalid" in attempts[name].lower(), attempts[name]
        return
    found = wait.until(
        "the attempt is judged",
        lambda: author.condition(name, "Accepted") or None,
        within=20,
        explain=lambda: author.explain(name),
    )
    expected = ("False", OTHER_REASONS.get(name, "InvalidSpec"))
    assert (found["status"], found["reason"]) == expected, author.explain(name)
    assert author.find("Deployment", name) is None


def test_a_granted_account_can_be_used(plugins: Plugins) -> None:
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": ALLOWED_ACCOUNT, "namespace": NAMESPACE},
    }
    plugins.apply(account)
    plugins.apply(plugin("granted", serviceAccount={"create": False, "name": ALLOWED_ACCOUNT}))
    plugins.until_ready("granted")
    template = plugins.get("Deployment", "granted")["spec"]["template"]["spec"]
    assert template["serviceAccountName"] == ALLOWED_ACCOUNT


def test_a_plugin_whose_change_is_refused_keeps_running(
    operator: Operator, plugins: Plugins
) -> None:
    """An invalid change must not remove a working plugin."""
    name = "turned-greedy"
    plugins.apply(plugin(name))
    plugins.until_ready(name)
    before = plugins.get("Deployment", name)["spec"]["template"]
    plugins.patch(name, **pod(hostNetwork=True))
    found = plugins.until_condition(name, "Accepted", "InvalidSpec", within=15)
    assert "hostNetwork" in found["message"]
    operator.writes_until_calm(operator.audit.mark())
    assert plugins.get("Deployment", name)["spec"]["template"] == before
    assert plugins.labelled(name)
    plugins.patch(name, podTemplate=None)
    plugins.until_ready(name)
    assert plugin_name(name) == plugins.plugin(name)["status"]["plugin"]["name"]
    assert operator.api.find(f"{collection('Service')}/{name}") is not None
