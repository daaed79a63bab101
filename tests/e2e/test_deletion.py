"""Deletion of plugins: at once if unused, and completely whatever happens to the operator."""

import json

import pytest

from tests.cluster import Cluster
from tests.support import wait
from tests.support.e2e.api import Recorder
from tests.support.e2e.operator import Operator
from tests.support.e2e.plugins import Plugins, collection
from tests.support.resources import plugin, plugin_name, postgres

pytestmark = pytest.mark.cnpg("untouched")

PROTECTED, FREE, MISPLACED = "protected", "unprotected", "misplaced-and-deleted"
USER = "e2e-user-of-both"
OWN = {"provider": "SelfManaged"}
"""cert-manager needs the garbage collector itself."""
GARBAGE_COLLECTOR = "kube-controller-manager"
"""It is a part of this program."""
CHILDREN = (
    ("Deployment", "{}"),
    ("Certificate", "{}-server-tls"),
    ("Secret", "{}-server-tls"),
    ("Secret", "{}-trust"),
    ("Secret", "{}-client-tls"),
)


def children_of(plugins: Plugins, name: str) -> list[str]:
    wanted = [(kind, pattern.format(name)) for kind, pattern in CHILDREN]
    return [f"{kind} {child}" for kind, child in wanted if plugins.find(kind, child) is not None]


def test_only_a_protected_deletion_waits_for_clusters(operator: Operator, plugins: Plugins) -> None:
    plugins.apply(plugin(PROTECTED), plugin(FREE, deletionPolicy="Delete"))
    plugins.until_ready(PROTECTED, FREE)
    # It need not run: only the plugins that the Cluster names matter.
    used = (plugin_name(PROTECTED), plugin_name(FREE))
    plugins.apply(postgres(USER, *used, imageName="localhost/no-such-postgresql:17"))
    for name in (PROTECTED, FREE):
        plugins.delete("CNPGPlugin", name)

    plugins.until_gone("CNPGPlugin", FREE, within=15)
    found = plugins.until_condition(PROTECTED, "Accepted", "InUse", within=10)
    assert f"default/{USER}" in found["message"]
    assert plugins.labelled(PROTECTED)

    # The Cluster stops using it without being deleted: CloudNativePG allows an empty field.
    operator.api.patch(f"{collection('Cluster', 'default')}/{USER}", {"spec": {"plugins": []}})
    plugins.until_gone("CNPGPlugin", PROTECTED, within=15)
    wait.until(
        "its children are gone",
        lambda: not children_of(plugins, PROTECTED),
        within=15,
        explain=lambda: str(children_of(plugins, PROTECTED)),
    )


def test_the_service_is_deleted_before_the_plugin_stops_answering(
    operator: Operator, plugins: Plugins
) -> None:
    """CloudNativePG has to drop a plugin while it can still be called."""
    name = "orderly"
    plugins.apply(plugin(name))
    plugins.until_ready(name)
    with (
        Recorder(operator.api, collection("Service")) as services,
        Recorder(operator.api, collection("Deployment")) as deployments,
    ):
        plugins.remove(name)
        plugins.until_gone("Deployment", name, within=15)

        def gone(recorder: Recorder) -> float | None:
            ends = [change.at for change in recorder.of(name) if change.type == "DELETED"]
            return ends[0] if ends else None

        service = wait.until("the Service's end was seen", lambda: gone(services), within=5)
        deployment = wait.until("the Deployment's end", lambda: gone(deployments), within=5)
    assert service < deployment


def test_a_resource_that_comes_back_does_not_need_the_garbage_collector(
    cluster: Cluster, plugins: Plugins
) -> None:
    """It never looks at what it has missed while the API server was away (Kubernetes 1.34)."""
    name = "comes-back"
    plugins.apply(plugin(name, tls=OWN))
    plugins.until_ready(name)
    cluster.stop_component(GARBAGE_COLLECTOR)
    try:
        plugins.remove(name)
        plugins.apply(plugin(name, tls=OWN))
        uid = plugins.plugin(name)["metadata"]["uid"]

        def owners() -> list[str]:
            found = plugins.find("Deployment", name) or {"metadata": {}}
            return [owner["uid"] for owner in found["metadata"].get("ownerReferences", [])]

        wait.until(
            "the Deployment is that of the present resource",
            lambda: owners() == [uid],
            within=30,
            explain=lambda: plugins.explain(name),
        )
    finally:
        cluster.start_component(GARBAGE_COLLECTOR)
    plugins.until_ready(name)


def test_a_killed_operator_resumes_creation_and_deletion(
    operator: Operator, plugins: Plugins
) -> None:
    going, coming = "going", "coming"
    plugins.apply(plugin(going))
    plugins.until_ready(going)
    plugins.delete("CNPGPlugin", going)
    plugins.apply(plugin(coming))
    operator.kill()
    plugins.until_ready(coming, within=60)
    plugins.until_gone("CNPGPlugin", going, within=60)
    wait.until("its children are gone", lambda: not children_of(plugins, going), within=15)


def test_a_plugin_that_never_worked_is_deleted_at_once(plugins: Plugins) -> None:
    name = "never-worked"
    plugins.apply(plugin(name, image="localhost/no-such-image:1"))
    plugins.until_condition(name, "Available", "ImagePullError", within=30)
    plugins.remove(name, within=15)


def test_a_plugin_outside_the_managed_namespaces_can_be_deleted(plugins: Plugins) -> None:
    plugins.apply(plugin(MISPLACED, "default"))
    plugins.until_condition(MISPLACED, "Accepted", "CNPGNotFound", within=15, namespace="default")
    plugins.delete("CNPGPlugin", MISPLACED, "default")
    plugins.until_gone("CNPGPlugin", MISPLACED, within=15, namespace="default")


def test_deleting_and_applying_again_at_once_creates_a_new_plugin(
    plugins: Plugins,
) -> None:
    name = "again"
    plugins.apply(plugin(name))
    plugins.until_ready(name)
    before = plugins.plugin(name)["metadata"]["uid"]
    flags = ("--namespace", "cnpg-system", "--timeout=300s")
    plugins.kubectl("delete", "cnpgplugin", name, *flags)
    plugins.kubectl("apply", "-f", "-", input=json.dumps(plugin(name)))
    plugins.until_ready(name)
    assert plugins.plugin(name)["metadata"]["uid"] != before
