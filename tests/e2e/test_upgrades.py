"""A newer image that reaches databases: shown, reported, blocked until approval if requested."""

import pytest

from tests.support import wait
from tests.support.e2e.api import CORE
from tests.support.e2e.operator import Operator
from tests.support.e2e.plugins import Plugins
from tests.support.resources import (
    IMAGE,
    IMAGE_VERSION,
    NEWER_IMAGE,
    NEWER_IMAGE_VERSION,
    plugin,
    plugin_name,
    postgres,
)

pytestmark = pytest.mark.cnpg("rolled")

CNPG = "cnpg-controller-manager"
WHERE = ("--namespace", "cnpg-system")
SOON = 5.0
"""Seconds until a plugin is deleted once it is unused."""


def use(plugins: Plugins, name: str, cluster: str) -> None:
    """Let a Cluster use the plugin, and wait until CloudNativePG has called it."""
    plugins.apply(postgres(cluster, plugin_name(name), imageName="localhost/none:17"))
    plugins.until_reported(name, cluster, IMAGE_VERSION, within=90)


def test_clusters_show_a_newer_image_without_a_restart(plugins: Plugins) -> None:
    name, cluster = "renewed", "e2e-renewed"
    plugins.apply(plugin(name))
    plugins.until_ready(name)
    use(plugins, name, cluster)
    before = plugins.get("Deployment", CNPG)["metadata"]["generation"]
    plugins.patch(name, image=NEWER_IMAGE)
    plugins.until_reported(name, cluster, NEWER_IMAGE_VERSION, within=90)
    plugins.until_ready(name)

    # Not `blocked`: CloudNativePG keeps the phase that a Cluster without running pods got during
    # the plugin's restart.
    wait.until(
        "no Cluster is behind any more",
        lambda: "outdated" not in plugins.plugin(name)["status"]["clusters"],
        within=60,
        explain=lambda: f"{plugins.get('Cluster', cluster, 'default')['status']}",
    )
    assert plugins.plugin(name)["status"]["plugin"]["version"] == NEWER_IMAGE_VERSION
    assert plugins.plugin(name)["status"]["clusters"]["using"] == 1
    assert plugins.get("Deployment", CNPG)["metadata"]["generation"] == before
    uid = plugins.plugin(name)["metadata"]["uid"]
    reported = [
        event["message"]
        for event in plugins.api.list(f"{CORE}/namespaces/cnpg-system/events")
        if event["reason"] == "UpgradingPlugin" and event["involvedObject"].get("uid") == uid
    ]
    assert len(reported) == 1
    assert f"image {IMAGE} becomes {NEWER_IMAGE}; 1 Cluster uses the plugin" in reported[0]


def test_a_newer_image_waits_for_approval(operator: Operator, plugins: Plugins) -> None:
    name, cluster = "approved", "e2e-approved"
    plugins.apply(plugin(name, upgradePolicy="Manual"))
    plugins.until_ready(name)
    use(plugins, name, cluster)
    plugins.patch(name, image=NEWER_IMAGE)
    message = plugins.until_condition(name, "Available", "AwaitingApproval", within=10)["message"]
    operator.writes_until_calm(operator.audit.mark())
    pod = plugins.get("Deployment", name)["spec"]["template"]["spec"]
    assert pod["containers"][0]["image"] == IMAGE

    plugins.kubectl(*message.partition("kubectl ")[2].split())
    plugins.until_ready(name)
    plugins.until_reported(name, cluster, NEWER_IMAGE_VERSION, within=90)


def test_a_plugin_is_deleted_at_once_after_its_last_cluster(plugins: Plugins) -> None:
    name, cluster = "last-user", "e2e-last-user"
    plugins.apply(plugin(name))
    plugins.until_ready(name)
    use(plugins, name, cluster)
    plugins.delete("CNPGPlugin", name)
    plugins.until_condition(name, "Accepted", "InUse", within=10)
    plugins.delete("Cluster", cluster, "default")
    plugins.until_gone("Cluster", cluster, within=30, namespace="default")
    plugins.until_gone("CNPGPlugin", name, within=SOON)


@pytest.mark.parametrize("policy", ["WaitForClusters", "Delete"])
def test_a_deletion_completes_with_cloudnativepg_scaled_to_zero(
    plugins: Plugins, policy: str
) -> None:
    name = f"left-{policy}".lower()
    plugins.apply(plugin(name, deletionPolicy=policy))
    plugins.until_ready(name)
    scale = ("scale", f"deployment/{CNPG}", *WHERE)
    plugins.kubectl(*scale, "--replicas=0")
    try:
        wait.until(
            "CloudNativePG is gone",
            lambda: not plugins.get("Deployment", CNPG)["status"].get("replicas"),
            within=60,
        )
        plugins.remove(name, within=15)
        plugins.until_gone("Service", name, within=SOON)
    finally:
        plugins.kubectl(*scale, "--replicas=1")
        plugins.kubectl("rollout", "status", f"deployment/{CNPG}", *WHERE, "--timeout=300s")
