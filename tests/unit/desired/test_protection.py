"""What the spec adds to a plugin's objects: further ports, labels, a budget, a NetworkPolicy."""

from typing import Any

import pytest

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.plugin import parse_plugin
from cnpg_plugin_operator.desired.drift import first_difference
from cnpg_plugin_operator.desired.objects import child_labels
from cnpg_plugin_operator.desired.protection import Pods, build_protection
from cnpg_plugin_operator.desired.service import build_service
from cnpg_plugin_operator.desired.workload import build_deployment
from tests.support.unit.builders import plugin, resource

OPERATOR = Pods("operators", {"app": "operator"})
CNPG = {"matchLabels": {"app": "cnpg"}}
OWN_PODS = {"matchLabels": {"cnpgplugin.dev/name": "hello"}}
POLICY: dict[str, Any] = {"networkPolicy": {"enabled": True}}
PORTS = [
    {"name": "metrics", "port": 8080},
    {"name": "sql", "port": 9091, "servicePort": 5432},
    {"name": "dns", "port": 53, "protocol": "UDP", "servicePort": 53},
]


def protection(**spec: Any) -> dict[str, dict[str, Any]]:
    built = build_protection(plugin("hello", **spec), CNPG, OPERATOR)
    return {body["kind"]: body for body in built}


def test_nothing_protects_a_plugin_by_default() -> None:
    assert protection() == {}


@pytest.mark.parametrize(
    "budget",
    [{"minAvailable": 1}, {"maxUnavailable": "50%", "unhealthyPodEvictionPolicy": "AlwaysAllow"}],
)
def test_a_budget_is_passed_on_for_the_plugin_s_pods(budget: dict[str, Any]) -> None:
    built = protection(podDisruptionBudget=budget)["PodDisruptionBudget"]

    assert built["metadata"]["name"] == "hello"
    assert built["spec"] == {
        **budget,
        "selector": {"matchLabels": {"cnpgplugin.dev/name": "hello"}},
    }


def test_a_policy_admits_only_cloudnativepg_and_the_operator() -> None:
    built = protection(**POLICY, port=50051)["NetworkPolicy"]

    assert built["spec"] == {
        "podSelector": OWN_PODS,
        "policyTypes": ["Ingress"],
        "ingress": [
            {
                "from": [
                    {"podSelector": {"matchLabels": {"app": "cnpg"}}},
                    {
                        "namespaceSelector": {
                            "matchLabels": {"kubernetes.io/metadata.name": "operators"}
                        },
                        "podSelector": {"matchLabels": {"app": "operator"}},
                    },
                ],
                "ports": [{"protocol": "TCP", "port": 50051}],
            }
        ],
    }


def test_a_policy_leaves_further_ports_open() -> None:
    own, others = protection(**POLICY, extraPorts=PORTS)["NetworkPolicy"]["spec"]["ingress"]

    assert own["ports"] == [{"protocol": "TCP", "port": 9090}]
    assert others == {
        "ports": [
            {"protocol": "TCP", "port": 8080},
            {"protocol": "TCP", "port": 9091},
            {"protocol": "UDP", "port": 53},
        ]
    }


def test_a_policy_that_admits_more_has_changed() -> None:
    wanted = protection(**POLICY)["NetworkPolicy"]
    live = protection(**POLICY)["NetworkPolicy"]
    assert first_difference(wanted, live) is None
    live["spec"]["ingress"][0]["ports"].append({"protocol": "TCP", "port": 22})
    assert first_difference(wanted, live) == ".spec.ingress[0].ports"


def test_no_policy_refuses_the_operator() -> None:
    assert build_protection(plugin(**POLICY), CNPG, None) == []


def test_further_ports_are_in_the_pod_and_where_it_is_wanted_in_the_service() -> None:
    subject = plugin(extraPorts=PORTS)
    [container] = build_deployment(subject)["spec"]["template"]["spec"]["containers"]
    service = build_service(subject, None)["spec"]

    assert container["ports"] == [
        {"name": "grpc", "containerPort": 9090, "protocol": "TCP"},
        {"name": "metrics", "containerPort": 8080, "protocol": "TCP"},
        {"name": "sql", "containerPort": 9091, "protocol": "TCP"},
        {"name": "dns", "containerPort": 53, "protocol": "UDP"},
    ]
    assert service["ports"] == [
        {"name": "grpc", "port": 9090, "targetPort": 9090, "protocol": "TCP"},
        {"name": "sql", "port": 5432, "targetPort": 9091, "protocol": "TCP"},
        {"name": "dns", "port": 53, "targetPort": 53, "protocol": "UDP"},
    ]


def test_a_rollout_has_the_pace_that_the_spec_wants() -> None:
    usual = build_deployment(plugin())["spec"]
    paced = build_deployment(plugin(minReadySeconds=5, progressDeadlineSeconds=60))["spec"]

    assert not {"minReadySeconds", "progressDeadlineSeconds"} & usual.keys()
    assert (paced["minReadySeconds"], paced["progressDeadlineSeconds"]) == (5, 60)


def test_users_choose_labels_but_not_those_that_the_operator_selects_by() -> None:
    chosen = {names.labels.NAME: "wal-g", "team": "a", names.labels.PLUGIN: "other"}
    built = build_deployment(plugin(deploymentLabels=chosen, podLabels={names.labels.NAME: "pods"}))

    assert built["metadata"]["labels"] == {
        "app.kubernetes.io/name": "wal-g",
        "app.kubernetes.io/managed-by": "cnpg-plugin-operator",
        "cnpgplugin.dev/name": "hello",
        "team": "a",
    }
    assert built["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/name"] == "pods"


def test_the_operators_default_labels_are_on_every_object_and_a_users_win() -> None:
    asked = resource(podLabels={"team": "b"})
    defaults = {"team": "a", names.labels.NAME: "all", names.labels.PLUGIN: "other"}
    built = build_deployment(parse_plugin(asked, labels=defaults))
    own = {**child_labels(plugin()), "team": "a"}

    assert built["metadata"]["labels"] == own
    assert built["spec"]["template"]["metadata"]["labels"] == {**own, "team": "b"}
