"""Installs cert-manager and CloudNativePG on the node before tests begin.

cert-manager's controllers run as a program on the machine, like the control plane: only their
behaviour towards the API matters here. CloudNativePG runs in pods, from its own install manifest,
because the operator under test changes its Deployment.
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
_PROBED = """\
          httpGet:
            path: /readyz
            port: 9443
            scheme: HTTPS
"""
_STARTUP = f"          failureThreshold: 6\n{_PROBED}          periodSeconds: 5\n"
_READINESS = f"        readinessProbe:\n{_PROBED}"
_CRD = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/certificates.cert-manager.io"


def apply_cert_manager(kubectl: Kubectl) -> None:
    """Apply its resource types; the controllers are a component of the node."""
    crds = builds.CERT_MANAGER.asset("crds")
    kubectl("apply", "--server-side", "--force-conflicts", "-f", str(crds))
    kubectl("apply", "--server-side", "-f", str(MANIFESTS / "cert-manager-namespace.yaml"))


def cert_manager_is_served(layout: Layout) -> bool:
    return has_condition(layout, _CRD, "Established")


def cnpg_manifest(version: str) -> str:
    """Read CloudNativePG's published manifest and replace the image by the one built here.

    Its pods are probed every second, for as long as before: kubelet probes a new pod for the first
    time after a whole period, and the tests start many.
    """
    text = builds.cnpg(version).asset("install.yaml").read_text()
    published = f"ghcr.io/cloudnative-pg/cloudnative-pg:{version}"
    if published not in text:
        raise ClusterError(f"CloudNativePG {version}'s manifest has no image {published}")
    local = text.replace(published, cnpg_image(version).tag)
    local = local.replace("imagePullPolicy: Always", "imagePullPolicy: IfNotPresent")
    every_second = f"          failureThreshold: 30\n{_PROBED}          periodSeconds: 1\n"
    if _STARTUP in local:
        return local.replace(_STARTUP, every_second)
    if _READINESS not in local:
        raise ClusterError(f"CloudNativePG {version}'s manifest has other probes")
    return local.replace(_READINESS, f"        readinessProbe:\n{every_second}")


def apply_cnpg(kubectl: Kubectl, version: str) -> None:
    """Apply CloudNativePG and a storage class for its databases."""
    kubectl("apply", "--server-side", "-f", str(MANIFESTS / "storage-class.yaml"))
    arguments = ["apply", "--server-side", "--force-conflicts", "-f", "-"]
    kubectl(*arguments, input=cnpg_manifest(version))


def cnpg_is_available(layout: Layout) -> bool:
    return has_condition(layout, CNPG_DEPLOYMENT, "Available")


def cnpg_answers(layout: Layout) -> bool:
    """Whether its admission webhook answers, which proves that Services and pods work."""
    probe = {
        "apiVersion": "postgresql.cnpg.io/v1",
        "kind": "Cluster",
        "metadata": {"name": "probe"},
        "spec": {"instances": 1, "storage": {"size": "1Gi"}},
    }
    path = "/apis/postgresql.cnpg.io/v1/namespaces/default/clusters"
    return would_accept(layout, path, probe)


def cnpg_version(layout: Layout) -> str | None:
    """Read the version on the node from the Deployment's image."""
    status, body = get(layout, CNPG_DEPLOYMENT)
    if status != 200:
        return None
    image: str = json.loads(body)["spec"]["template"]["spec"]["containers"][0]["image"]
    return image.rpartition(":")[2]


def explain_pods(kubectl: Kubectl) -> str:
    """Show pods and Events, which usually explain why a pod does not start."""
    return "\n" + kubectl("get", "pods,events", "--all-namespaces", "-o", "wide")
