"""The main job: one resource becomes a plugin that CloudNativePG reports, up to a database."""

import json
import subprocess
from collections.abc import Iterator

import pytest

from tests.cluster.images import POSTGRES
from tests.support import wait
from tests.support.e2e.api import CERT_MANAGER, Object
from tests.support.e2e.installation import load_once
from tests.support.e2e.operator import Operator
from tests.support.e2e.plugins import Plugins, conditions
from tests.support.resources import (
    IMAGE_VERSION,
    NAMESPACE,
    NEWER_IMAGE,
    NEWER_IMAGE_VERSION,
    POSTGRES_IMAGE,
    plugin,
    plugin_name,
    postgres,
)

pytestmark = [pytest.mark.cnpg("untouched"), pytest.mark.long]

NAME = "first"
DATABASE = "e2e-database"
HEALTHY = "Cluster in healthy state"
REMOVAL_SECONDS = 15


@pytest.fixture(scope="module")
def ready(module_plugins: Plugins) -> Plugins:
    """The plugin, created as a user would."""
    module_plugins.apply(plugin(NAME))
    flags = ("--namespace", NAMESPACE, "--for=condition=Ready", f"--timeout={15 * wait.PATIENCE}s")
    module_plugins.kubectl("wait", f"cnpgplugin/{NAME}", *flags)
    return module_plugins


@pytest.fixture(scope="module")
def database(operator: Operator, ready: Plugins) -> Iterator[Plugins]:
    """A PostgreSQL that names the plugin."""
    load_once(operator.cluster, POSTGRES_IMAGE, POSTGRES.archive.name)
    operator.cluster.add_volume(DATABASE)
    # kubelet probes a new pod for the first time after a whole period, usually ten seconds.
    every_second = {"startup": {"periodSeconds": 1}}
    ready.apply(postgres(DATABASE, plugin_name(NAME), probes=every_second))
    yield ready
    ready.clean_up()
    operator.cluster.kubectl("delete", "pv", DATABASE, "--timeout=300s")


def database_of(plugins: Plugins) -> Object:
    return plugins.get("Cluster", DATABASE, "default")


def explain_database(plugins: Plugins) -> str:
    pods = plugins.kubectl("get", "pods,events", "--namespace", "default", "-o", "wide")
    status = json.dumps(database_of(plugins).get("status"), indent=1)
    return f"{status}\n{pods}\n{plugins.explain(NAME)}"


def test_kubectl_wait_sees_a_new_plugin_ready_within_15_seconds(ready: Plugins) -> None:
    found = conditions(ready.plugin(NAME))
    assert [(kind, c["status"], c["reason"]) for kind, c in found.items()] == [
        ("Accepted", "True", "Accepted"),
        ("CertificatesReady", "True", "Issued"),
        ("Available", "True", "Available"),
        ("HandshakeSucceeded", "True", "Identified"),
        ("Registered", "True", "Registered"),
        ("Ready", "True", "Ready"),
    ]


def test_the_status_shows_the_plugins_identity_and_its_clusters(ready: Plugins) -> None:
    resource = ready.plugin(NAME)
    status = resource["status"]
    assert status["observedGeneration"] == resource["metadata"]["generation"]
    assert status["plugin"]["name"] == plugin_name(NAME)
    assert status["plugin"]["version"] == IMAGE_VERSION
    assert status["plugin"]["vendor"] == "cnpgplugin.dev"
    assert "LIFECYCLE_SERVICE" in status["plugin"]["capabilities"]
    assert set(status["certificates"]) == {"server", "client"}
    assert status["cnpg"]["deploymentName"] == "cnpg-controller-manager"
    assert status["cnpg"]["version"] == "1.30.0"
    assert status["cnpg"]["registeredRevision"]


def test_the_service_has_the_labels_and_annotations_that_cloudnativepg_reads(
    ready: Plugins,
) -> None:
    metadata = ready.get("Service", NAME)["metadata"]
    assert metadata["labels"]["cnpg.io/pluginName"] == plugin_name(NAME)
    assert metadata["labels"]["cnpg.io/plugin"] == plugin_name(NAME)
    expected = {
        "cnpg.io/pluginPort": "9090",
        "cnpg.io/pluginServerSecret": f"{NAME}-trust",
        "cnpg.io/pluginClientSecret": f"{NAME}-client-tls",
    }
    assert expected.items() <= metadata["annotations"].items()


def test_the_pod_satisfies_the_restricted_pod_security_level(ready: Plugins) -> None:
    """The API server itself warns about every pod that would violate the level."""
    label = "pod-security.kubernetes.io/enforce=restricted"
    argv = ready.operator.cluster.kubectl_argv(
        *("label", "--dry-run=server", "--overwrite", "namespace", NAMESPACE, label)
    )
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert NAME not in done.stderr


def test_cloudnativepg_reports_the_plugin_in_the_status_of_a_cluster(database: Plugins) -> None:
    def reported() -> Object | None:
        found = database_of(database).get("status", {}).get("pluginStatus") or []
        return next((one for one in found if one["name"] == plugin_name(NAME)), None)

    seen = wait.until(
        "the Cluster's status names the plugin",
        reported,
        within=60,
        explain=lambda: explain_database(database),
    )
    assert seen["version"] == IMAGE_VERSION
    status = wait.until(
        "the plugin's status counts the Cluster",
        lambda: database.plugin(NAME)["status"].get("clusters", {}).get("using") == 1,
        within=15,
        explain=lambda: database.explain(NAME),
    )
    assert status


def test_a_database_that_names_the_plugin_becomes_healthy(database: Plugins) -> None:
    wait.until(
        f"the Cluster says {HEALTHY!r}",
        lambda: database_of(database).get("status", {}).get("phase") == HEALTHY,
        within=180,
        explain=lambda: explain_database(database),
        pause=0.5,
    )
    answer = database.kubectl(
        *("exec", f"{DATABASE}-1", "--namespace", "default", "--container", "postgres", "--"),
        *("psql", "-U", "postgres", "-Atc", "show server_version"),
    )
    assert answer.startswith("17.")
    wait.until(
        "the plugin's status counts no unready Cluster",
        lambda: database.plugin(NAME)["status"]["clusters"] == {"using": 1, "unready": 0},
        within=15,
        explain=lambda: database.explain(NAME),
    )


def test_a_new_version_of_the_plugin_reaches_cloudnativepg(database: Plugins) -> None:
    database.patch(NAME, image=NEWER_IMAGE)
    database.until_ready(NAME, within=60)
    assert database.plugin(NAME)["status"]["plugin"]["version"] == NEWER_IMAGE_VERSION

    def reported() -> bool:
        found = database_of(database)["status"].get("pluginStatus") or []
        return [one["version"] for one in found] == [NEWER_IMAGE_VERSION]

    wait.until(
        "the Cluster's status names the new version",
        reported,
        within=60,
        explain=lambda: explain_database(database),
    )


def test_a_plugin_in_use_stays_until_its_last_cluster_is_deleted(database: Plugins) -> None:
    database.delete("CNPGPlugin", NAME)
    found = database.until_condition(NAME, "Accepted", "InUse", within=10)
    assert found["status"] == "False"
    assert f"default/{DATABASE}" in found["message"]
    assert "spec.deletionPolicy" in found["message"]
    assert database.labelled(NAME)

    # A restart of the operator loses nothing.
    database.operator.kill()
    database.operator.pod()
    database.never(
        "the Service of a plugin in use was withdrawn",
        lambda: not database.labelled(NAME),
        of=NAME,
    )

    database.delete("Cluster", DATABASE, "default")
    database.until_gone("Cluster", DATABASE, within=60, namespace="default")
    database.until_gone("CNPGPlugin", NAME, within=REMOVAL_SECONDS)
    for kind, name in (
        ("Service", NAME),
        ("Deployment", NAME),
        ("Certificate", f"{NAME}-server-tls"),
        ("Certificate", f"{NAME}-client-tls"),
        ("Secret", f"{NAME}-server-tls"),
        ("Secret", f"{NAME}-trust"),
        ("Secret", f"{NAME}-client-tls"),
    ):
        database.until_gone(kind, name, within=REMOVAL_SECONDS)


def test_a_plugin_uses_a_cluster_issuer_as_soon_as_it_exists(
    operator: Operator, plugins: Plugins
) -> None:
    name, issuer = "of-cluster-issuer", "e2e-cluster-issuer"
    path = f"{CERT_MANAGER}/clusterissuers/{issuer}"
    body = {
        "apiVersion": "cert-manager.io/v1",
        "kind": "ClusterIssuer",
        "metadata": {"name": issuer},
        "spec": {"selfSigned": {}},
    }
    plugins.apply(plugin(name, tls={"issuerRef": {"kind": "ClusterIssuer", "name": issuer}}))
    found = plugins.until_condition(name, "CertificatesReady", "IssuerNotReady", within=15)
    assert f"ClusterIssuer {issuer}" in found["message"]
    operator.api.apply(path, body, "e2e", force=True)
    try:
        plugins.until_ready(name)
        plugins.remove(name)
    finally:
        operator.api.delete(path)
