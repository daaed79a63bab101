"""What a plugin's pod mounts of its certificates, and what is announced to CloudNativePG."""

import json
from typing import Any

import pytest

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.spec import ClientTrust
from cnpg_plugin_operator.desired.service import build_endpoint
from cnpg_plugin_operator.desired.workload import (
    build_deployment,
    build_pod_template,
    server_environment,
    tls_volumes,
)
from tests.support.unit.builders import plugin

USER_SECRETS = {"provider": "Secrets", "secrets": {"server": "my-server", "client": "my-client"}}
TLS: list[tuple[str, dict[str, Any], str]] = [
    ("of cert-manager", {}, "hello-server-tls"),
    ("of the operator", {"provider": "SelfManaged"}, "hello-server-tls"),
    ("of an authority of its own", {"issuerScope": "Plugin"}, "hello-server-tls"),
    ("of an issuer", {"issuerRef": {"name": "mine"}}, "hello-server-tls"),
    ("of the user", USER_SECRETS, "my-server"),
]
EVERY = pytest.mark.parametrize(
    ("tls", "server"), [row[1:] for row in TLS], ids=[row[0] for row in TLS]
)


@EVERY
def test_a_pod_with_certificates(tls: dict[str, Any], server: str) -> None:
    subject = plugin("hello", tls=tls)
    presented, trusted = tls_volumes(subject)

    assert presented["secret"] == {"secretName": server}
    assert trusted["secret"] == {
        "secretName": "hello-trust",
        "items": [{"key": "clients.crt", "path": path} for path in ("tls.crt", "ca.crt")],
    }


@EVERY
def test_the_private_key_of_cloudnativepg_stays_out_of_a_pod_with_certificates(
    tls: dict[str, Any], server: str
) -> None:
    subject = plugin("hello", tls=tls)
    text = json.dumps(build_deployment(subject, "some certificates"))

    assert server in text
    assert subject.client_secret not in text
    for authority in subject.authorities:
        assert f'"{authority}"' not in text


def test_the_source_of_client_trust_does_not_change_the_pod() -> None:
    templates = [build_pod_template(plugin(tls={"clientTrust": each})) for each in ClientTrust]

    assert templates[0] == templates[1]


ONE_DIRECTORY = {
    "server": {"directory": "/tls"},
    "client": {"directory": "/tls", "trust": "client-ca.crt"},
}


def mounted(files: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """The files of a plugin's container, each with its Secret and key."""
    subject = plugin("hello", tls={"files": files})
    pod = build_pod_template(subject)["spec"]
    [container] = pod["containers"]
    places = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    return {
        f"{places[volume['name']]}/{item['path']}": (
            source.get("secretName") or source["name"],
            item["key"],
        )
        for volume in pod["volumes"]
        for source in (
            [each["secret"] for each in volume["projected"]["sources"]]
            if "projected" in volume
            else [volume["secret"]]
        )
        for item in source["items"]
    }


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        pytest.param(
            ONE_DIRECTORY,
            {
                "/tls/tls.crt": ("hello-server-tls", "tls.crt"),
                "/tls/tls.key": ("hello-server-tls", "tls.key"),
                "/tls/client-ca.crt": ("hello-trust", "clients.crt"),
            },
            id="one directory",
        ),
        pytest.param(
            {
                "server": {"certificate": "server.pem", "privateKey": "server.key"},
                "client": {"directory": "/trust", "trust": "ca.pem"},
            },
            {
                "/server/server.pem": ("hello-server-tls", "tls.crt"),
                "/server/server.key": ("hello-server-tls", "tls.key"),
                "/trust/ca.pem": ("hello-trust", "clients.crt"),
                "/trust/ca.crt": ("hello-trust", "clients.crt"),
            },
            id="other names",
        ),
    ],
)
def test_files_are_where_the_plugin_expects_them(
    files: dict[str, Any], expected: dict[str, tuple[str, str]]
) -> None:
    assert mounted(files) == expected


@pytest.mark.parametrize("files", [{}, ONE_DIRECTORY], ids=["default", "one directory"])
def test_the_arguments_name_the_files(files: dict[str, Any]) -> None:
    subject = plugin(tls={"files": files})
    environment = server_environment(subject)
    [container] = build_pod_template(subject)["spec"]["containers"]

    client = "/tls/client-ca.crt" if files else "/client/tls.crt"
    assert environment["CNPG_PLUGIN_CLIENT_CERT"] == client
    assert f"--client-cert={client}" in container["args"]


@EVERY
def test_trust_and_client_secret_are_announced_with_certificates(
    tls: dict[str, Any], server: str
) -> None:
    subject = plugin("hello", tls=tls)
    endpoint = build_endpoint(subject)

    assert endpoint[names.cnpg.SERVER_SECRET] == "hello-trust"
    assert endpoint[names.cnpg.CLIENT_SECRET] == subject.client_secret
    assert server not in endpoint.values()


def test_pods_do_not_depend_on_the_certificate_provider() -> None:
    templates = [build_deployment(plugin("hello", tls=tls)) for _, tls, _ in TLS[:-1]]

    assert all(template == templates[0] for template in templates)


def test_only_a_restart_for_certificates_changes_the_pods() -> None:
    subject = plugin("hello")
    never, once = build_deployment(subject), build_deployment(subject, "some certificates")
    annotations = once["spec"]["template"]["metadata"]["annotations"]

    assert annotations.pop(names.annotations.RELOADED) == "some certificates"
    assert names.annotations.RELOADED not in never["spec"]["template"]["metadata"]["annotations"]
    assert once["spec"] == never["spec"]


@pytest.mark.parametrize(
    ("own", "policy"),
    [
        ({}, "FallbackToLogsOnError"),
        ({"terminationMessagePolicy": "File"}, "File"),
    ],
    ids=["as it is", "as the user wants it"],
)
def test_the_termination_message_is_the_end_of_the_log(own: dict[str, str], policy: str) -> None:
    template = {"spec": {"containers": [{"name": names.children.CONTAINER, **own}]}}
    pod = build_deployment(plugin(podTemplate=template))["spec"]["template"]["spec"]

    assert pod["containers"][0]["terminationMessagePolicy"] == policy


SLOW = {"tcpSocket": {"port": 1}, "failureThreshold": 9}


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ({}, {"readinessProbe"}),
        ({"startup": SLOW}, {"startupProbe", "readinessProbe"}),
        ({"startup": {}, "readiness": {}}, set()),
        ({"liveness": SLOW}, {"readinessProbe", "livenessProbe"}),
    ],
    ids=["by default", "with a startup probe", "with none", "with its own liveness probe"],
)
def test_no_probe_restarts_a_standby_by_default(own: dict[str, Any], expected: set[str]) -> None:
    pod = build_deployment(plugin("hello", probes=own))["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert {key for key in container if key.endswith("Probe")} == expected
