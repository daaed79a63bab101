"""Labels that would attract the calls of CloudNativePG's webhooks or of a database."""

from typing import Any

import pytest

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.conditions import Reason
from cnpg_plugin_operator.decide.acceptance.acceptance import decide_acceptance
from cnpg_plugin_operator.decide.facts.plugin import SelectingService
from tests.support.unit.builders import plugin
from tests.unit.decide.acceptance.test_acceptance import given

WEBHOOK = SelectingService("cnpg-webhook-service", {names.labels.NAME: "pg-operator"})
"""As Helm creates it with `nameOverride: pg-operator`."""
DATABASE = SelectingService("db-rw", {"cnpg.io/cluster": "db", "cnpg.io/instanceRole": "primary"})
ANY = SelectingService("web", {"app": "web", "tier": "front"})
EMPTY = SelectingService("by-hand", {})
SERVICES = (WEBHOOK, DATABASE, ANY, EMPTY)


def template(**metadata: Any) -> dict[str, Any]:
    return {"podTemplate": {"metadata": metadata}}


def said(name: str = "hello", *services: SelectingService, **spec: Any) -> str:
    """The message about a refused plugin; empty if it is accepted."""
    verdict = decide_acceptance(given(plugin(name, **spec), services=services or SERVICES))
    assert verdict.reason in (Reason.ACCEPTED, Reason.INVALID_SPEC)
    return "" if verdict.is_true else verdict.message


ATTRACTING = [
    pytest.param(
        {"podLabels": {"app": "web", "tier": "front"}}, "Service web selects pods by app=web",
        id="podLabels",
    ),
    pytest.param(
        template(labels={"app": "web", "tier": "front", "more": "x"}), "Service web",
        id="podTemplate",
    ),
    pytest.param(
        {"podLabels": {"app": "web"}, **template(labels={"tier": "front"})}, "Service web",
        id="both together",
    ),
    pytest.param(
        {"podLabels": {"app": "web", "tier": "back"}, **template(labels={"tier": "front"})},
        "Service web", id="one over the other",
    ),
    pytest.param(
        template(labels={names.labels.NAME: "pg-operator"}), "Service cnpg-webhook-service",
        id="the webhooks of a CloudNativePG under another name",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "words"), ATTRACTING)
def test_labels_that_a_service_selects_by_are_refused(spec: dict[str, Any], words: str) -> None:
    message = said(**spec)

    assert words in message
    assert "choose other labels" in message
    assert "cnpgplugin.dev/name=hello" in message


def test_a_resource_with_a_name_that_a_service_selects_is_refused() -> None:
    message = said("pg-operator")

    assert "Service cnpg-webhook-service" in message
    assert "choose another metadata.name" in message


KEYS = [
    "cnpg.io/cluster",
    "cnpg.io/pluginName",
    "cnpg.io/anything",
    "postgresql.cnpg.io/x",
]
WAYS = [
    pytest.param(lambda key: {"deploymentLabels": {key: "x"}}, "deploymentLabels", id="Deployment"),
    pytest.param(lambda key: {"podLabels": {key: "x"}}, "podLabels", id="podLabels"),
    pytest.param(lambda key: {"podAnnotations": {key: "x"}}, "podAnnotations", id="podAnnotations"),
    pytest.param(
        lambda key: template(labels={key: "x"}), "podTemplate.metadata.labels", id="template labels"
    ),
    pytest.param(
        lambda key: template(annotations={key: None}), "podTemplate.metadata.annotations",
        id="template annotations",
    ),
    pytest.param(
        lambda key: {"service": {"labels": {key: "x"}}}, "service.labels", id="Service's labels"
    ),
    pytest.param(
        lambda key: {"service": {"annotations": {key: "x"}}}, "service.annotations",
        id="Service's annotations",
    ),
]  # fmt: skip


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(("build", "path"), WAYS)
def test_keys_of_cloudnativepg_are_refused(key: str, build: Any, path: str) -> None:
    assert f"spec.{path}: {key} is reserved for CloudNativePG" in said(**build(key))


@pytest.mark.parametrize("key", ["app.kubernetes.io/managed-by", "cnpgplugin.dev/name"])
@pytest.mark.parametrize(("build", "path"), WAYS)
def test_keys_that_the_operator_sets_are_refused(key: str, build: Any, path: str) -> None:
    assert f"spec.{path}: the operator sets {key}; remove it" in said(**build(key))


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param({}, id="none"),
        pytest.param(
            {"deploymentLabels": {names.labels.NAME: "wal-g"}}, id="the Deployment's name"
        ),
        pytest.param({"podLabels": {names.labels.NAME: "wal-g"}}, id="the pods' name"),
        pytest.param({"podLabels": {"app": "web"}}, id="a part of a selector"),
        pytest.param({"podLabels": {"app": "web", "tier": "back"}}, id="another value"),
        pytest.param({"podLabels": {"notcnpg.io/x": "y", "cnpg.io": "y"}}, id="other domains"),
        pytest.param(template(labels={"app": None}), id="null"),
        pytest.param({"service": {"labels": {"app": "web", "tier": "front"}}}, id="the Service's"),
    ],
)
def test_other_labels_are_accepted(spec: dict[str, Any]) -> None:
    assert said(**spec) == ""


@pytest.mark.parametrize(
    "selector",
    [
        pytest.param({names.labels.PLUGIN: "hello"}, id="this plugin"),
        pytest.param({names.labels.PLUGIN: "hello", "role": "main"}, id="some pods of this plugin"),
        pytest.param({names.labels.MANAGED_BY: names.resource.OPERATOR}, id="all plugins"),
        pytest.param(
            {names.labels.MANAGED_BY: names.resource.OPERATOR, names.labels.NAME: "hello"},
            id="this plugin by its name",
        ),
    ],
)
def test_a_service_that_selects_only_this_plugin_is_accepted(selector: dict[str, str]) -> None:
    assert said("hello", SelectingService("metrics", selector), podLabels={"role": "main"}) == ""


@pytest.mark.parametrize(
    "selector",
    [
        pytest.param({names.labels.PLUGIN: "other"}, id="another plugin's own Service"),
        pytest.param(
            {names.labels.MANAGED_BY: names.resource.OPERATOR, names.labels.NAME: "other"},
            id="another plugin's metrics",
        ),
    ],
)
def test_one_plugin_cannot_receive_the_calls_of_another(selector: dict[str, str]) -> None:
    labels = {names.labels.PLUGIN: "other", names.labels.NAME: "other"}

    assert "Service theirs" in said(
        "hello", SelectingService("theirs", selector), **template(labels=labels)
    )


@pytest.mark.parametrize(
    "metadata",
    [
        ["x"],
        "x",
        {"labels": ["x"]},
        {"labels": "x"},
        {"labels": {"x": {"y": "z"}}, "annotations": 1},
    ],
    ids=str,
)
def test_malformed_metadata_is_refused(metadata: Any) -> None:
    assert "is invalid" in said(podTemplate={"metadata": metadata})
