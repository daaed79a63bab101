"""Plugins in CloudNativePG's own pod, on a real one: they are placed together and leave no trace.

CloudNativePG is rolled for them, so every test counts how often.
"""

import pytest

from tests.cluster.errors import ClusterError
from tests.support import wait
from tests.support.e2e.api import CORE, ApiError, Object, Recorder
from tests.support.e2e.operator import Operator
from tests.support.e2e.plugins import Plugins, collection
from tests.support.e2e.rolls import CNPG
from tests.support.e2e.sidecars import (
    GATE,
    MINUTE,
    TOKEN,
    WHERE,
    Heartbeat,
    Host,
    pods,
    scaled_to_nothing,
    sidecar,
    template,
    until_ready,
    until_rolled,
    until_template,
)
from tests.support.resources import IMAGE_VERSION, plugin, plugin_name, postgres

pytestmark = [pytest.mark.cnpg("sidecars"), pytest.mark.usefixtures("leaving_cnpg_as_found")]
NOWHERE = "localhost/none:17"
"""Image of a Cluster whose pods need not start."""

NOT_RECONCILED = 15.0
"""Seconds for which a new leader, which knows no Service at its start, may stop a Cluster.
CloudNativePG asks again after ten."""


@pytest.fixture
def original(plugins: Plugins) -> Object:
    """The pod template without any sidecar."""
    found = template(plugins.api)
    assert "initContainers" not in found["spec"]
    return found


def test_a_sidecar_is_ready_after_one_roll_and_leaves_no_trace(
    plugins: Plugins, host: Host, original: Object
) -> None:
    name, cluster = "lone", "e2e-lone"
    plugins.apply(sidecar(name), postgres(cluster, plugin_name(name), imageName=NOWHERE))
    until_ready(plugins, name)
    plugins.until_reported(name, cluster, IMAGE_VERSION, within=MINUTE)
    assert host.rolls == 1
    assert plugins.find("Deployment", name) is None
    assert plugins.find("Service", name) is None

    plugins.delete("CNPGPlugin", name)
    message = plugins.until_condition(name, "Accepted", "InUse", within=10)["message"]
    assert f"default/{cluster}" in message
    until_rolled(plugins)
    assert host.rolls == 1, "a plugin that is used stays"
    plugins.delete("Cluster", cluster, "default")
    plugins.until_gone("CNPGPlugin", name, within=MINUTE)
    until_template(plugins, original, within=1)
    until_rolled(plugins)
    assert host.rolls == 2, "one to come, one to go"


def test_three_sidecars_cost_one_roll_and_a_cluster_uses_all_of_them(
    operator: Operator, plugins: Plugins, host: Host, original: Object
) -> None:
    names, cluster = ["trio-a", "trio-b", "trio-c"], "e2e-trio"
    users = map(plugin_name, names)
    plugins.apply(*map(sidecar, names), postgres(cluster, *users, imageName=NOWHERE))
    until_ready(plugins, *names)
    for name in names:
        plugins.until_reported(name, cluster, IMAGE_VERSION, within=MINUTE)
    operator.writes_until_calm(operator.audit.mark())
    until_ready(plugins, *names, within=1)
    assert host.rolls == 1
    (pod,) = pods(plugins.api)
    _check_rights(plugins, pod, [f"cnpg-plugin-{name}" for name in names])

    # Without a pod of CloudNativePG, they are removed at once.
    plugins.delete("Cluster", cluster, "default")
    plugins.until_gone("Cluster", cluster, within=MINUTE, namespace="default")
    with scaled_to_nothing(plugins):
        plugins.remove(*names, within=15)
        until_template(plugins, original, within=1)
    assert host.rolls == 1, "nothing rolled"


def _check_rights(plugins: Plugins, pod: Object, containers: list[str]) -> None:
    """None of them gets CloudNativePG's token, and the pod satisfies the restricted level."""
    added = {c["name"]: c for c in pod["spec"]["initContainers"]}
    assert list(added) == [*containers, GATE]
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    for container in added.values():
        (mount,) = (m for m in container["volumeMounts"] if m["mountPath"] == TOKEN)
        assert volumes[mount["name"]] == {"name": mount["name"], "emptyDir": {}}

    where = "e2e-restricted"
    label = {"pod-security.kubernetes.io/enforce": "restricted"}
    metadata = {"name": where, "labels": label}
    plugins.api.create(
        f"{CORE}/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
    )
    try:
        wait.until(
            "the namespace has its account",
            lambda: plugins.find("ServiceAccount", "default", where),
            within=10,
        )
        path = f"{CORE}/namespaces/{where}/pods?dryRun=All"
        spec = {**template(plugins.api)["spec"], "serviceAccountName": "default"}
        del spec["serviceAccount"]
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "like-cnpg"}, "spec": spec}
        plugins.api.create(path, body)
        with pytest.raises(ApiError, match="violates PodSecurity"):
            plugins.api.create(path, {**body, "spec": {**spec, "hostNetwork": True}})
    finally:
        plugins.api.delete(f"{CORE}/namespaces/{where}")


def test_a_plugin_in_use_changes_its_mode_and_back(
    plugins: Plugins, host: Host, original: Object
) -> None:
    name, cluster = "mover", "e2e-mover"
    plugins.apply(plugin(name), postgres(cluster, plugin_name(name), imageName=NOWHERE))
    until_ready(plugins, name)
    plugins.until_reported(name, cluster, IMAGE_VERSION, within=MINUTE)
    clusters = Recorder(plugins.api, collection("Cluster", "default"))
    with clusters, Heartbeat(plugins.api, cluster) as heart:
        wait.until("the Cluster is reconciled", heart.beating, within=MINUTE)
        plugins.patch(name, mode="Sidecar")
        until_ready(plugins, name)
        plugins.until_reported(name, cluster, IMAGE_VERSION, within=1)
        for kind in ("Deployment", "Service", "Certificate"):
            left = [each["metadata"]["name"] for each in plugins.api.list(collection(kind))]
            assert [other for other in left if other.startswith(name)] == []
        there = host.rolls

        plugins.patch(name, mode="Standalone")
        until_ready(plugins, name)
        until_template(plugins, original)
        until_rolled(plugins)
        until_ready(plugins, name)
        wait.until("the Cluster is reconciled", heart.beating, within=MINUTE)
        lost = [c for c in clusters.of(cluster) if plugin_name(name) not in _reported(c.object)]
        pause = heart.longest_pause()
    numbers = f"{there} and {host.rolls - there} rolls, not reconciled for {pause:.1f} s at most"
    assert there == 1, numbers
    assert host.rolls == there + 1, numbers
    assert pause < NOT_RECONCILED * wait.PATIENCE, numbers
    assert lost == [], "the Cluster reports the plugin all the time"


def _reported(cluster: Object) -> list[str]:
    return [each["name"] for each in (cluster.get("status") or {}).get("pluginStatus") or []]


SENSELESS = {
    "podTemplate": {"spec": {"hostAliases": []}},
    "replicas": 2,
    "roles": ["some-role"],
    "probes": {"startup": {"tcpSocket": {"port": 9090}}},
}


@pytest.mark.parametrize("field", SENSELESS)
def test_the_api_server_refuses_fields_without_effect_in_a_sidecar(
    plugins: Plugins, field: str
) -> None:
    with pytest.raises(ClusterError) as refused:
        plugins.apply(sidecar("senseless", **{field: SENSELESS[field]}))
    assert "in mode Sidecar" in str(refused.value)
    assert field in str(refused.value)


def test_a_sidecar_that_would_harm_cloudnativepg_is_refused_without_a_roll(
    plugins: Plugins, host: Host
) -> None:
    plugins.apply(sidecar("elect", args=["plugin", "--leader-elect"]))
    plugins.apply(sidecar("taken-port", args=["plugin", "--metrics-bind-address=:8080"]))
    plugins.apply(plugin("former"))
    plugins.until_condition("former", "Accepted", "Accepted", within=10)
    plugins.apply(sidecar("latter", pluginName=plugin_name("former")))
    expected = {
        "elect": ("InvalidSpec", "--leader-elect"),
        "taken-port": ("InvalidSpec", "port 8080"),
        "latter": ("NameConflict", "CNPGPlugin former"),
    }
    for name, (reason, words) in expected.items():
        found = plugins.until_condition(name, "Accepted", reason, within=15)
        assert words in found["message"]
    assert host.rolls == 0


def test_sidecars_are_refused_under_olm(plugins: Plugins, host: Host) -> None:
    plugins.kubectl("label", "deployment", CNPG, *WHERE, "olm.owner=cloudnative-pg.v1.30.0")
    try:
        plugins.apply(sidecar("under-olm"))
        found = plugins.until_condition("under-olm", "Accepted", "UnsupportedByOLM", within=15)
        assert "mode: Standalone" in found["message"]
        plugins.remove("under-olm", within=15)
    finally:
        plugins.kubectl("label", "deployment", CNPG, *WHERE, "olm.owner-")
    assert host.rolls == 0
