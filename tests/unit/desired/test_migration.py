"""From what users have installed to the resource that describes it."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from cnpg_plugin_operator.api.plugin import parse_plugin
from cnpg_plugin_operator.desired.manifest import write_manifest
from cnpg_plugin_operator.desired.migration import Found, Migration, build_migration
from cnpg_plugin_operator.desired.workload import build_deployment

ROOT = Path(__file__).resolve().parents[3]
HELLO = list(yaml.safe_load_all((ROOT / "tests/plugins/static/hello.yaml").read_text()))


def find(kind: str) -> dict[str, Any]:
    return deepcopy(next(each for each in HELLO if each["kind"] == kind))


def describe(
    *,
    service: dict[str, Any] | None = None,
    pod: dict[str, Any] | None = None,
    container: dict[str, Any] | None = None,
    deployment: dict[str, Any] | None = None,
    annotations: dict[str, str] | None = None,
    labels: dict[str, str] | None = None,
    taken: frozenset[str] = frozenset({"hello"}),
) -> Migration:
    """Describe the installation of the sample, with changes."""
    live, workload = find("Service"), find("Deployment")
    live["spec"] |= service or {}
    live["metadata"]["annotations"] |= annotations or {}
    live["metadata"]["labels"] |= labels or {}
    workload["spec"] |= deployment or {}
    template = workload["spec"]["template"]["spec"]
    template["containers"][0] |= container or {}
    template |= pod or {}
    certificates = [each for each in HELLO if each["kind"] == "Certificate"]
    return build_migration(Found(live, workload, certificates, taken))


def spec_of(migration: Migration) -> dict[str, Any]:
    spec: dict[str, Any] = migration.resource["spec"]
    return spec


def test_the_sample_of_the_tests_is_described_with_no_more_than_it_needs() -> None:
    migration = describe()
    assert migration.resource["metadata"] == {"name": "hello-plugin", "namespace": "cnpg-system"}
    assert spec_of(migration) == {
        "pluginName": "hello.cnpgplugin.dev",
        "image": "localhost/sample-plugin:0.1.0",
        "imagePullPolicy": "IfNotPresent",
        "env": [{"name": "SAMPLE_NAME", "value": "hello.cnpgplugin.dev"}],
        "resources": find("Deployment")["spec"]["template"]["spec"]["containers"][0]["resources"],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "args": ["plugin"],
        "tls": {
            "provider": "Secrets",
            "secrets": {"server": "hello-server-tls", "client": "hello-client-tls"},
        },
        "probes": {"readiness": {"tcpSocket": {"port": 9090}, "periodSeconds": 2}},
        "podSecurityContext": {
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "service": {"name": "hello"},
        "takeOver": {"serviceName": "hello"},
    }


def test_the_remarks_name_the_issuer_of_each_secret() -> None:
    remarks = describe().remarks
    assert len(remarks) == 2
    assert remarks[0].startswith(
        "Certificate hello-server of Issuer hello-selfsigned writes Secret hello-server-tls"
    )


def test_what_is_printed_is_a_resource_that_runs_the_same_container() -> None:
    migration = describe()
    printed = yaml.safe_load(write_manifest(migration.resource, migration.remarks))
    assert printed == migration.resource
    stored = {"uid": "a", "creationTimestamp": "2026-03-01T11:00:00Z"}
    plugin = parse_plugin({**printed, "metadata": {**printed["metadata"], **stored}})
    (ours,) = build_deployment(plugin)["spec"]["template"]["spec"]["containers"]
    (theirs,) = find("Deployment")["spec"]["template"]["spec"]["containers"]
    assert ours["args"] == theirs["args"]
    assert ours["image"] == theirs["image"]
    assert [e for e in ours["env"] if e in theirs["env"]] == theirs["env"]


ARGS = {
    "args": [
        "operator",
        "--server-cert", "/tls/server/tls.crt",
        "--server-key=/tls/server/tls.key",
        "--client-cert=/tls/client/ca.crt",
        "--server-address=:9090",
        "--leader-elect",
    ],
}  # fmt: skip
MOUNTED = {
    "volumeMounts": [
        {"name": "server", "mountPath": "/tls/server"},
        {"name": "client", "mountPath": "/tls/client/"},
    ]
}


def test_flags_and_directories_of_tls_files_are_recognized() -> None:
    spec = spec_of(describe(container={**ARGS, **MOUNTED}))
    assert spec["args"] == ["operator", "--leader-elect"]
    assert "serverArguments" not in spec
    assert spec["tls"]["clientTrust"] == "Root"
    assert spec["tls"]["files"] == {
        "server": {"directory": "/tls/server"},
        "client": {"directory": "/tls/client"},
    }


def test_other_arguments_are_kept_as_they_are() -> None:
    args = ["--cert-path=/server", "--bind=:9090"]
    migration = describe(container={"args": args})
    assert spec_of(migration)["args"] == args
    assert spec_of(migration)["serverArguments"] == "None"
    assert any("spec.tls.clientTrust" in remark for remark in migration.remarks)


KEPT: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("another port", {"annotations": {"cnpg.io/pluginPort": "50051"}}, {"port": 50051}),
    ("further ports", {
        "container": {"ports": [{"containerPort": 9090}, {"containerPort": 8080, "name": "web"},
                                {"containerPort": 8081}]},
        "service": {"ports": [{"port": 9090}, {"port": 80, "targetPort": "web"}]}},
     {"extraPorts": [{"name": "web", "port": 8080, "servicePort": 80},
                     {"name": "port-8081", "port": 8081}]}),
    ("a deadline", {"deployment": {"progressDeadlineSeconds": 60, "minReadySeconds": 0}},
     {"progressDeadlineSeconds": 60}),
    ("replicas", {"deployment": {"replicas": 2}}, {"replicas": 2}),
    ("a rolling strategy", {"deployment": {"strategy": {"type": "RollingUpdate"}}},
     {"strategy": {"type": "RollingUpdate"}}),
    ("pull secrets", {"pod": {"imagePullSecrets": [{"name": "a"}]}},
     {"imagePullSecrets": [{"name": "a"}]}),
    ("an account", {"pod": {"serviceAccountName": "barman"}},
     {"serviceAccount": {"create": False, "name": "barman"}}),
    ("a grace period", {"pod": {"terminationGracePeriodSeconds": 10}},
     {"podTemplate": {"spec": {"terminationGracePeriodSeconds": 10}}}),
    ("a hook of the container", {"container": {"lifecycle": {"preStop": {}}}},
     {"podTemplate": {"spec": {"containers": [
         {"name": "plugin", "lifecycle": {"preStop": {}}}]}}}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "wanted"), [row[1:] for row in KEPT], ids=[row[0] for row in KEPT]
)
def test_these_are_described(changes: dict[str, Any], wanted: dict[str, Any]) -> None:
    spec = spec_of(describe(**changes))
    assert {key: spec.get(key) for key in wanted} == wanted


def test_further_volumes_are_described_and_the_accounts_token_is_not() -> None:
    pod = find("Deployment")["spec"]["template"]["spec"]
    volumes = [*pod["volumes"], {"name": "tmp", "emptyDir": {}}, {"name": "kube-api-access-x"}]
    mounts = [*pod["containers"][0]["volumeMounts"], {"name": "tmp", "mountPath": "/tmp"}]
    spec = spec_of(describe(pod={"volumes": volumes}, container={"volumeMounts": mounts}))
    assert spec["volumes"] == [{"name": "tmp", "emptyDir": {}}]
    assert spec["volumeMounts"] == [{"name": "tmp", "mountPath": "/tmp"}]


REMARKED: list[tuple[str, dict[str, Any], str]] = [
    ("an account", {"pod": {"serviceAccountName": "barman"}}, "allowedServiceAccounts: [barman]"),
    ("a field of the pod", {"pod": {"hostNetwork": True}}, "Field hostNetwork of the pod"),
    ("a field of the container", {"container": {"tty": True}}, "Field tty of the container"),
    ("a pair without a directory", {"container": {"volumeMounts": []}},
     "set spec.tls.files.server"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "says"), [row[1:] for row in REMARKED], ids=[row[0] for row in REMARKED]
)
def test_what_a_resource_cannot_say_is_a_remark(changes: dict[str, Any], says: str) -> None:
    assert any(says in remark for remark in describe(**changes).remarks)


def test_another_container_is_a_remark() -> None:
    containers = find("Deployment")["spec"]["template"]["spec"]["containers"]
    proxy = {"name": "proxy", "ports": [{"containerPort": 15000}]}
    migration = describe(pod={"containers": [proxy, *containers]})
    assert spec_of(migration)["image"] == "localhost/sample-plugin:0.1.0"
    assert any(remark.startswith("Container proxy") for remark in migration.remarks)


def test_a_service_that_helm_would_delete_is_left_to_it() -> None:
    migration = describe(labels={"app.kubernetes.io/managed-by": "Helm"})
    spec = spec_of(migration)
    assert "service" not in spec
    assert spec["takeOver"] == {"serviceName": "hello"}
    assert spec["tls"]["serverName"] == "hello"
    assert any("Helm manages Service hello" in remark for remark in migration.remarks)


def test_labels_that_select_the_previous_pods_are_left_out() -> None:
    metadata = {"labels": {"app": "hello", "team": "a"}, "annotations": {"x": "y"}}
    template = {**find("Deployment")["spec"]["template"], "metadata": metadata}
    spec = spec_of(describe(deployment={"template": template}))
    assert spec["podLabels"] == {"team": "a"}
    assert spec["podAnnotations"] == {"x": "y"}


def test_a_free_name_is_chosen() -> None:
    assert describe(taken=frozenset()).resource["metadata"]["name"] == "hello"
    taken = frozenset({"hello", "hello-plugin"})
    assert describe(taken=taken).resource["metadata"]["name"] == "hello-plugin-2"
