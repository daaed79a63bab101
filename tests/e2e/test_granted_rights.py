"""An account has the rights that the chart grants now: no earlier ones, and no revoked ones.

The chart is upgraded under two plugins that have rights, one of which is refused meanwhile.
"""

from collections.abc import Iterator

import pytest

from tests.support import wait
from tests.support.e2e.accounts import holds_token, the_pod
from tests.support.e2e.api import RBAC, ApiError, Object
from tests.support.e2e.installation import (
    ALLOWED_ACCOUNT,
    ALLOWED_ROLE,
    RELEASE,
    image_key,
    install_chart,
    stop_operator,
)
from tests.support.e2e.operator import Operator
from tests.support.e2e.plugins import Plugins, collection
from tests.support.resources import NAMESPACE, plugin

pytestmark = [pytest.mark.cnpg("untouched"), pytest.mark.long]

GROUP = "rbac.authorization.k8s.io"
OLD = "e2e-old-account"
"""An account that is gone; a binding still gives it rights."""


def may(operator: Operator, account: str, verb: str, resource: str, group: str = "") -> bool:
    """Ask the API server what an account may do in the whole cluster."""
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": f"system:serviceaccount:{account}",
            "resourceAttributes": {"verb": verb, "resource": resource, "group": group},
        },
    }
    answer = operator.api.create("/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
    return bool(answer["status"]["allowed"])


@pytest.fixture
def left_over(operator: Operator) -> Iterator[str]:
    """A binding that outlived its account, which could read every Secret."""
    subject = {"kind": "ServiceAccount", "name": OLD, "namespace": NAMESPACE}
    path = f"{RBAC}/clusterrolebindings/{OLD}"
    binding = {
        "apiVersion": f"{GROUP}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": OLD},
        "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [subject],
    }
    operator.api.apply(path, binding, "e2e", force=True)
    yield OLD
    operator.api.delete(path)


def test_an_account_that_still_has_bindings_is_not_created(
    operator: Operator, plugins: Plugins, left_over: str
) -> None:
    assert may(operator, f"{NAMESPACE}:{left_over}", "list", "secrets")
    wish = {"serviceAccount": {"create": True, "name": left_over}}
    with pytest.raises(ApiError, match="must begin with cnpg-plugin-"):
        operator.api.create(collection("CNPGPlugin"), plugin(left_over, **wish))

    plugins.apply(plugin(left_over, serviceAccount={"create": True}))
    plugins.until_ready(left_over)
    account = the_pod(plugins, left_over)["spec"]["serviceAccountName"]

    assert account == f"cnpg-plugin-{left_over}"
    assert plugins.find("ServiceAccount", left_over) is None
    assert not may(operator, f"{NAMESPACE}:{account}", "list", "secrets")


WIDE = {"roles": [ALLOWED_ROLE], "clusterRoles": [ALLOWED_ROLE]}
VALID, REFUSED_LATER = "lp-bound", "lp-bound-refused"
BOTH = (VALID, REFUSED_LATER)
GRANT = f"{RELEASE}-allows-{ALLOWED_ROLE}"


def bindings(operator: Operator) -> set[tuple[str, str]]:
    """Who is bound, in the namespace and in the cluster: resource and kind."""
    own = {"labelSelector": "app.kubernetes.io/managed-by=cnpg-plugin-operator"}
    found = {
        "RoleBinding": operator.api.list(collection("RoleBinding"), **own),
        "ClusterRoleBinding": operator.api.list(f"{RBAC}/clusterrolebindings", **own),
    }
    pairs = {
        (body["metadata"]["labels"]["cnpgplugin.dev/name"], kind)
        for kind, bodies in found.items()
        for body in bodies
    }
    return {pair for pair in pairs if pair[0] in BOTH}


ALL = {(name, kind) for name in BOTH for kind in ("RoleBinding", "ClusterRoleBinding")}
LOCAL = {(name, "RoleBinding") for name in BOTH}


def until_bound(operator: Operator, expected: set[tuple[str, str]], within: float = 60) -> None:
    wait.until(
        f"these are bound: {sorted(expected)}",
        lambda: bindings(operator) == expected,
        within=within,
        explain=lambda: f"{sorted(bindings(operator))}\n{operator.log_tail()}",
    )


BORROWER = "lp-borrower"
"""A plugin under an existing account."""


@pytest.fixture
def bound(operator: Operator, plugins: Plugins) -> Iterator[Plugins]:
    """Two plugins with rights; the spec of the second has become invalid since."""
    rule = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}
    role = {"apiVersion": f"{GROUP}/v1", "kind": "ClusterRole", "metadata": {"name": ALLOWED_ROLE}}
    path = f"{RBAC}/clusterroles/{ALLOWED_ROLE}"
    operator.api.apply(path, {**role, "rules": [rule]}, "e2e", force=True)
    metadata = {"name": ALLOWED_ROLE, "namespace": NAMESPACE}
    plugins.apply({**role, "kind": "Role", "metadata": metadata, "rules": [rule]})
    account = {"name": ALLOWED_ACCOUNT, "namespace": NAMESPACE}
    plugins.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account})
    borrowing = plugin(BORROWER, serviceAccount={"create": False, "name": ALLOWED_ACCOUNT})
    plugins.apply(borrowing, *(plugin(name, **WIDE) for name in BOTH))
    plugins.until_ready(BORROWER, *BOTH)
    break_spec(plugins)
    assert bindings(operator) == ALL
    try:
        yield plugins
    finally:
        install_chart(operator.cluster, image_key())
        operator.api.delete(path)


def break_spec(plugins: Plugins) -> None:
    plugins.patch(REFUSED_LATER, podTemplate={"spec": {"hostNetwork": True}})
    plugins.until_condition(REFUSED_LATER, "Accepted", "InvalidSpec", within=30)


def bind_again(operator: Operator, plugins: Plugins) -> None:
    """Grant everything and wait until everything is bound as at first."""
    install_chart(operator.cluster, image_key())
    plugins.patch(REFUSED_LATER, podTemplate=None)
    plugins.until_ready(*BOTH)
    until_bound(operator, ALL)
    break_spec(plugins)


def until_without_account(plugins: Plugins, name: str) -> None:
    """Wait until no pod of a plugin runs under the account that it did not own."""

    def pods() -> list[Object]:
        return plugins.api.list(collection("Pod"), labelSelector=f"cnpgplugin.dev/name={name}")

    def without() -> bool:
        found = pods()
        accounts = {pod["spec"]["serviceAccountName"] for pod in found}
        return accounts == {"default"} and not any(map(holds_token, found))

    wait.until(
        f"{name} runs without its account",
        without,
        within=60,
        explain=lambda: plugins.explain(name),
    )
    plugins.until_condition(name, "Accepted", "InvalidSpec", within=30)


def account_of(name: str) -> str:
    return f"{NAMESPACE}:cnpg-plugin-{name}"


def test_roles_that_the_chart_no_longer_grants_are_unbound(
    operator: Operator, bound: Plugins
) -> None:
    key = image_key()
    for name in BOTH:
        assert may(operator, account_of(name), "list", "configmaps")

    # One name is removed from a list of several.
    assert holds_token(the_pod(bound, BORROWER))
    others = {"allowedRoles": ["other"], "allowedClusterRoles": ["view"]}
    install_chart(operator.cluster, key, **others, allowedServiceAccounts=["other"])
    until_bound(operator, set())
    until_without_account(bound, BORROWER)
    refusal = bound.until_condition(VALID, "Accepted", "InvalidSpec", within=30)["message"]
    assert f"spec.clusterRoles: {ALLOWED_ROLE} is not granted" in refusal
    for name in BOTH:
        assert not may(operator, account_of(name), "list", "configmaps")
        assert bound.find("Deployment", name) is not None, "the plugin itself keeps running"
    bind_again(operator, bound)

    # The lists are emptied: the operator may then not even read cluster-wide bindings.
    install_chart(operator.cluster, key, allowedRoles=[], allowedClusterRoles=[])
    until_bound(operator, set())
    own_account = f"{RELEASE}:{RELEASE}"
    assert not may(operator, own_account, "list", "clusterrolebindings", GROUP)
    bind_again(operator, bound)

    # The operator does not run while Helm takes the object that grants the role.
    stop_operator(operator.cluster)
    operator.api.delete(f"{RBAC}/clusterroles/{GRANT}")
    until_bound(operator, LOCAL)


def test_a_plugin_without_roles_loses_its_account(operator: Operator, plugins: Plugins) -> None:
    """The API server keeps the account under its deprecated name while no other is named."""
    name = "lp-gives-up"
    plugins.apply(plugin(name, serviceAccount={"create": True}))
    plugins.until_ready(name)
    assert holds_token(the_pod(plugins, name))

    plugins.patch(name, serviceAccount=None)
    plugins.until_gone("ServiceAccount", f"cnpg-plugin-{name}", within=60)
    pod = plugins.get("Deployment", name)["spec"]["template"]["spec"]
    assert (pod["serviceAccountName"], pod["automountServiceAccountToken"]) == ("default", False)
    plugins.until_ready(name)
