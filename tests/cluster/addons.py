"""What runs on the bare node before tests begin: cert-manager and CloudNativePG.

cert-manager's controllers run as a program of the machine, like the control plane: only their
behaviour towards the API matters here. CloudNativePG runs in pods, from its own install manifest,
because its Deployment is what the operator under test handles.
"""

import json
from collections.abc import Callable

from tests.cluster import builds
from tests.cluster.api import get, has_condition, would_accept
from tests.cluster.errors import ClusterError
from tests.cluster.images import cnpg as cnpg_image
from tests.cluster.paths import MANIFESTS, Layout

Kubectl = Callable[..., str]

CNPG_DEPLOYMENT = "/apis/apps/v1/namespaces/cnpg-system/deployments/cnpg-controller-manager"
_CRD = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/certificates.cert-manager.io"


def apply_cert_manager(kubectl: Kubectl) -> None:
    """Its resource types; the controllers are a component of the node."""
    crds = builds.CERT_MANAGER.asset("crds")
    kubectl("apply", "--server-side", "--force-conflicts", "-f", str(crds))
    kubectl("apply", "--server-side", "-f", str(MANIFESTS / "cert-manager-namespace.yaml"))


def cert_manager_is_served(layout: Layout) -> bool:
    return has_condition(layout, _CRD, "Established")


def cnpg_manifest(version: str) -> str:
    """CloudNativePG's published manifest, with the image that was built here."""
    text = builds.cnpg(version).asset("install.yaml").read_text()
    published = f"ghcr.io/cloudnative-pg/cloudnative-pg:{version}"
    if published not in text:
        raise ClusterError(f"CloudNativePG {version}'s manifest names no image {published}")
    local = text.replace(published, cnpg_image(version).tag)
    return local.replace("imagePullPolicy: Always", "imagePullPolicy: IfNotPresent")


def apply_cnpg(kubectl: Kubectl, version: str) -> None:
    """CloudNativePG and, for its databases, a class of storage."""
    kubectl("apply", "--server-side", "-f", str(MANIFESTS / "storage-class.yaml"))
    arguments = ["apply", "--server-side", "--force-conflicts", "-f", "-"]
    kubectl(*arguments, input=cnpg_manifest(version))


def cnpg_is_available(layout: Layout) -> bool:
    return has_condition(layout, CNPG_DEPLOYMENT, "Available")


def cnpg_answers(layout: Layout) -> bool:
    """Whether its admission webhook answers: proof that Services and pods really work."""
    probe = {
        "apiVersion": "postgresql.cnpg.io/v1",
        "kind": "Cluster",
        "metadata": {"name": "probe"},
        "spec": {"instances": 1, "storage": {"size": "1Gi"}},
    }
    path = "/apis/postgresql.cnpg.io/v1/namespaces/default/clusters"
    return would_accept(layout, path, probe)


def cnpg_version(layout: Layout) -> str | None:
    """The version on the node, as the Deployment's image tells."""
    status, body = get(layout, CNPG_DEPLOYMENT)
    if status != 200:
        return None
    image: str = json.loads(body)["spec"]["template"]["spec"]["containers"][0]["image"]
    return image.rpartition(":")[2]


def explain_pods(kubectl: Kubectl) -> str:
    """What a person would look at first when a pod does not come up."""
    return "\n" + kubectl("get", "pods,events", "--all-namespaces", "-o", "wide")
