from dataclasses import replace
from typing import Any

import pytest

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.conditions import Reason, Status
from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.decide.acceptance.acceptance import (
    AcceptanceInput,
    Grants,
    decide_acceptance,
)
from cnpg_plugin_operator.decide.facts.plugin import ForeignObject
from cnpg_plugin_operator.desired.protection import Pods
from tests.support.unit.builders import cnpg, plugin


def given(subject: Plugin, **facts: Any) -> AcceptanceInput:
    usual = AcceptanceInput(
        plugin=subject,
        managed_namespaces=("cnpg-system",),
        cnpg=(cnpg(),),
        cnpg_elsewhere=(),
        foreign=(),
        rivals=(),
    )
    return replace(usual, **facts)


def test_the_shortest_resource_is_accepted() -> None:
    assert decide_acceptance(given(plugin())).status is Status.TRUE


@pytest.mark.parametrize(
    ("facts", "reason", "words"),
    [
        pytest.param(
            {"cnpg": (), "cnpg_elsewhere": ("databases",)}, Reason.CNPG_NOT_FOUND,
            "it runs in databases", id="CloudNativePG runs elsewhere",
        ),
        pytest.param(
            {"cnpg": ()}, Reason.CNPG_NOT_FOUND, "Install it there",
            id="CloudNativePG runs nowhere",
        ),
        pytest.param(
            {"cnpg": (), "managed_namespaces": ("other",)}, Reason.CNPG_NOT_FOUND,
            "cnpg.namespaces", id="the chart does not name the namespace",
        ),
        pytest.param(
            {"cnpg": (cnpg(), cnpg(deployment="second"))}, Reason.CNPG_AMBIGUOUS, "second",
            id="two CloudNativePGs run here",
        ),
        pytest.param(
            {"rivals": ("older",)}, Reason.NAME_CONFLICT, "CNPGPlugin older",
            id="an older resource provides the plugin",
        ),
        pytest.param(
            {"foreign": (ForeignObject("Service", "hello", "Helm"),)}, Reason.NAME_CONFLICT,
            "Service cnpg-system/hello belongs to Helm", id="a Service of that name exists",
        ),
    ],
)  # fmt: skip
def test_an_obstacle_in_the_namespace_is_reported(
    facts: dict[str, Any], reason: Reason, words: str
) -> None:
    verdict = decide_acceptance(given(plugin(), **facts))

    assert (verdict.status, verdict.reason) == (Status.FALSE, reason)
    assert words in verdict.message


def test_what_an_earlier_resource_of_the_name_left_is_awaited() -> None:
    left = ForeignObject("Deployment", "hello", "CNPGPlugin hello", remnant=True)
    verdict = decide_acceptance(given(plugin(), foreign=(left,)))
    assert (verdict.status, verdict.reason) == (Status.UNKNOWN, Reason.NAME_CONFLICT)
    assert verdict.message == (
        "Deployment cnpg-system/hello is left of a deleted CNPGPlugin hello: the operator deletes "
        "it, then continues."
    )

    other = ForeignObject("Service", "hello", "Helm")
    verdict = decide_acceptance(given(plugin(), foreign=(left, other)))
    assert "belongs to Helm" in verdict.message


@pytest.mark.parametrize(
    ("mode", "first_mode"),
    [("Standalone", ""), ("Sidecar", "set spec.mode to Standalone for now, and ")],
)
def test_a_take_over_is_recommended_where_another_service_has_the_plugin(
    mode: str, first_mode: str
) -> None:
    other = ForeignObject("Service", "old", "Helm", published=True)
    verdict = decide_acceptance(given(plugin(mode=mode), foreign=(other,)))
    assert verdict.reason is Reason.NAME_CONFLICT
    assert f"outage, {first_mode}set spec.takeOver.serviceName to old;" in verdict.message


def container(**fields: Any) -> dict[str, Any]:
    return {"podTemplate": {"spec": {"containers": [{"name": "plugin", **fields}]}}}


def pod(**fields: Any) -> dict[str, Any]:
    return {"podTemplate": {"spec": fields}}


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        pytest.param({"clusterRoles": ["cluster-admin"]}, "allowedClusterRoles", id="ClusterRole"),
        pytest.param({"roles": ["secrets-reader"]}, "allowedRoles", id="a Role"),
        pytest.param(
            {"serviceAccount": {"name": "cnpg-manager"}}, "allowedServiceAccounts", id="an account"
        ),
        pytest.param(pod(serviceAccountName="cnpg-manager"), "account", id="account by template"),
        pytest.param(pod(automountServiceAccountToken=True), "token", id="the default's token"),
        pytest.param(pod(hostNetwork=True), "hostNetwork", id="the node's network"),
        pytest.param(pod(hostPID=True), "hostPID", id="the node's processes"),
        pytest.param(
            {"volumes": [{"name": "x", "hostPath": {"path": "/"}}]}, "of the node", id="hostPath"
        ),
        pytest.param(
            {"volumes": [{"name": "x", "projected": {"sources": [
                {"secret": {"name": "cnpg-plugins-root"}}]}}]},
            "cnpg-plugins-root", id="the chain's root in a projected volume",
        ),
        pytest.param(
            {"envFrom": [{"secretRef": {"name": "cnpg-plugins"}}]}, "cnpg-plugins",
            id="the intermediate's key as variables",
        ),
        pytest.param(
            {"volumes": [{"name": "x", "secret": {"secretName": "other-client-tls"}}]},
            "other-client-tls", id="the pair CloudNativePG presents to another plugin",
        ),
        pytest.param(
            pod(volumes=[{"name": names.children.VOLUME_CLIENT, "secret": {
                "secretName": "hello-client-tls", "items": [{"key": "tls.key", "path": "k"}]}}]),
            "hello-client-tls", id="CloudNativePG's key in the operator's own volume",
        ),
        pytest.param({"securityContext": {"privileged": True}}, "privileged", id="privileged"),
        pytest.param(
            {"securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}}, "SYS_ADMIN",
            id="a capability beyond baseline",
        ),
        pytest.param(
            container(ports=[{"containerPort": 9090, "hostPort": 9090}]), "port of the node",
            id="a port of the node",
        ),
        pytest.param(
            pod(initContainers=[{"name": "i", "securityContext": {"privileged": True}}]),
            "privileged", id="a privileged init container",
        ),
        pytest.param({"podTemplate": {"spec": []}}, "is invalid", id="a malformed template"),
        pytest.param(pod(containers="none"), "is invalid", id="malformed containers"),
    ],
)  # fmt: skip
def test_no_resource_gives_its_author_more_rights(spec: dict[str, Any], words: str) -> None:
    verdict = decide_acceptance(given(plugin(**spec)))

    assert (verdict.status, verdict.reason) == (Status.FALSE, Reason.INVALID_SPEC)
    assert words in verdict.message


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param({"clusterRoles": ["viewer"]}, id="a ClusterRole"),
        pytest.param({"roles": ["reader"]}, id="a Role"),
        pytest.param({"serviceAccount": {"name": "plugins"}}, id="an account"),
        pytest.param(
            {"securityContext": {"capabilities": {"add": ["NET_BIND_SERVICE"]}}},
            id="a capability of the baseline",
        ),
        pytest.param(
            {"volumes": [{"name": "x", "secret": {"secretName": "own"}}]}, id="a Secret of its own"
        ),
    ],
)
def test_a_plugin_gets_what_the_chart_grants(spec: dict[str, Any]) -> None:
    grants = Grants(
        cluster_roles=frozenset({"viewer"}),
        roles=frozenset({"reader"}),
        service_accounts=frozenset({"plugins"}),
    )

    assert decide_acceptance(given(plugin(**spec), grants=grants)).status is Status.TRUE


OPERATOR = Pods("operators", {"app": "operator"})


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        pytest.param({"operator_pods": OPERATOR}, "", id="all are known"),
        pytest.param({}, "CNPGP_OPERATOR_PODS", id="its own pods are not"),
        pytest.param(
            {
                "operator_pods": OPERATOR,
                "cnpg": (cnpg(template={"spec": {"hostNetwork": True}}),),
            },
            "network of its node",
            id="CloudNativePG has no address of its own",
        ),
    ],
)
def test_a_policy_that_would_refuse_its_clients_is_refused(
    facts: dict[str, Any], words: str
) -> None:
    verdict = decide_acceptance(given(plugin(networkPolicy={"enabled": True}), **facts))

    assert verdict.is_true is not bool(words)
    assert words in verdict.message
    assert decide_acceptance(given(plugin(), **facts)).is_true


@pytest.mark.parametrize(
    ("path", "refused"),
    [
        ("/server", True), ("/server/", True), ("//server", True), ("/server/more", True),
        ("/tmp/../client", True), ("/client/.", True), ("/", False), ("/server-data", False),
        ("/data", False),
    ],
)  # fmt: skip
@pytest.mark.parametrize("by", ["field", "template"])
def test_no_mount_may_hide_the_certificates(path: str, *, refused: bool, by: str) -> None:
    mounts = {"volumeMounts": [{"name": "data", "mountPath": path}]}
    verdict = decide_acceptance(given(plugin(**(mounts if by == "field" else container(**mounts)))))

    assert verdict.is_true is not refused
    assert ("spec.tls.files" in verdict.message) is refused


def test_the_name_by_which_cloudnativepg_selects_its_pods_is_refused() -> None:
    assert decide_acceptance(given(plugin("cloudnative-pg"))).reason is Reason.INVALID_SPEC
