"""`diagnose` shows what the operator would do, from a shell that may only read.

The operator runs only during the first tests, so that nothing changes what is shown later.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support import wait
from tests.support.dashboard import alerts, panels
from tests.support.e2e.api import RBAC
from tests.support.e2e.installation import ROOT
from tests.support.e2e.operator import Audit, Operator
from tests.support.e2e.plugins import Plugins, collection
from tests.support.promtool import read_query
from tests.support.resources import NAMESPACE, Manifest, plugin

pytestmark = [pytest.mark.cnpg("untouched"), pytest.mark.long]

READY, DRIFTED, DEAF, NEW = "diagnose-ready", "diagnose-drifted", "diagnose-deaf", "diagnose-new"
NEIGHBOUR, THIEF = "diagnose-neighbour", "diagnose-thief"
READER, STRANGER = "diagnose-reader", "diagnose-stranger"
MINUTE: Final = 60.0

ARGUMENTS: Final = (
    "plugin",
    "--server-cert=$(CNPG_PLUGIN_SERVER_CERT)",
    "--server-key=$(CNPG_PLUGIN_SERVER_KEY)",
    "--client-cert=$(CNPG_PLUGIN_CLIENT_CERT)",
)
"""The sample plugin's own, without the address that it listens on."""

READABLE: Final = {
    "": ["configmaps", "events", "pods", "secrets", "serviceaccounts", "services"],
    "apps": ["deployments", "replicasets"],
    "networking.k8s.io": ["networkpolicies"],
    "policy": ["poddisruptionbudgets"],
    "cert-manager.io": ["certificates", "clusterissuers", "issuers"],
    "cnpgplugin.dev": ["cnpgplugins"],
    "coordination.k8s.io": ["leases"],
    "postgresql.cnpg.io": ["clusters"],
    "rbac.authorization.k8s.io": ["rolebindings"],
}
"""What the command reads."""


@pytest.fixture(scope="module")
def world(module_plugins: Plugins) -> Plugins:
    """Plugins that are Ready, and one that listens on another port than its spec says."""
    module_plugins.apply(
        plugin(READY),
        plugin(DRIFTED),
        plugin(DEAF, serverArguments="None", args=[*ARGUMENTS, "--server-address=:9999"]),
        *map(account, (READER, STRANGER)),
    )
    module_plugins.until_ready(READY, DRIFTED, within=2 * MINUTE)
    module_plugins.until_condition(DEAF, "Available", "NotListening", within=2 * MINUTE)
    return module_plugins


@pytest.fixture(scope="module")
def reader(operator: Operator, world: Plugins) -> Iterator[None]:
    """An account that may read what the command reads, and nothing else."""
    rules = [
        {"apiGroups": [group], "resources": kinds, "verbs": ["get", "list", "watch"]}
        for group, kinds in READABLE.items()
    ]
    version = "rbac.authorization.k8s.io/v1"
    role: Manifest = {
        "apiVersion": version,
        "kind": "ClusterRole",
        "rules": rules,
    }
    binding: Manifest = {
        "apiVersion": version,
        "kind": "ClusterRoleBinding",
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": READER,
        },
        "subjects": [{"kind": "ServiceAccount", "name": READER, "namespace": NAMESPACE}],
    }
    paths = [f"{RBAC}/clusterroles/{READER}", f"{RBAC}/clusterrolebindings/{READER}"]
    for path, body in zip(paths, (role, binding), strict=True):
        operator.api.apply(path, {**body, "metadata": {"name": READER}}, "e2e", force=True)
    yield
    for path in paths:
        operator.api.delete(path)


@pytest.fixture(scope="module")
def stopped(operator: Operator, world: Plugins, reader: None) -> Iterator[Plugins]:
    """The same without an operator: one plugin was changed since, and one is new."""
    scale = ("scale", f"deployment/{operator.deployment}", "--namespace", operator.namespace)
    world.kubectl(*scale, "--replicas=0")
    pods = ("pods", f"--selector=app.kubernetes.io/name={operator.deployment}")
    where = ("--namespace", operator.namespace)
    world.kubectl("wait", *pods, *where, "--for=delete", f"--timeout={wait.PATIENCE * MINUTE}s")
    try:
        world.api.patch(f"{collection('Deployment')}/{DRIFTED}", {"spec": {"replicas": 2}})
        world.apply(plugin(NEW))
        yield world
    finally:
        world.kubectl(*scale, "--replicas=1")
        operator.pod()
        world.until_ready(READY, DRIFTED, NEW, within=2 * MINUTE)


def account(name: str) -> Manifest:
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}


Done = subprocess.CompletedProcess[str]


def as_account(
    operator: Operator, directory: Path, user: str, *arguments: str, **settings: str
) -> Done:
    """Run the command from the checkout, as an account; fail if it asks for more than reads."""
    audit = Audit(operator.cluster.audit_log, f"system:serviceaccount:{NAMESPACE}:{user}")
    since = audit.mark()
    token = operator.cluster.kubectl("create", "token", user, "--namespace", NAMESPACE).strip()
    config = json.loads(operator.cluster.kubectl("config", "view", "--raw", "-o", "json"))
    config["users"] = [{**each, "user": {"token": token}} for each in config["users"]]
    path = directory / "kubeconfig"
    path.write_text(json.dumps(config))
    program = [sys.executable, "-m", "cnpg_plugin_operator", "diagnose", *arguments]
    settings |= {"KUBECONFIG": str(path), "PYTHONPATH": str(ROOT / "operator")}
    done = subprocess.run(
        operator.cluster.in_namespace(program),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, **settings},
    )
    asked = audit.requests(since)
    assert asked, "the audit log has what the command asked for"
    assert {each.verb for each in asked} <= {"get", "list"}, done.stderr
    assert "Traceback" not in done.stderr
    assert "PRIVATE KEY" not in done.stdout
    return done


def lines(done: Done) -> list[str]:
    return [line.strip() for line in done.stdout.splitlines()]


def test_in_the_operators_pod_a_ready_plugin_has_nothing_to_write(
    operator: Operator, world: Plugins
) -> None:
    done = operator.diagnose(READY)
    assert done.returncode == 0, done.stdout + done.stderr
    reported = lines(done)
    assert f"CNPGPlugin {NAMESPACE}/{READY}" in reported
    assert reported.count("nothing to write") == 2
    assert any(line.startswith("HandshakeSucceeded True Identified: ") for line in reported)


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (("status", READY), 0, "Ready               True     Ready"),
        (("status",), 1, "NotListening"),
        (("diagnose", READY), 0, "nothing to write"),
        (("handshake", READY), 0, "ok  Identified: "),
        (("restart-plan",), 0, "No plugin waits for a restart of CloudNativePG."),
        (("status", "diagnose-nobody"), 2, "no CNPGPlugin diagnose-nobody"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_the_kubectl_plugin_tells_it_from_outside(
    operator: Operator, world: Plugins, words: tuple[str, ...], status: int, says: str
) -> None:
    done = operator.from_outside(*words, f"--namespace={NAMESPACE}")
    assert done.returncode == status, done.stdout + done.stderr
    assert says in done.stdout + done.stderr


def test_dashboard_and_alerts_find_their_metrics(operator: Operator, world: Plugins) -> None:
    """In a real scrape: what has not happened yet has no series, but is declared."""
    text = operator.http("/metrics")[1]
    families = [*text_string_to_metric_families(text)]
    declared = {f"{each.name}{end}" for each in families for end in ("", "_total", "_bucket")}
    found: dict[str, set[str]] = {}
    for sample in (sample for family in families for sample in family.samples):
        found.setdefault(sample.name, set()).update(sample.labels)
    for query in [query for each in panels().values() for query in each] + [*alerts().values()]:
        for name, labels in read_query(query)[0].items():
            assert name in declared, query
            assert labels <= found.get(name, labels) | {"namespace"}, query
    rare = {"cnpg_plugin_write_loops_total", "cnpg_plugin_cnpg_restarts_total"}
    used = {name for each in panels().values() for query in each for name in read_query(query)[0]}
    assert used - set(found) <= rare | {"controller_runtime_reconcile_errors_total"}
    state = {
        sample.labels["name"]: sample
        for family in families
        for sample in family.samples
        if sample.name == "cnpg_plugin_ready_status" and sample.value == 1
    }
    assert state[READY].labels["status"] == "True"
    assert state[DEAF].labels["status"] == "False"


def test_a_ready_plugin_has_nothing_to_write(
    operator: Operator, stopped: Plugins, tmp_path: Path
) -> None:
    done = as_account(operator, tmp_path, READER, READY, "-o", "json")
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = json.loads(done.stdout)["plugins"]
    assert found["asWanted"] is True
    assert found["writes"] == []
    decided = {each["type"]: each["decided"]["reason"] for each in found["conditions"]}
    assert decided == {
        "Accepted": "Accepted",
        "CertificatesReady": "Issued",
        "Available": "Available",
        "HandshakeSucceeded": "Identified",
        "Registered": "Registered",
    }


def test_a_new_resource_is_told_up_to_where_cert_manager_has_to_act(
    operator: Operator, stopped: Plugins, tmp_path: Path
) -> None:
    done = as_account(operator, tmp_path, READER, NEW)
    assert done.returncode == 1, done.stdout + done.stderr
    reported = lines(done)
    assert f"would patch CNPGPlugin {NAMESPACE}/{NEW}: add the operator's finalizer" in reported
    assert f"would create Certificate {NAMESPACE}/{NEW}-server-tls" in reported
    assert any(line.startswith("CertificatesReady  Unknown Issuing: ") for line in reported)
    assert stopped.plugin(NEW)["status"] == {"observedGeneration": -1}, "as it was created"
    assert stopped.find("Certificate", f"{NEW}-server-tls") is None


def test_what_another_party_changed_is_named(
    operator: Operator, stopped: Plugins, tmp_path: Path
) -> None:
    done = as_account(operator, tmp_path, READER, DRIFTED)
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"would apply Deployment {NAMESPACE}/{DRIFTED}: spec.replicas 2 → 1" in lines(done)
    assert stopped.get("Deployment", DRIFTED)["spec"]["replicas"] == 2


def test_a_plugin_on_another_port_is_judged_as_the_operator_does(
    operator: Operator, stopped: Plugins, tmp_path: Path
) -> None:
    done = as_account(operator, tmp_path, READER, DEAF, "-o", "json")
    assert done.returncode == 1, done.stdout + done.stderr
    (found,) = json.loads(done.stdout)["plugins"]
    by_type: dict[str, Any] = {each["type"]: each for each in found["conditions"]}
    assert by_type["Available"]["decided"]["reason"] == "NotListening"
    assert by_type["Available"]["reported"]["reason"] == "NotListening"
    assert by_type["Registered"]["decided"] is None
    assert found["writes"] == []


def test_what_the_operators_own_pod_uses_is_private(
    operator: Operator, stopped: Plugins, tmp_path: Path
) -> None:
    """An installation in CloudNativePG's namespace, of which the tests have none."""
    label = {"app": NEIGHBOUR}
    pod = {
        "containers": [{"name": "manager", "image": "example.com/none"}],
        "volumes": [{"name": "certificate", "secret": {"secretName": "metrics"}}],
    }
    stopped.apply(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": NEIGHBOUR, "namespace": NAMESPACE},
            "spec": {
                "replicas": 0,
                "selector": {"matchLabels": label},
                "template": {"metadata": {"labels": label}, "spec": pod},
            },
        },
        plugin(THIEF, volumes=[{"name": "loot", "secret": {"secretName": "metrics"}}]),
    )
    settings = {"CNPGP_OPERATOR_PODS": f"{NAMESPACE}/app={NEIGHBOUR}"}
    refused = as_account(operator, tmp_path, READER, THIEF, **settings).stdout
    accepted = as_account(operator, tmp_path, READER, THIEF).stdout
    stopped.kubectl("delete", "cnpgplugin", THIEF, "--namespace", NAMESPACE)
    assert "the operator's own pod uses it" in " ".join(refused.split())
    assert "Accepted           True" in accepted, "what others use is not private for that"


def test_a_missing_right_is_told_with_verb_and_resource(
    operator: Operator, stopped: Plugins, tmp_path: Path
) -> None:
    done = as_account(operator, tmp_path, STRANGER)
    assert done.returncode == 2, done.stdout + done.stderr
    assert 'cannot list resource "cnpgplugins"' in done.stderr


def test_a_name_that_does_not_exist_is_told(
    operator: Operator, stopped: Plugins, tmp_path: Path
) -> None:
    done = as_account(operator, tmp_path, READER, "diagnose-nobody")
    assert done.returncode == 2, done.stdout + done.stderr
    assert "no CNPGPlugin diagnose-nobody in cnpg-system" in done.stderr
