"""Values that charts usually have: where each one ends up, and that nothing is there by default."""

from typing import Any

import pytest

from tests.support.chart.rendering import (
    NAMESPACE,
    Manifest,
    container,
    environment,
    of_kind,
    one,
    render,
)

ELSEWHERE = "elsewhere"
POD: dict[str, Any] = {
    "runtimeClassName": "gvisor",
    "hostAliases": [{"ip": "192.0.2.1", "hostnames": ["api.example.com"]}],
    "dnsPolicy": "None",
    "dnsConfig": {"nameservers": ["192.0.2.53"]},
    "terminationGracePeriodSeconds": 5,
}
MONITORING = ("serviceMonitor", "podMonitor", "prometheusRule", "dashboard")
VOLUME = {"name": "certificates", "configMap": {"name": "certificates"}}
MOUNT = {"name": "certificates", "mountPath": "/etc/ssl/company"}
PROXY = {"name": "proxy", "image": "registry.example.com/proxy:1.0.0"}


def pod(objects: list[Manifest]) -> Manifest:
    return dict(one(objects, "Deployment")["spec"]["template"]["spec"])


@pytest.mark.parametrize("field", POD)
def test_a_field_of_the_pod_is_set(field: str) -> None:
    assert pod(render({field: POD[field]}))[field] == POD[field]


def test_by_default_the_pod_has_none_of_these_fields() -> None:
    absent = {*POD, "volumes"} - {"terminationGracePeriodSeconds"}
    assert not absent & pod(render()).keys()
    assert not {"envFrom", "volumeMounts"} & container(render()).keys()


def test_volumes_are_mounted_into_the_container() -> None:
    objects = render({"extraVolumes": [VOLUME], "extraVolumeMounts": [MOUNT]})
    assert pod(objects)["volumes"] == [VOLUME]
    assert container(objects)["volumeMounts"] == [MOUNT]


def test_variables_come_from_objects() -> None:
    source = {"configMapRef": {"name": "proxy"}}
    assert container(render({"extraEnvFrom": [source]}))["envFrom"] == [source]


def test_a_container_is_added_after_the_operators() -> None:
    containers = pod(render({"extraContainers": [PROXY]}))["containers"]
    assert [each["name"] for each in containers] == ["operator", "proxy"]


def test_the_timing_of_a_probe_is_changed_without_its_request() -> None:
    probe = container(render({"probes": {"liveness": {"failureThreshold": 9}}}))["livenessProbe"]
    assert probe == {
        "httpGet": {"path": "/healthz", "port": "http"},
        "periodSeconds": 10,
        "timeoutSeconds": 5,
        "failureThreshold": 9,
    }


def test_old_replica_sets_are_limited() -> None:
    deployment = one(render({"revisionHistoryLimit": 0}), "Deployment")
    assert deployment["spec"]["revisionHistoryLimit"] == 0


@pytest.mark.parametrize("mounted", [True, False])
def test_the_token_is_mounted_where_it_is_wanted(mounted: bool) -> None:  # noqa: FBT001
    objects = render(
        {"automountServiceAccountToken": mounted, "serviceAccount": {"automount": not mounted}}
    )
    assert pod(objects)["automountServiceAccountToken"] is mounted
    assert one(objects, "ServiceAccount")["automountServiceAccountToken"] is not mounted


def test_labels_of_the_account_do_not_replace_the_charts() -> None:
    given = {"example.com/team": "databases", "app.kubernetes.io/instance": "ignored"}
    labels = one(render({"serviceAccount": {"labels": given}}), "ServiceAccount")["metadata"][
        "labels"
    ]
    assert labels["example.com/team"] == "databases"
    assert labels["app.kubernetes.io/instance"] == "release"


def test_annotations_of_the_crd_join_the_charts() -> None:
    crd = one(render({"crds": {"annotations": {"a": "b"}}}), "CustomResourceDefinition")
    assert crd["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep", "a": "b"}


def test_another_namespace_holds_all_objects_of_the_operator() -> None:
    values = {
        "namespaceOverride": ELSEWHERE,
        "replicaCount": 2,
        "metrics": {part: {"enabled": True} for part in MONITORING},
        "networkPolicy": {"enabled": True},
    }
    objects = render(values)
    rules = of_kind(objects, "PrometheusRule")
    assert ELSEWHERE in str(rules)
    assert NAMESPACE not in str(rules)
    namespaces = {item["metadata"].get("namespace", ELSEWHERE) for item in objects}
    assert namespaces == {ELSEWHERE, "cnpg-system"}
    for binding in of_kind(objects, "RoleBinding") + of_kind(objects, "ClusterRoleBinding"):
        assert [each["namespace"] for each in binding["subjects"]] == [ELSEWHERE]
    assert environment(objects)["CNPGP_OPERATOR_PODS"].startswith(f"{ELSEWHERE}/")
