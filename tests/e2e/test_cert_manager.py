"""Without cert-manager: new plugins report it, working ones keep working, its return is detected.

Meanwhile no certificate can be issued in the cluster.
"""

from collections.abc import Iterator

import pytest

from tests.cluster import Cluster
from tests.cluster.builds import CERT_MANAGER
from tests.e2e.names import SHARED
from tests.support import wait
from tests.support.crds import until_established
from tests.support.e2e.operator import Operator
from tests.support.e2e.plugins import Plugins, collection
from tests.support.resources import plugin

pytestmark = pytest.mark.cnpg("rolled")

NAME = "without-cert-manager"
SECONDS_TO_SAY_SO = 15
CRDS = ("-f", str(CERT_MANAGER.asset("crds")))


def install(cluster: Cluster) -> None:
    cluster.kubectl("apply", "--server-side", "--force-conflicts", *CRDS)
    until_established(cluster, *CRDS)
    cluster.start_component("cert-manager")


@pytest.fixture(scope="module")
def uninstalled(cluster: Cluster, shared: Plugins) -> Iterator[None]:
    """cert-manager and its kinds are removed, and restored at the end, whatever happens."""
    shared.until_ready(SHARED)
    cluster.stop_component("cert-manager")
    cluster.kubectl("delete", "--timeout=300s", *CRDS)
    yield
    install(cluster)


@pytest.mark.usefixtures("uninstalled")
def test_a_new_plugin_reports_that_cert_manager_is_missing(module_plugins: Plugins) -> None:
    module_plugins.apply(plugin(NAME))
    found = module_plugins.until_condition(
        NAME, "CertificatesReady", "CertManagerNotInstalled", within=SECONDS_TO_SAY_SO
    )
    assert found["status"] == "False"
    assert "cert-manager" in found["message"]
    assert "Install cert-manager" in found["message"]
    assert module_plugins.condition(NAME, "Ready")["reason"] == "CertManagerNotInstalled"
    assert not module_plugins.labelled(NAME)


@pytest.mark.usefixtures("uninstalled")
def test_a_working_plugin_keeps_working_without_cert_manager(
    operator: Operator, shared: Plugins
) -> None:
    # For some seconds the operator does not know that the kinds are gone: a write fails.
    shared.until_ready(SHARED)
    before = shared.plugin(SHARED)
    operator.api.patch(
        f"{collection('CNPGPlugin')}/{SHARED}",
        {"metadata": {"annotations": {"example.com/look": "again"}}},
    )
    operator.writes_until_calm(operator.audit.mark())
    assert shared.labelled(SHARED)
    after = shared.plugin(SHARED)
    assert after["status"]["conditions"] == before["status"]["conditions"]


@pytest.mark.usefixtures("uninstalled")
def test_the_operator_detects_that_cert_manager_is_installed_again(
    cluster: Cluster, module_plugins: Plugins, shared: Plugins
) -> None:
    install(cluster)
    module_plugins.until_ready(NAME, within=60)
    shared.until_ready(SHARED)
    wait.until(
        "the certificates of the working plugin are there again",
        lambda: shared.find("Certificate", f"{SHARED}-server-tls"),
        within=60,
        explain=lambda: shared.explain(SHARED),
    )
