"""CloudNativePG is found where Helm has installed it, under the names that a chart gives it.

During a test, Helm's installation replaces the manifest's: only one can lead in a namespace.
"""

from dataclasses import dataclass, field

import pytest

from tests.cluster.cluster import DEFAULT_CNPG
from tests.support import wait
from tests.support.e2e.api import Object
from tests.support.e2e.cnpg_install import installed_by_helm
from tests.support.e2e.operator import Operator
from tests.support.e2e.plugins import Plugins, collection
from tests.support.resources import IMAGE_VERSION, plugin, plugin_name, postgres
from tests.support.thorough import rows

pytestmark = pytest.mark.cnpg("rolled")

NAME, USER = "under-helm", "e2e-under-helm"
LABEL = "app.kubernetes.io/name"
MANIFESTS = "cnpg-controller-manager"
MINUTE = 60.0


@dataclass(frozen=True)
class Release:
    """One way to install it."""

    name: str
    deployment: str
    label: str
    """The Deployment's label `app.kubernetes.io/name`."""
    values: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.deployment


RELEASES = (
    Release("cnpg", "cnpg-cloudnative-pg", "cloudnative-pg"),
    Release("e2e", "e2e-pg-operator", "pg-operator", {"nameOverride": "pg-operator"}),
)


def reported(plugins: Plugins) -> Object:
    found: Object = plugins.plugin(NAME).get("status", {}).get("cnpg") or {}
    return found


def until_found(plugins: Plugins, deployment: str) -> None:
    """Wait until a CloudNativePG is found, and the plugin is Ready under it."""
    wait.until(
        f"Deployment {deployment} is found",
        lambda: reported(plugins).get("deploymentName") == deployment,
        within=MINUTE,
        explain=lambda: plugins.explain(NAME),
    )
    plugins.until_ready(NAME)
    assert reported(plugins)["deploymentName"] == deployment
    assert reported(plugins)["version"] == DEFAULT_CNPG
    assert plugins.condition(NAME, "Registered")["reason"] == "Registered"


@pytest.mark.parametrize("release", rows(RELEASES, RELEASES[-1:]), ids=str)
def test_cloudnativepg_from_helm_is_found_and_a_plugin_moves_there_and_back(
    operator: Operator, plugins: Plugins, release: Release
) -> None:
    plugins.apply(plugin(NAME))
    until_found(plugins, MANIFESTS)
    made = plugins.get("Service", NAME)["metadata"]["uid"]

    with installed_by_helm(operator.cluster, release.name, release.values):
        found = plugins.api.list(collection("Deployment"), labelSelector="helm.sh/chart")
        names = {each["metadata"]["name"]: each["metadata"]["labels"][LABEL] for each in found}
        assert names == {release.deployment: release.label}
        assert plugins.find("Deployment", MANIFESTS) is None
        until_found(plugins, release.deployment)

        plugins.apply(postgres(USER, plugin_name(NAME), imageName="localhost/none:17"))
        plugins.until_reported(NAME, USER, IMAGE_VERSION, within=MINUTE)
        plugins.delete("Cluster", USER, "default")
        plugins.until_gone("Cluster", USER, within=MINUTE, namespace="default")

    until_found(plugins, MANIFESTS)
    assert plugins.get("Service", NAME)["metadata"]["uid"] == made, "it was not recreated"
