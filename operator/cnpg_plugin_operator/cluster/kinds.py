"""The kinds that this program uses, with their place in the API's URLs.

It is a table instead of discovery, which costs a dozen requests at each start and a cache file on a
read-only file system.
"""

from dataclasses import dataclass
from typing import Final

from cnpg_plugin_operator import names
from cnpg_plugin_operator.cluster.addresses import path_segment


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind and its URL."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool = True

    def path(
        self, namespace: str | None = None, name: str | None = None, subresource: str | None = None
    ) -> str:
        """Return the URL of a collection, an object, or a subresource.

        Raises `InvalidNameError` where a part would change the path.
        """
        root = "api" if "/" not in self.api_version else "apis"
        parts = [root, self.api_version]
        if namespace is not None and self.namespaced:
            parts += ["namespaces", path_segment(namespace, "Namespace")]
        parts.append(self.plural)
        if name is not None:
            parts.append(path_segment(name, self.kind))
        if subresource is not None:
            parts.append(path_segment(subresource, "subresource"))
        return "/" + "/".join(parts)


PLUGIN: Final = Kind(names.resource.API_VERSION, names.resource.KIND, names.resource.PLURAL)
DEPLOYMENT: Final = Kind("apps/v1", "Deployment", "deployments")
REPLICA_SET: Final = Kind("apps/v1", "ReplicaSet", "replicasets")
POD: Final = Kind("v1", "Pod", "pods")
SERVICE: Final = Kind("v1", "Service", "services")
SECRET: Final = Kind("v1", "Secret", "secrets")
CONFIG_MAP: Final = Kind("v1", "ConfigMap", "configmaps")
SERVICE_ACCOUNT: Final = Kind("v1", "ServiceAccount", "serviceaccounts")
EVENT: Final = Kind("v1", "Event", "events")
LEASE: Final = Kind("coordination.k8s.io/v1", "Lease", "leases")
ROLE_BINDING: Final = Kind("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings")
CLUSTER_ROLE_BINDING: Final = Kind(
    "rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "clusterrolebindings", namespaced=False
)
CLUSTER_ROLE: Final = Kind(
    "rbac.authorization.k8s.io/v1", "ClusterRole", "clusterroles", namespaced=False
)
CERTIFICATE: Final = Kind("cert-manager.io/v1", "Certificate", "certificates")
ISSUER: Final = Kind("cert-manager.io/v1", "Issuer", "issuers")
CLUSTER_ISSUER: Final = Kind(
    "cert-manager.io/v1", "ClusterIssuer", "clusterissuers", namespaced=False
)
TOKEN_REVIEW: Final = Kind(
    "authentication.k8s.io/v1", "TokenReview", "tokenreviews", namespaced=False
)
SUBJECT_ACCESS_REVIEW: Final = Kind(
    "authorization.k8s.io/v1", "SubjectAccessReview", "subjectaccessreviews", namespaced=False
)
CLUSTER: Final = Kind(f"{names.cnpg.GROUP}/v1", "Cluster", "clusters")

POD_DISRUPTION_BUDGET: Final = Kind("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets")
NETWORK_POLICY: Final = Kind("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies")

CHILDREN: Final = (
    DEPLOYMENT,
    SERVICE,
    SERVICE_ACCOUNT,
    ROLE_BINDING,
    CERTIFICATE,
    ISSUER,
    POD_DISRUPTION_BUDGET,
    NETWORK_POLICY,
)
"""Kinds of children that are pruned when the spec no longer requests them."""

CHILD: Final = {kind.kind: kind for kind in CHILDREN}
"""The kinds of children, by the name of their kind."""

_BY_NAME: Final = {
    (kind.api_version, kind.kind): kind
    for kind in (*CHILDREN, CLUSTER_ROLE_BINDING, SECRET, PLUGIN)
}


def kind_of(body: dict[str, object]) -> Kind:
    """Return the kind of a desired object."""
    return _BY_NAME[str(body["apiVersion"]), str(body["kind"])]
