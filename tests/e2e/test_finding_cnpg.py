"""CloudNativePG is found however it was installed, and what hides plugins from it is reported.

CloudNativePG itself is changed, and restored.
"""

import json
from collections.abc import Iterator

import pytest

from tests.support import wait
from tests.support.e2e.api import Object
from tests.support.e2e.operator import Operator
from tests.support.e2e.plugins import Plugins, collection
from tests.support.resources import plugin

pytestmark = pytest.mark.cnpg("rolled")

NAME = "finder"
CNPG = "cnpg-controller-manager"
LABEL = "app.kubernetes.io/name"
WHERE = ("--namespace", "cnpg-system")
SECOND = "second-cloudnative-pg"


@pytest.fixture(scope="module")
def found(module_plugins: Plugins) -> Plugins:
    """A Ready plugin, beside the CloudNativePG of the published manifest."""
    module_plugins.apply(plugin(NAME))
    module_plugins.until_ready(NAME)
    return module_plugins


@pytest.fixture
def restored(found: Plugins) -> Iterator[Plugins]:
    """The same; CloudNativePG is restored afterwards."""
    before = found.get("Deployment", CNPG)
    yield found
    env = before["spec"]["template"]["spec"]["containers"][0]["env"]
    containers = [{"name": "manager", "env": [{"$patch": "replace"}, *env]}]
    patch = {
        "metadata": {"labels": before["metadata"]["labels"]},
        "spec": {"paused": None, "template": {"spec": {"containers": containers}}},
    }
    found.kubectl("patch", "deployment", CNPG, *WHERE, "--patch", json.dumps(patch))
    found.kubectl("rollout", "status", f"deployment/{CNPG}", *WHERE, "--timeout=300s")
    found.until_ready(NAME, within=60)


def accepted(plugins: Plugins) -> tuple[str, str]:
    condition = plugins.condition(NAME, "Accepted")
    return condition.get("reason", ""), condition.get("message", "")


def stand_in(original: Object, name: str) -> Object:
    """A Deployment like CloudNativePG's that runs nothing."""
    labels = {LABEL: "cloudnative-pg"}
    selected = {"app": name}
    env = [{"name": "OPERATOR_IMAGE_NAME", "value": "localhost/cnpg"}]
    container = {"name": "manager", "image": "localhost/cnpg:9.9.9", "env": env}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": name,
            "namespace": original["metadata"]["namespace"],
            "labels": labels,
        },
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": selected},
            "template": {"metadata": {"labels": selected}, "spec": {"containers": [container]}},
        },
    }


def test_cloudnativepg_without_its_label_is_found_by_its_lease(
    operator: Operator, restored: Plugins
) -> None:
    """Helm's `nameOverride` changes the label and nothing else that counts."""
    mark = operator.audit.mark()
    restored.kubectl("label", "deployment", CNPG, *WHERE, "--overwrite", f"{LABEL}=pg-operator")
    restored.patch(NAME, podAnnotations={"example.com/look": "again"})
    restored.until_ready(NAME)

    assert accepted(restored)[0] == "Accepted"
    assert restored.plugin(NAME)["status"]["cnpg"]["deploymentName"] == CNPG
    assert [r for r in operator.audit.writes(mark) if r.name == CNPG] == []


def test_a_change_of_cloudnativepg_without_its_label_is_detected(restored: Plugins) -> None:
    restored.kubectl("label", "deployment", CNPG, *WHERE, "--overwrite", f"{LABEL}=pg-operator")
    restored.kubectl("set", "env", f"deployment/{CNPG}", *WHERE, "WATCH_NAMESPACE=default")
    restored.until_condition(NAME, "Accepted", "CNPGNotWatching", within=5)


def test_two_cloudnativepgs_in_one_namespace_need_a_reference(restored: Plugins) -> None:
    restored.apply(stand_in(restored.get("Deployment", CNPG), SECOND))
    message = restored.until_condition(NAME, "Accepted", "CNPGAmbiguous", within=10)["message"]
    assert f"{CNPG}, {SECOND}" in message
    assert "spec.cnpg.deploymentName" in message

    restored.patch(NAME, cnpg={"deploymentName": CNPG})
    restored.until_ready(NAME)
    restored.patch(NAME, cnpg={"deploymentName": SECOND})
    restored.until_condition(NAME, "Registered", "CNPGUnavailable", within=10)
    restored.patch(NAME, cnpg={"deploymentName": "nobody"})
    found = restored.until_condition(NAME, "Accepted", "CNPGNotFound", within=10)
    assert "Deployment cnpg-system/nobody" in found["message"]
    assert restored.labelled(NAME), "a working plugin stays published"

    restored.patch(NAME, cnpg=None)
    restored.kubectl("delete", "deployment", SECOND, *WHERE)
    restored.until_ready(NAME)


def test_a_cloudnativepg_that_does_not_watch_its_namespace_is_reported(
    restored: Plugins,
) -> None:
    """It would register nothing, restarted or not, as the log of CloudNativePG 1.30.0 shows."""
    restored.kubectl("set", "env", f"deployment/{CNPG}", *WHERE, "WATCH_NAMESPACE=default")
    found = restored.until_condition(NAME, "Accepted", "CNPGNotWatching", within=5)
    assert "add cnpg-system to WATCH_NAMESPACE" in found["message"]
    restored.kubectl("rollout", "status", f"deployment/{CNPG}", *WHERE, "--timeout=300s")

    def log() -> str:
        return restored.kubectl("logs", f"deployment/{CNPG}", *WHERE)

    leads = "Successfully acquired lease"
    wait.until("it leads", lambda: leads in log(), within=60, explain=log, pause=1)
    # One that watches its namespace registers a plugin within a second.
    wait.never("it registers it", lambda: "Registered plugin" in log(), seconds=5, pause=1)


def test_an_unknown_version_of_cloudnativepg_is_reported(restored: Plugins) -> None:
    """A stand-in without a version; only the plugin's acceptance is checked."""
    body = stand_in(restored.get("Deployment", CNPG), SECOND)
    body["spec"]["template"]["spec"]["containers"][0]["image"] = "localhost/cnpg:main"
    restored.apply(body)
    restored.patch(NAME, cnpg={"deploymentName": SECOND})
    wait.until(
        "the version is unknown",
        lambda: restored.plugin(NAME)["status"]["cnpg"]["version"] == "unknown",
        within=10,
        explain=lambda: restored.explain(NAME),
    )
    assert "CloudNativePG of unknown version" in accepted(restored)[1]
    restored.patch(NAME, cnpg=None)
    restored.kubectl("delete", "deployment", SECOND, *WHERE)
    assert restored.find("Deployment", SECOND) is None
    assert restored.api.list(collection("CNPGPlugin")) != []
