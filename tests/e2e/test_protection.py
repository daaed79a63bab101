"""What a plugin has beside its Deployment and Service: further ports, a budget, a NetworkPolicy."""

import pytest

from tests.support import wait
from tests.support.e2e.api import Object
from tests.support.e2e.installation import OPERATOR_NAMESPACE, RELEASE
from tests.support.e2e.plugins import Plugins, collection
from tests.support.resources import plugin

pytestmark = pytest.mark.cnpg("untouched")

NAME = "protected-pods"
BUDGET, POLICY = "PodDisruptionBudget", "NetworkPolicy"
OWN_PODS = {"matchLabels": {"cnpgplugin.dev/name": NAME}}


def test_a_plugin_s_pods_are_protected_as_its_resource_wants(plugins: Plugins) -> None:
    plugins.apply(
        plugin(
            NAME,
            podDisruptionBudget={"maxUnavailable": 1},
            networkPolicy={"enabled": True},
            extraPorts=[{"name": "metrics", "port": 8080, "servicePort": 80}],
            deploymentLabels={"app.kubernetes.io/name": "looks-for-itself"},
            minReadySeconds=1,
        )
    )
    plugins.until_ready(NAME)

    assert plugins.get(BUDGET, NAME)["spec"] == {"maxUnavailable": 1, "selector": OWN_PODS}
    deployment = plugins.get("Deployment", NAME)
    assert deployment["spec"]["minReadySeconds"] == 1
    assert deployment["metadata"]["labels"]["app.kubernetes.io/name"] == "looks-for-itself"
    ports = {port["name"]: port["port"] for port in plugins.get("Service", NAME)["spec"]["ports"]}
    assert ports == {"grpc": 9090, "metrics": 80}

    own, metrics = plugins.get(POLICY, NAME)["spec"]["ingress"]
    cnpg, operator = own["from"]
    assert selected(plugins, "cnpg-system", cnpg), "CloudNativePG's pods"
    assert operator["namespaceSelector"]["matchLabels"] == {
        "kubernetes.io/metadata.name": OPERATOR_NAMESPACE
    }
    assert selected(plugins, OPERATOR_NAMESPACE, operator)[0].startswith(RELEASE)
    assert metrics == {"ports": [{"port": 8080, "protocol": "TCP"}]}

    # What another program changes is restored.
    plugins.api.delete(f"{collection(BUDGET)}/{NAME}")
    plugins.api.patch(f"{collection(POLICY)}/{NAME}", {"spec": {"ingress": [{}]}})
    wait.until(
        "both are restored",
        lambda: (
            plugins.find(BUDGET, NAME) is not None
            and plugins.get(POLICY, NAME)["spec"]["ingress"] == [own, metrics]
        ),
        within=10,
        explain=lambda: plugins.explain(NAME),
    )

    plugins.patch(NAME, podDisruptionBudget=None, networkPolicy=None)
    for kind in (BUDGET, POLICY):
        plugins.until_gone(kind, NAME, within=60)
    plugins.until_ready(NAME)


def selected(plugins: Plugins, namespace: str, peer: Object) -> list[str]:
    """The pods that a peer of a NetworkPolicy selects."""
    labels = ",".join(f"{k}={v}" for k, v in peer["podSelector"]["matchLabels"].items())
    where = (f"--namespace={namespace}", f"--selector={labels}")
    found = plugins.kubectl("get", "pods", *where, "--output=name")
    return [name.removeprefix("pod/") for name in found.split()]
