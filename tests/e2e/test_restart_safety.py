"""A restart of CloudNativePG never makes a rollout, a failover or a revert by others worse.

`restartPolicy: Always` requests restarts that CloudNativePG 1.30.0 would not need.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support import wait
from tests.support.e2e.api import CNPG as CNPG_API
from tests.support.e2e.api import Api, Object
from tests.support.e2e.installation import CHART, OPERATOR_NAMESPACE, RELEASE
from tests.support.e2e.plugins import Plugins, collection
from tests.support.resources import plugin, postgres

pytestmark = pytest.mark.cnpg("rolled")

CNPG = "cnpg-controller-manager"
PATH = f"{collection('Deployment')}/{CNPG}"
WHERE = ("--namespace", "cnpg-system")
RESTARTED_AT = "cnpgplugin.dev/restarted-at"
RESTARTED_FOR = "cnpgplugin.dev/restarted-for"
LEASE = "/apis/coordination.k8s.io/v1/namespaces/cnpg-system/leases/db9c8771.cnpg.io"
MINUTE = 60.0


def deployment(plugins: Plugins) -> Object:
    return plugins.get("Deployment", CNPG)


def rolls(plugins: Plugins) -> int:
    generation: int = deployment(plugins)["metadata"]["generation"]
    return generation


def leader(api: Api) -> str:
    holder: str = api.get(LEASE)["spec"].get("holderIdentity") or ""
    return holder.partition("_")[0]


@pytest.fixture(autouse=True)
def idle_cnpg(plugins: Plugins) -> Iterator[None]:
    """CloudNativePG without a rollout before and after each test."""
    status = ("rollout", "status", f"deployment/{CNPG}", *WHERE, "--timeout=300s")
    plugins.kubectl(*status)
    yield
    plugins.kubectl(*status)
    wait.until("there is a leader", lambda: leader(plugins.api), within=30)


def test_a_cluster_that_switches_over_is_not_disturbed(plugins: Plugins) -> None:
    name, user = "patient", "e2e-switching"
    database = postgres(user, imageName="localhost/none:17")
    # CloudNativePG's own switch to ignore a Cluster: its status stays as written here.
    database["metadata"]["annotations"] = {"cnpg.io/reconciliationLoop": "disabled"}
    plugins.apply(database)
    status = {"phase": "Switchover in progress", "currentPrimary": "a-1", "targetPrimary": "a-2"}
    path = f"{CNPG_API}/namespaces/default/clusters/{user}"
    plugins.api.patch(f"{path}/status", {"status": status})
    before = rolls(plugins)
    plugins.apply(plugin(name, cnpg={"restartPolicy": "Always"}))

    def waits() -> bool:
        condition = plugins.condition(name, "Registered")
        return f"Cluster default/{user} (Switchover in progress)" in condition.get("message", "")

    wait.until("it waits", waits, within=MINUTE, explain=lambda: plugins.explain(name))
    plugins.never("CloudNativePG was changed", lambda: rolls(plugins) != before, of=name)
    over = {"phase": "Cluster in healthy state", "currentPrimary": "a-2", "targetPrimary": "a-2"}
    plugins.api.patch(f"{path}/status", {"status": over})
    plugins.until_ready(name, within=2 * MINUTE)
    assert rolls(plugins) == before + 1


@contextmanager
def reverting(api: Api, name: str) -> Iterator[list[str]]:
    """A party that reverts the annotations at once, as a GitOps controller may, for a plugin.

    To their previous values: any other pod template would cause a rollout, and so a restart.
    """
    taken: list[str] = []
    stop = threading.Event()
    template_before = api.get(PATH)["spec"]["template"].get("metadata") or {}
    before = template_before.get("annotations") or {}

    def watch() -> None:
        previous = {key: before.get(key) for key in (RESTARTED_AT, RESTARTED_FOR)}
        template = {"metadata": {"annotations": previous}}
        while not stop.wait(0.02):
            found = api.get(PATH)
            metadata = found["spec"]["template"].get("metadata") or {}
            annotations = metadata.get("annotations") or {}
            if name in annotations.get(RESTARTED_FOR, ""):
                api.patch(PATH, {"spec": {"template": template}})
                taken.append(annotations[RESTARTED_AT])

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield taken
    finally:
        stop.set()
        thread.join(timeout=10)


def test_a_reverted_restart_is_given_up_after_two_attempts(plugins: Plugins) -> None:
    name = "reverted"
    with reverting(plugins.api, name) as taken:
        plugins.apply(plugin(name, cnpg={"restartPolicy": "Always"}))
        found = plugins.until_condition(name, "Registered", "RestartReverted", within=3 * MINUTE)
        assert "2 times" in found["message"]
        plugins.never("it was tried again", lambda: taken[2:], of=name)
    assert len(taken) == 2
    assert plugins.plugin(name)["status"]["cnpg"]["lastRestart"]["attempts"] == 2

    # The advice of the message works.
    plugins.kubectl("delete", "pod", leader(plugins.api), *WHERE)
    plugins.until_ready(name, within=2 * MINUTE)
    assert len(taken) == 2


def test_a_stuck_rollout_is_reported_and_left_alone(plugins: Plugins) -> None:
    name = "waiting-for-others"
    image = deployment(plugins)["spec"]["template"]["spec"]["containers"][0]["image"]
    set_image = ("set", "image", f"deployment/{CNPG}", *WHERE)
    plugins.kubectl(*set_image, "manager=localhost/no-such-cnpg:1.30.0")
    try:
        plugins.apply(plugin(name, cnpg={"restartPolicy": "Always"}))
        found = plugins.until_condition(name, "Registered", "RestartStuck", within=MINUTE)
        assert "localhost/no-such-cnpg:1.30.0" in found["message"]
        before = rolls(plugins)
        plugins.never("something was added to it", lambda: rolls(plugins) != before, of=name)
    finally:
        plugins.kubectl(*set_image, f"manager={image}")
    plugins.until_ready(name, within=2 * MINUTE)


def set_olm(plugins: Plugins, value: str) -> None:
    """Change one value of the release; the operator's pod stays."""
    release = (RELEASE, str(CHART), "--namespace", OPERATOR_NAMESPACE)
    plugins.operator.cluster.helm(
        "upgrade", *release, "--reuse-values", "--set", f"cnpg.olm={value}"
    )


def test_under_olm_the_pods_are_deleted_once_the_operator_has_the_right(plugins: Plugins) -> None:
    name = "under-olm"
    plugins.kubectl("label", "deployment", CNPG, *WHERE, "olm.owner=cloudnative-pg.v1.30.0")
    try:
        before, led = rolls(plugins), leader(plugins.api)
        plugins.apply(plugin(name, cnpg={"restartPolicy": "Always"}))
        refused = plugins.until_condition(name, "Registered", "RestartForbidden", within=MINUTE)
        assert 'cannot delete resource "pods"' in refused["message"]
        assert "Set cnpg.olm: true in the values of this operator's chart" in refused["message"]
        assert f"kubectl delete pod {led} -n cnpg-system" in refused["message"]
        assert leader(plugins.api) == led

        set_olm(plugins, "true")
        plugins.until_ready(name, within=2 * MINUTE)
        assert rolls(plugins) == before, "OLM would take it back"
        assert leader(plugins.api) not in ("", led)
        # The new leader may lead, and use the plugin, while the previous pod still ends.
        plugins.until_gone("Pod", led, within=MINUTE)
        message = plugins.condition(name, "Accepted")["message"]
        assert "managed by OLM's cloudnative-pg.v1.30.0" in message
    finally:
        set_olm(plugins, "false")
        plugins.kubectl("label", "deployment", CNPG, *WHERE, "olm.owner-")
