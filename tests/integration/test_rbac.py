"""What the installed operator's account may and may not do, according to the API server."""

import pytest

from cnpg_plugin_operator import names
from tests.support.e2e.installation import ALLOWED_ROLE, RELEASE
from tests.support.e2e.operator import ACCOUNT, Operator

CNPG = "cnpg-system"
ELSEWHERE = "default"
GROUPS = ["system:authenticated", "system:serviceaccounts"]


def may(operator: Operator, what: str, namespace: str | None) -> bool:
    """What `kubectl auth can-i --as` asks: `verb resource[.group][/name] [--subresource=…]`."""
    verb, target, *option = what.split()
    resource, _, name = target.partition("/")
    plural, _, group = resource.partition(".")
    attributes = {
        "verb": verb,
        "group": group,
        "resource": plural,
        "name": name,
        "subresource": option[0].partition("=")[2] if option else "",
        "namespace": namespace or "",
    }
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": ACCOUNT, "groups": GROUPS, "resourceAttributes": attributes},
    }
    answer = operator.api.create("/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
    return bool(answer["status"]["allowed"])


def test_the_access_review_equals_kubectl_auth_can_i(operator: Operator) -> None:
    argv = ("auth", "can-i", "delete", "secrets", "--namespace", CNPG, f"--as={ACCOUNT}")
    assert operator.cluster.kubectl(*argv).strip() == "yes"
    assert may(operator, "delete secrets", CNPG)


IN_ITS_NAMESPACE = [
    *(
        f"{verb} {resource}"
        for resource in (
            "deployments.apps",
            "services",
            "serviceaccounts",
            "certificates.cert-manager.io",
            "issuers.cert-manager.io",
            "rolebindings.rbac.authorization.k8s.io",
            # The Secrets of the pairs, and the operator's own certificates.
            "secrets",
        )
        for verb in ("get", "list", "watch", "create", "patch", "delete")
    ),
    "watch pods",
    # An annotation makes the kubelet update mounted certificates.
    "patch pods",
    "list events",
    "watch events",
    "create events",
    "patch events",
    "list leases.coordination.k8s.io",
    f"get leases.coordination.k8s.io/{names.cnpg.LEASE}",
    f"watch leases.coordination.k8s.io/{names.cnpg.LEASE}",
    "get configmaps",
    "patch cnpgplugins.cnpgplugin.dev",
    "update cnpgplugins.cnpgplugin.dev --subresource=finalizers",
    f"bind roles.rbac.authorization.k8s.io/{ALLOWED_ROLE}",
]

EVERYWHERE = [
    "list cnpgplugins.cnpgplugin.dev",
    "watch cnpgplugins.cnpgplugin.dev",
    "patch cnpgplugins.cnpgplugin.dev --subresource=status",
    "list clusters.postgresql.cnpg.io",
    "watch clusters.postgresql.cnpg.io",
    "get clusterissuers.cert-manager.io",
    f"bind clusterroles.rbac.authorization.k8s.io/{ALLOWED_ROLE}",
    # What grants the role owns the bindings to it.
    f"get clusterroles.rbac.authorization.k8s.io/{RELEASE}-allows-{ALLOWED_ROLE}",
    "create clusterrolebindings.rbac.authorization.k8s.io",
]

NOT_IN_ITS_NAMESPACE = [
    "update secrets",
    "deletecollection secrets",
    "create pods",
    "update pods",
    # Only where OLM owns CloudNativePG (cnpg.olm).
    "delete pods",
    "delete events",
    "list replicasets.apps",
    "update cnpgplugins.cnpgplugin.dev",
    "update cnpgplugins.cnpgplugin.dev --subresource=status",
    "create pods --subresource=exec",
    "create pods --subresource=ephemeralcontainers",
    "patch pods --subresource=ephemeralcontainers",
    "patch pods --subresource=status",
    "get pods --subresource=log",
    "create serviceaccounts --subresource=token",
    "impersonate serviceaccounts",
    "create roles.rbac.authorization.k8s.io",
    "patch roles.rbac.authorization.k8s.io",
    "escalate roles.rbac.authorization.k8s.io",
    "bind roles.rbac.authorization.k8s.io",
    "bind roles.rbac.authorization.k8s.io/cnpg-manager",
    "delete cnpgplugins.cnpgplugin.dev",
    "create cnpgplugins.cnpgplugin.dev",
    "get leases.coordination.k8s.io",
    "watch leases.coordination.k8s.io",
    "patch leases.coordination.k8s.io",
    "list configmaps",
    "patch configmaps",
    "delete persistentvolumeclaims",
    "patch clusters.postgresql.cnpg.io",
]

NOWHERE_ELSE = [
    "get configmaps",
    "get secrets",
    "list secrets",
    "create secrets",
    "patch secrets",
    "delete secrets",
    "get pods",
    "patch pods",
    "list services",
    "create deployments.apps",
    "patch deployments.apps",
    "create rolebindings.rbac.authorization.k8s.io",
    "get certificates.cert-manager.io",
    "create events",
    "patch cnpgplugins.cnpgplugin.dev",
    "delete clusters.postgresql.cnpg.io",
    "patch clusters.postgresql.cnpg.io",
    "bind clusterroles.rbac.authorization.k8s.io",
    "bind clusterroles.rbac.authorization.k8s.io/cluster-admin",
    "get clusterroles.rbac.authorization.k8s.io/cluster-admin",
    "escalate clusterroles.rbac.authorization.k8s.io",
    "create clusterroles.rbac.authorization.k8s.io",
    "list customresourcedefinitions.apiextensions.k8s.io",
    "patch customresourcedefinitions.apiextensions.k8s.io",
    "list nodes",
    "create namespaces",
]


@pytest.mark.parametrize("what", IN_ITS_NAMESPACE)
def test_the_operator_may_do_its_work_in_managed_namespaces(operator: Operator, what: str) -> None:
    assert may(operator, what, CNPG)


@pytest.mark.parametrize("what", EVERYWHERE)
def test_the_operator_has_the_cluster_wide_rights_that_it_needs(
    operator: Operator, what: str
) -> None:
    assert may(operator, what, None)


@pytest.mark.parametrize("what", NOT_IN_ITS_NAMESPACE)
def test_the_operator_may_do_nothing_else_in_managed_namespaces(
    operator: Operator, what: str
) -> None:
    assert not may(operator, what, CNPG)


@pytest.mark.parametrize("what", NOWHERE_ELSE)
def test_the_operator_has_no_rights_in_other_namespaces(operator: Operator, what: str) -> None:
    assert not may(operator, what, ELSEWHERE)
