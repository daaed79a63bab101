"""Refused or failed requests affect the condition that needs them, and nothing else.

And a condition repeats any text of others in a printable and short form.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest

from tests.support import wait
from tests.support.e2e.damage import absent_webhook
from tests.support.e2e.operator import Operator
from tests.support.e2e.plugins import Plugins, collection, conditions, is_ready
from tests.support.e2e.refusing import Write, refused
from tests.support.e2e.remains import marked
from tests.support.resources import NAMESPACE, behaviour, plugin

pytestmark = pytest.mark.cnpg("untouched")

READY, KEPT, LEAVING = "errors-ready", "errors-kept", "errors-leaving"
UNKNOWN_FIELD, WRONG_NAME, TOO_DEEP = "errors-field", "errors-name", "errors-deep"
NOISY_NAME, NOISY_VERSION = "errors-noisy-name", "errors-noisy-version"
HOOKED_NEW: Final = "errors-hooked"
HOOK: Final = "e2e-absent-webhook"
NOISE: Final = "\x1b[31m\u202eevil\u2028\r\n" + "x" * 30_000
ROLE: Final = "/apis/rbac.authorization.k8s.io/v1/namespaces/cnpg-system/roles/cnpg-plugin-operator"
REPORTED_WITHIN: Final = 90.0
LEVELS: Final = 2_000


@pytest.fixture(scope="module")
def world(module_plugins: Plugins) -> Plugins:
    """All plugins of this module, applied at once."""
    module_plugins.apply(
        plugin(READY),
        plugin(KEPT),
        plugin(LEAVING),
        plugin(UNKNOWN_FIELD, podTemplate={"spec": {"noSuchField": 1}}),
        plugin(WRONG_NAME, podTemplate={"spec": {"containers": [{"name": {"an": "object"}}]}}),
        plugin(NOISY_NAME, env=behaviour(NOISY_NAME, SAMPLE_NAME=NOISE)),
        plugin(NOISY_VERSION, env=behaviour(NOISY_VERSION, SAMPLE_VERSION=NOISE)),
    )
    module_plugins.until_ready(READY, KEPT, LEAVING, NOISY_VERSION, within=180)
    return module_plugins


def statuses(plugins: Plugins, name: str) -> dict[str, str]:
    """The messages of a resource's conditions."""
    return {kind: c["status"] for kind, c in conditions(plugins.plugin(name)).items()}


def test_a_refused_write_fails_only_its_own_condition(operator: Operator, world: Plugins) -> None:
    before = conditions(world.plugin(READY))
    with refused(operator, Write("apps", "deployments", READY)):
        world.patch(READY, podAnnotations={"example.com/changed": "yes"})
        found = world.until_condition(READY, "Available", "ClusterError", within=REPORTED_WITHIN)
        now = conditions(world.plugin(READY))
        assert "refused by a test" in found["message"]
        assert f"{NAMESPACE}/{READY}" in found["message"]
        assert now["Ready"]["message"] == found["message"]
        assert {kind: c["status"] for kind, c in now.items()} == {
            "Accepted": "True",
            "CertificatesReady": "True",
            "Available": "False",
            "HandshakeSucceeded": "True",
            "Registered": "True",
            "Ready": "False",
        }
        assert now["Registered"] == before["Registered"]
        assert world.plugin(READY)["status"]["plugin"]
        assert world.labelled(READY)
    world.until_ready(READY, within=REPORTED_WITHIN)


def test_a_deletion_names_the_missing_right_and_continues_once_it_is_granted(
    world: Plugins,
) -> None:
    with without_right(world, "services", "delete"):
        world.delete("CNPGPlugin", LEAVING)
        found = world.until_condition(LEAVING, "Accepted", "Deleting", within=REPORTED_WITHIN)
        assert found["status"] == "False"
        assert f"{NAMESPACE}/{LEAVING}" in found["message"]
        assert 'cannot delete resource "services"' in found["message"]
        assert statuses(world, LEAVING)["Ready"] == "False"
    world.until_gone("CNPGPlugin", LEAVING, within=REPORTED_WITHIN)
    assert world.find("Service", LEAVING) is None


@contextmanager
def without_right(plugins: Plugins, resource: str, verb: str) -> Iterator[None]:
    """The operator without one of its rights."""
    before = plugins.api.get(ROLE)["rules"]
    rules: list[dict[str, Any]] = []
    for rule in before:
        rest = [each for each in rule["resources"] if each != resource]
        if rest != rule["resources"]:
            rules.append(
                {**rule, "resources": [resource], "verbs": sorted({*rule["verbs"]} - {verb})}
            )
        rules += [{**rule, "resources": rest}] if rest else []
    plugins.api.patch(ROLE, {"rules": rules})
    try:
        wait.until(
            "the right is gone", lambda: not may(plugins, verb, resource), within=30, pause=0.5
        )
        yield
    finally:
        plugins.api.patch(ROLE, {"rules": before})


def may(plugins: Plugins, verb: str, resource: str) -> bool:
    """Whether the operator has a right."""
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": plugins.operator.account,
            "resourceAttributes": {
                "namespace": NAMESPACE,
                "verb": verb,
                "resource": resource,
            },
        },
    }
    answer = plugins.kubectl("create", "-o", "json", "-f", "-", input=json.dumps(review))
    return bool(json.loads(answer)["status"]["allowed"])


def test_an_unknown_field_is_named_on_a_new_resource(world: Plugins) -> None:
    found = world.until_condition(UNKNOWN_FIELD, "Available", "InvalidSpec", within=REPORTED_WITHIN)
    assert "noSuchField" in found["message"]
    assert statuses(world, UNKNOWN_FIELD)["Accepted"] == "True"


def test_a_name_that_is_an_object_is_an_invalid_spec(world: Plugins) -> None:
    found = world.until_condition(WRONG_NAME, "Accepted", "InvalidSpec", within=REPORTED_WITHIN)
    assert "podTemplate" in found["message"]


def test_a_spec_of_two_thousand_levels_is_an_invalid_spec(world: Plugins) -> None:
    """Python reads at most 1,000 levels by default."""
    deep = '{"a":' * LEVELS + "1" + "}" * LEVELS
    manifest = marked(plugin(TOO_DEEP, podTemplate={"spec": "DEEP"}))
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(6 * LEVELS)
    try:
        text = json.dumps(manifest).replace('"DEEP"', deep)
        world.kubectl("create", "-f", "-", input=text)
        found = world.until_condition(TOO_DEEP, "Accepted", "InvalidSpec", within=REPORTED_WITHIN)
        assert "levels" in found["message"]
        assert is_ready(world.plugin(KEPT))
    finally:
        world.remove(TOO_DEEP, within=REPORTED_WITHIN)
        sys.setrecursionlimit(before)


def test_an_unreachable_webhook_is_reported_on_new_and_on_ready_resources(
    world: Plugins,
) -> None:
    hook = json.dumps(marked(absent_webhook(HOOK, KEPT, HOOKED_NEW)))
    world.kubectl("apply", "-f", "-", input=hook)
    try:
        world.apply(plugin(HOOKED_NEW))
        world.patch(KEPT, podAnnotations={"example.com/changed": "yes"})
        for name in (KEPT, HOOKED_NEW):
            found = world.until_condition(name, "Available", "ClusterError", within=REPORTED_WITHIN)
            assert "failed calling webhook" in found["message"], name
            assert statuses(world, name)["Accepted"] == "True", name
        assert statuses(world, KEPT)["Registered"] == "True"
    finally:
        world.kubectl("delete", "validatingwebhookconfiguration", HOOK)
    world.until_ready(KEPT, HOOKED_NEW, within=120)


def test_text_from_a_plugin_is_printable_and_short(world: Plugins) -> None:
    world.until_condition(
        NOISY_NAME, "HandshakeSucceeded", "IdentityMismatch", within=REPORTED_WITHIN
    )
    events = [
        event["message"]
        for event in world.api.list(collection("Event"))
        if event["source"].get("component") == "cnpg-plugin-operator"
    ]
    reported = [text for name in (NOISY_NAME, NOISY_VERSION) for text in texts_of(world, name)]
    assert any("evil" in text for text in reported)
    for text in (*reported, *events):
        assert text.isprintable(), text
        assert len(text.encode()) <= 1024, text


def texts_of(plugins: Plugins, name: str) -> list[str]:
    status = plugins.plugin(name)["status"]
    said = [str(value) for value in status.get("plugin", {}).values()]
    return [*said, *(c["message"] for c in status["conditions"])]
