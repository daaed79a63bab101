"""`metrics.secure`: what the chart changes so that only some may read /metrics, over TLS."""

from typing import Any

import pytest

from cnpg_plugin_operator.settings import read_settings
from tests.support.chart.rendering import (
    FULLNAME,
    NAMESPACE,
    Manifest,
    RenderError,
    container,
    environment,
    of_kind,
    one,
    render,
    render_text,
)
from tests.unit.chart.test_rights import CLUSTER_ROLE

SERVER_NAME = f"{FULLNAME}.{NAMESPACE}.svc"
ISSUER = {"issuerRef": {"name": "company", "kind": "ClusterIssuer"}}
TOKEN = {"tokenSecret": {"name": "prometheus"}}
READER = f"{CLUSTER_ROLE}-metrics-reader"


def secured(given: dict[str, Any], **metrics: Any) -> dict[str, Any]:
    """Values for a certificate from there."""
    return {"metrics": {"secure": {"enabled": True, **given}, **metrics}}


def volumes(objects: list[Manifest]) -> list[Manifest]:
    found: list[Manifest] = one(objects, "Deployment")["spec"]["template"]["spec"]["volumes"]
    return found


@pytest.mark.parametrize(
    ("given", "secret"), [({"secretName": "mine"}, "mine"), (ISSUER, f"{FULLNAME}-metrics-tls")]
)
def test_the_operator_serves_them_with_the_secrets_pair(given: dict[str, Any], secret: str) -> None:
    objects = render(secured({**given, "port": 9443}))
    settings = read_settings(environment(objects))
    assert settings.metrics_address == ("", 9443)
    [volume], [mount] = volumes(objects), container(objects)["volumeMounts"]
    assert volume == {"name": mount["name"], "secret": {"secretName": secret}}
    assert (mount["mountPath"], mount["readOnly"]) == (settings.metrics_certificate, True)
    ports = {port["name"]: port["containerPort"] for port in container(objects)["ports"]}
    assert ports == {"http": 8080, "https": 9443}
    assert one(objects, "Service")["spec"]["ports"] == [
        {"name": "https", "port": 9443, "targetPort": "https", "protocol": "TCP"}
    ]


def test_it_does_so_beside_other_volumes() -> None:
    extra = {
        "extraVolumes": [{"name": "a", "emptyDir": {}}],
        "extraVolumeMounts": [{"name": "a", "mountPath": "/a"}],
    }
    objects = render({**secured(ISSUER), **extra})
    for found in (volumes(objects), container(objects)["volumeMounts"]):
        assert [each["name"] for each in found] == ["a", "metrics-certificate"]


def test_cert_manager_issues_for_the_names_of_the_service() -> None:
    objects = render(secured(ISSUER))
    spec = one(objects, "Certificate")["spec"]
    assert spec["dnsNames"] == [SERVER_NAME, f"{SERVER_NAME}.cluster.local"]
    assert spec["issuerRef"] == {**ISSUER["issuerRef"], "group": "cert-manager.io"}
    assert spec["secretName"] == volumes(objects)[0]["secret"]["secretName"]
    assert of_kind(render(secured({"secretName": "mine"})), "Certificate") == []


@pytest.mark.parametrize("given", [{}, {"secretName": "mine", **ISSUER}])
def test_exactly_one_certificate_is_needed(given: dict[str, Any]) -> None:
    with pytest.raises(RenderError, match=r"set either metrics\.secure\.secretName or"):
        render(secured(given))


def test_the_rights_for_it_are_granted_only_then() -> None:
    reviews = {"tokenreviews", "subjectaccessreviews"}
    for values, expected in ((secured(ISSUER), reviews), ({}, set())):
        rules = one(render(values), "ClusterRole", CLUSTER_ROLE)["rules"]
        found = [rule for rule in rules if reviews & {*rule["resources"]}]
        assert {resource for rule in found for resource in rule["resources"]} == expected
        assert all(rule["verbs"] == ["create"] for rule in found)


def test_a_role_lets_prometheus_read_them() -> None:
    rules = one(render(secured(ISSUER)), "ClusterRole", READER)["rules"]
    assert rules == [{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}]
    bindings = of_kind(render(secured(ISSUER)), "ClusterRoleBinding")
    assert [each["roleRef"]["name"] for each in bindings] == [CLUSTER_ROLE]
    values = {**secured(ISSUER), "rbac": {"create": False}}
    assert of_kind(render(values), "ClusterRole") == []


def test_an_operator_without_cluster_wide_rights_cannot_review() -> None:
    with pytest.raises(RenderError, match=r"rbac\.clusterWide is false and metrics\.secure"):
        render({**secured(ISSUER), "rbac": {"clusterWide": False}})


TLS = {
    "serverName": SERVER_NAME,
    "ca": {"secret": {"name": f"{FULLNAME}-metrics-tls", "key": "ca.crt"}},
}
ENDPOINT = {"port": "https", "path": "/metrics", "scheme": "https", "tlsConfig": TLS}
CREDENTIALS = {"authorization": {"credentials": {"name": "prometheus", "key": "token"}}}
FILE = {"bearerTokenFile": "/var/run/secrets/kubernetes.io/serviceaccount/token"}


def test_monitors_verify_the_certificate_and_send_a_token() -> None:
    both = {"serviceMonitor": {"enabled": True}, "podMonitor": {"enabled": True}}
    objects = render(secured({**ISSUER, **TOKEN}, **both))
    for kind, endpoints in (("ServiceMonitor", "endpoints"), ("PodMonitor", "podMetricsEndpoints")):
        [found] = one(objects, kind)["spec"][endpoints]
        assert found == {**ENDPOINT, **CREDENTIALS, "honorLabels": True}


def test_a_service_monitor_needs_no_token_of_its_own() -> None:
    monitor = one(render(secured(ISSUER, serviceMonitor={"enabled": True})), "ServiceMonitor")
    assert monitor["spec"]["endpoints"] == [{**ENDPOINT, **FILE, "honorLabels": True}]


def test_a_pod_monitor_does() -> None:
    with pytest.raises(RenderError, match=r"needs metrics\.secure\.tokenSecret\.name"):
        render(secured(ISSUER, podMonitor={"enabled": True}))


def test_the_network_policy_admits_both_ports() -> None:
    objects = render({**secured(ISSUER), "networkPolicy": {"enabled": True}})
    [rule] = one(objects, "NetworkPolicy")["spec"]["ingress"]
    assert [port["port"] for port in rule["ports"]] == ["http", "https"]


def test_the_port_of_the_probes_is_refused() -> None:
    with pytest.raises(RenderError, match="port"):
        render_text(secured({**ISSUER, "port": 8080}))
