"""The command line: what each subcommand prints and returns, and how little it loads."""

import argparse
import importlib
import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from cnpg_plugin_operator import errors, names
from cnpg_plugin_operator.api.conditions import Reason, unknown, yes
from cnpg_plugin_operator.api.conditions import Type as ConditionType
from cnpg_plugin_operator.api.status import merge
from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.commands import diagnose as diagnose_command
from cnpg_plugin_operator.decide.workload.upgrade import await_approval
from cnpg_plugin_operator.kubectl.access import Done
from cnpg_plugin_operator.kubectl.completion import complete
from cnpg_plugin_operator.kubectl.program import run
from cnpg_plugin_operator.settings import Settings
from tests.support.unit.builders import NOW, resource
from tests.support.unit.fake_cluster import FakeCluster
from tests.support.unit.fake_kubectl import FakeKubectl, install_operator

ROOT = Path(__file__).resolve().parents[3]
IMPORTS = """
import contextlib, sys
from cnpg_plugin_operator.kubectl import program
with contextlib.suppress(SystemExit):
    program.run(sys.argv[1:], program.make_kubectl)
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""
HEAVY = {"aiohttp", "cryptography", "grpc", "kopf", "kubernetes", "prometheus_client", "pydantic"}
Captured = pytest.CaptureFixture[str]


def with_status(name: str, *, ready: bool, **spec: Any) -> dict[str, Any]:
    """A resource about which the operator has reported."""
    verdicts = {kind: yes(Reason.ACCEPTED, "fine") for kind in ConditionType}
    if not ready:
        verdicts[ConditionType.AVAILABLE] = await_approval("cnpg-system", name, "It.", "abc123")
    verdicts.pop(ConditionType.SUSPENDED)
    conditions = merge((), verdicts, generation=1, now=NOW)
    status = {"observedGeneration": 1, "conditions": conditions}
    return {**resource(name, **spec), "status": status}


class Terminal:
    """Runs the command line against a cluster in memory."""

    def __init__(self, captured: Captured) -> None:
        self.cluster = FakeCluster()
        install_operator(self.cluster)
        self.kubectl = FakeKubectl(self.cluster)
        self._captured = captured

    def __call__(self, *words: str) -> tuple[int, str, str]:
        status = run(words, lambda _: self.kubectl)
        shown = self._captured.readouterr()
        return status, shown.out, shown.err


@pytest.fixture
def terminal(capsys: Captured) -> Terminal:
    return Terminal(capsys)


def test_status_is_0_while_all_is_as_wanted_and_1_else(terminal: Terminal) -> None:
    terminal.cluster.put(kinds.PLUGIN, with_status("hello", ready=True))
    assert terminal("status")[0] == 0
    terminal.cluster.put(kinds.PLUGIN, with_status("other", ready=False))
    status, out, _ = terminal("status")
    assert status == 1
    assert "AwaitingApproval" in out
    terminal.cluster.put(kinds.PLUGIN, with_status("other", ready=False, suspend=True))
    assert terminal("status")[0] == 0, "a suspended plugin is as its user wants it"
    assert terminal("status", "hello")[1].startswith("cnpg-system/hello")


def test_status_is_the_same_document_in_json_and_yaml(terminal: Terminal) -> None:
    terminal.cluster.put(kinds.PLUGIN, with_status("hello", ready=True))
    document = json.loads(terminal("status", "-o", "json")[1])
    again = yaml.safe_load(terminal("status", "-o", "yaml")[1])
    for each in (document, again):
        for certificate in each["plugins"][0]["certificates"].values():
            certificate.pop("secondsLeft")
    assert again == document
    assert set(document["plugins"][0]) == {
        *("namespace", "name", "pluginName", "version", "mode", "ready", "reason", "message"),
        *("suspended", "deleting", "upToDate", "conditions", "certificates", "cnpg", "restart"),
        *("clusters", "quarantine", "versionSkew"),
    }


def test_where_no_plugin_is_status_says_where_to_look(terminal: Terminal) -> None:
    assert terminal("status") == (
        0,
        "",
        "no CNPGPlugin in cnpg-system; --all-namespaces looks in all\n",
    )
    status, _, err = terminal("status", "unknown")
    assert status == 2
    assert "no CNPGPlugin unknown in namespace cnpg-system; try --namespace" in err


def test_a_refusal_names_the_right_and_returns_2(terminal: Terminal) -> None:
    terminal.kubectl.forbidden.add(kinds.PLUGIN)
    status, out, err = terminal("status")
    assert (status, out) == (2, "")
    assert "ada lacks the right to list cnpgplugins" in err


def test_without_the_resource_type_the_chart_is_named(terminal: Terminal) -> None:
    terminal.cluster.missing.add("CNPGPlugin")
    assert "install the operator's chart" in terminal("status")[2]


def test_renew_asks_for_new_certificates(terminal: Terminal) -> None:
    terminal.cluster.put(kinds.PLUGIN, with_status("hello", ready=True))
    status, out, _ = terminal("renew", "hello")
    assert status == 0
    assert "Asked the operator for new certificates of cnpg-system/hello" in out
    annotations = terminal.cluster.the(kinds.PLUGIN, "hello")["metadata"]["annotations"]
    assert set(annotations) == {names.annotations.RENEW}


ISSUED = {"type": "Ready", "status": "True"}
SLOW = {"type": "Issuing", "status": "False", "reason": "Failed"}


def certificate(name: str, plugin: str) -> dict[str, Any]:
    """A Certificate of cert-manager."""
    labels = {names.labels.NAME: plugin}
    metadata = {"name": name, "namespace": "cnpg-system", "labels": labels, "generation": 3}
    return {"metadata": metadata, "status": {"conditions": [ISSUED, SLOW], "revision": 1}}


@pytest.mark.parametrize("tls", [{}, {"provider": "CertManager"}], ids=["default", "named"])
def test_what_cert_manager_issues_it_is_asked_to_renew(
    terminal: Terminal, tls: dict[str, str]
) -> None:
    terminal.cluster.put(kinds.PLUGIN, with_status("hello", ready=True, tls=tls))
    for name, plugin in {"server": "hello", "client": "hello", "other": "other"}.items():
        terminal.cluster.put(kinds.CERTIFICATE, certificate(name, plugin))

    status, out, _ = terminal("renew", "hello")
    assert status == 0
    assert "Asked cert-manager for new certificates of cnpg-system/hello" in out
    for name in ("server", "client"):
        state = terminal.cluster.the(kinds.CERTIFICATE, name)["status"]
        kept, issuing = state["conditions"]
        assert (kept, state["revision"]) == (ISSUED, 1)
        assert (issuing["type"], issuing["status"]) == ("Issuing", "True")
        assert issuing["observedGeneration"] == 3
    untouched = terminal.cluster.the(kinds.CERTIFICATE, "other")["status"]["conditions"]
    assert untouched == [ISSUED, SLOW]
    assert "annotations" not in terminal.cluster.the(kinds.PLUGIN, "hello")["metadata"]


@pytest.mark.parametrize("provider", [None, "SelfManaged"])
def test_without_cert_manager_the_operator_is_asked(
    terminal: Terminal, provider: str | None
) -> None:
    terminal.cluster.missing.add("Certificate")
    tls = {"provider": provider} if provider else {}
    terminal.cluster.put(kinds.PLUGIN, with_status("hello", ready=True, tls=tls))
    assert "Asked the operator" in terminal("renew", "hello")[1]


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"mode": "Sidecar"}, "needs no certificates"),
        ({"tls": {"provider": "Secrets"}}, "uses Secrets of its user"),
    ],
)
def test_what_the_operator_does_not_issue_it_does_not_renew(
    terminal: Terminal, spec: dict[str, Any], why: str
) -> None:
    terminal.cluster.put(kinds.PLUGIN, with_status("hello", ready=True, **spec))
    status, _, err = terminal("renew", "hello")
    assert status == 2
    assert why in err
    assert "annotations" not in terminal.cluster.the(kinds.PLUGIN, "hello")["metadata"]


def test_approve_approves_the_change_that_waits(terminal: Terminal) -> None:
    terminal.cluster.put(kinds.PLUGIN, with_status("hello", ready=False))
    assert "Approved change abc123" in terminal("approve", "hello")[1]
    annotations = terminal.cluster.the(kinds.PLUGIN, "hello")["metadata"]["annotations"]
    assert annotations == {names.annotations.APPROVE: "abc123"}


def test_without_a_waiting_change_there_is_nothing_to_approve(terminal: Terminal) -> None:
    terminal.cluster.put(kinds.PLUGIN, with_status("hello", ready=True))
    status, _, err = terminal("approve", "hello")
    assert status == 2
    assert "no change of cnpg-system/hello waits for approval" in err


def test_an_approval_whose_token_was_cut_off_is_refused(terminal: Terminal) -> None:
    body = with_status("hello", ready=False)
    verdict = unknown(Reason.AWAITING_APPROVAL, "too long …")
    body["status"]["conditions"] = merge(
        (), {ConditionType.AVAILABLE: verdict}, generation=1, now=NOW
    )
    terminal.cluster.put(kinds.PLUGIN, body)
    assert "names no change" in terminal("approve", "hello")[2]


def test_the_handshake_runs_in_the_operators_pod(terminal: Terminal) -> None:
    terminal.cluster.put(kinds.PLUGIN, resource("hello", service={"name": "front"}))
    terminal.kubectl.answer = Done(1, '{"succeeded": false}', "careful")
    assert terminal("handshake", "hello") == (1, '{"succeeded": false}', "careful\n")
    assert terminal.kubectl.ran == [
        (
            *("operators", "deployment/operator", "operator", "cnpg-plugin-operator", "handshake"),
            *("front", "--namespace=cnpg-system", "--timeout=5s", "--output=text"),
        )
    ]
    assert terminal("handshake", "hello", "-o", "yaml")[1] == "succeeded: false\n"


def test_a_sidecar_has_no_handshake_over_the_network(terminal: Terminal) -> None:
    terminal.cluster.put(kinds.PLUGIN, resource("hello", mode="Sidecar"))
    status, _, err = terminal("handshake", "hello")
    assert status == 2
    assert "the gate in CloudNativePG's pod performs its handshake" in err


def test_diagnose_runs_in_the_operators_pod(terminal: Terminal) -> None:
    terminal.kubectl.answer = Done(0, "all fine\n")
    assert terminal("diagnose", "hello", "--no-handshake") == (0, "all fine\n", "")
    assert terminal.kubectl.ran[0][3:] == (
        *("cnpg-plugin-operator", "diagnose", "hello", "--output=text"),
        *("--namespace=cnpg-system", "--no-handshake"),
    )


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Settings, argparse.Namespace]]:
    """What is diagnosed without the operator's pod."""
    asked: list[tuple[Settings, argparse.Namespace]] = []

    async def diagnose(settings: Settings, arguments: argparse.Namespace) -> int:
        asked.append((settings, arguments))
        print("seen from here")
        return 1

    monkeypatch.setattr(diagnose_command, "diagnose", diagnose)
    return asked


def test_where_no_pod_of_the_operator_runs_diagnose_uses_the_users_rights(
    terminal: Terminal, here: list[tuple[Settings, argparse.Namespace]]
) -> None:
    policy = {"name": "CNPGP_DEFAULT_RESTART_POLICY", "value": "Never"}
    install_operator(terminal.cluster, available=0, extra=(policy,))
    status, out, err = terminal("diagnose", "--kubeconfig", "/some/config")
    assert (status, out) == (1, "seen from here\n")
    assert "has no available pod: this uses your own rights" in err
    [(settings, arguments)] = here
    assert settings.restart_policy == "Never", "the operator's own settings count"
    assert settings.kubeconfig
    assert (arguments.namespace, arguments.no_handshake) == ("cnpg-system", True)
    assert terminal.kubectl.ran == []


def test_diagnose_can_be_asked_to_do_without_the_operator(
    terminal: Terminal, here: list[tuple[Settings, argparse.Namespace]]
) -> None:
    terminal.cluster.objects.clear()
    assert terminal("diagnose", "--local")[0] == 1
    assert len(here) == 1


DIAGNOSIS = {
    "namespaces": [
        {
            "namespace": "cnpg-system",
            "cnpg": [{"sees": "Deployment cnpg", "decides": "restart: Wait for hello"}],
            "error": "",
        }
    ],
    "plugins": [
        {
            "namespace": "cnpg-system",
            "name": "hello",
            "conditions": [
                {"type": "Available", "decided": {"reason": "Available", "message": "fine"}},
                {"type": "Registered", "decided": {"reason": "RestartPending", "message": "soon"}},
            ],
        }
    ],
}


def test_the_restart_plan_says_what_would_restart_cloudnativepg(terminal: Terminal) -> None:
    terminal.kubectl.answer = Done(1, json.dumps(DIAGNOSIS))
    status, out, _ = terminal("restart-plan")
    assert status == 1
    assert "cnpg-system/hello: RestartPending: soon" in out
    assert "restart: Wait for hello" in out
    assert json.loads(terminal("restart-plan", "-o", "json")[1])["restart"] is True


def test_a_plan_without_a_restart_says_so(terminal: Terminal) -> None:
    terminal.kubectl.answer = Done(1, json.dumps({**DIAGNOSIS, "plugins": []}))
    status, out, _ = terminal("restart-plan")
    assert status == 0, "that a plugin is not Ready is another question"
    assert "No plugin waits for a restart of CloudNativePG." in out
    terminal.kubectl.answer = Done(2, json.dumps({"namespaces": [], "plugins": []}))
    assert terminal("restart-plan")[0] == 2
    terminal.kubectl.answer = Done(2, "", "cannot list")
    assert "the command said no JSON: cannot list" in terminal("restart-plan")[2]


def test_several_operators_are_told_apart_by_what_they_manage(terminal: Terminal) -> None:
    terminal.cluster.put(kinds.PLUGIN, resource("hello"))
    install_operator(terminal.cluster, namespace="others", manages="elsewhere")
    assert terminal("handshake", "hello")[0] == 0
    assert terminal.kubectl.ran[-1][0] == "operators"
    install_operator(terminal.cluster, namespace="third")
    assert (
        "several operators (operators/operator, third/operator)"
        in terminal("handshake", "hello")[2]
    )
    assert terminal("handshake", "hello", "--operator-namespace=third")[0] == 0
    assert "no Deployment with label" in terminal("diagnose", "--operator-namespace=none")[2]


def test_without_the_right_to_find_the_operator_its_namespace_can_be_named(
    terminal: Terminal,
) -> None:
    terminal.kubectl.forbidden.add(kinds.DEPLOYMENT)
    assert "name it by --operator-namespace" in terminal("diagnose")[2]


@pytest.mark.parametrize("words", [(), ("surprise",), ("status", "-o", "wide"), ("renew",)])
def test_wrong_arguments_are_usage_errors(terminal: Terminal, words: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as ended:
        terminal(*words)
    assert ended.value.code == 2


def test_the_version_is_that_of_the_package(terminal: Terminal, capsys: Captured) -> None:
    with pytest.raises(SystemExit) as ended:
        terminal("--version")
    assert ended.value.code == 0
    assert capsys.readouterr().out.strip().count(".") == 2


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], ["--help", "--version", "approve", "diagnose", "handshake", "migrate"]),
        (["re"], ["renew", "report", "restart-plan"]),
        (["status", ""], ["hello", "other"]),
        (["renew", "o"], ["other"]),
        (["status", "-A", "h"], ["hello"]),
        (["status", "-n", "elsewhere", ""], []),
        (["status", "-o", ""], ["json", "text", "yaml"]),
        (["report", ""], []),
        (["report", "-f", ""], []),
        (["restart-plan", "--l"], ["--local"]),
        (["status", "-n"], ["-n"]),
        (["status", "--namespace", "-n", ""], []),
    ],
)
def test_tab_completes_commands_flags_and_names(
    terminal: Terminal, words: list[str], expected: list[str]
) -> None:
    for name in ("hello", "other"):
        terminal.cluster.put(kinds.PLUGIN, resource(name))
    found, directive = complete(words, lambda _: terminal.kubectl)
    assert found[: len(expected)] == expected
    assert bool(found) == bool(expected)
    assert directive == (0 if words[-2:-1] == ["-f"] else 4)


def test_tab_is_quiet_where_nothing_can_be_read(terminal: Terminal) -> None:
    terminal.kubectl.forbidden.add(kinds.PLUGIN)
    assert complete(["status", ""], lambda _: terminal.kubectl) == ([], 4)


def test_each_script_of_the_package_is_there() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for place in project["scripts"].values():
        module, _, function = place.partition(":")
        assert callable(getattr(importlib.import_module(module), function))


@pytest.mark.parametrize("words", [("--help",), ("status", "--help"), ("status",)])
def test_help_and_status_load_no_large_package(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECTL", "/nowhere/kubectl")
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS, *words], capture_output=True, text=True, check=True
    )
    assert not {*done.stdout.splitlines()[-1].split()} & HEAVY


def test_kubectl_that_is_missing_is_an_error(terminal: Terminal) -> None:
    def connect(_: argparse.Namespace) -> FakeKubectl:
        raise errors.UnavailableError("cannot run kubectl")

    assert run(["status"], connect) == 2
