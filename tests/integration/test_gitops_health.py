"""Argo CD, kubectl, Helm 4 and Flux read each state of a plugin as they should.

Argo CD's health check runs in Argo CD's own interpreter, with the libraries that Argo CD gives it;
Helm 4 and Flux use the library kstatus. Helm 4 itself runs in `tests/helm`.
"""

import asyncio
import contextlib
import json
import re
import subprocess
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.conditions import (
    FINAL,
    SUMMED_UP,
    Reason,
    Status,
    Type,
    Verdict,
    yes,
)
from cnpg_plugin_operator.api.status import merge
from tests.cluster import Cluster
from tests.cluster.builds import Program, build
from tests.support.e2e import live_states
from tests.support.e2e.api import Api, Object
from tests.support.e2e.plugins import collection
from tests.support.unit.builders import NOW, resource
from tests.support.unit.stage.readings import READINGS, Reading

ROOT = Path(__file__).resolve().parents[2]
SCRIPT: Final = ROOT / "config" / "argocd" / "health.lua"
NAMESPACE: Final = "e2e-readings"
JUDGE: Final = Program("health", ROOT / "tests" / "plugins" / "health")

Health = Callable[[Any], dict[str, str]]


@contextlib.contextmanager
def judging(*words: object) -> Iterator[Health]:
    """Judge objects as a tool does."""
    build([JUDGE])
    argv = [str(JUDGE.binary), *map(str, words)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as judge:
        asking, answering = judge.stdin, judge.stdout
        assert asking is not None
        assert answering is not None

        def ask(body: Any) -> dict[str, str]:
            asking.write(json.dumps(body) + "\n")
            asking.flush()
            answer: dict[str, str] = json.loads(answering.readline())
            assert answer["error"] == ""
            return answer

        yield ask
        asking.close()


@pytest.fixture(scope="module")
def health() -> Iterator[Health]:
    """Judges an object as Argo CD does."""
    with judging(SCRIPT) as argo:
        yield argo


@pytest.fixture(scope="module")
def kstatus() -> Iterator[Health]:
    """Judges an object as Helm 4 and Flux do."""
    with judging() as library:
        yield library


@pytest.fixture(scope="module")
def live(cluster: Cluster, api: Api) -> Iterator[dict[str, Object]]:
    """A resource in each state, as the API server shows it."""
    found = {}
    with live_states.namespace(cluster, api, NAMESPACE):
        for reading in READINGS:
            body = asyncio.run(live_states.build(reading))
            made = live_states.manifest(reading, body, NAMESPACE)
            api.create(collection("CNPGPlugin", NAMESPACE), made)
            found[reading.name] = live_states.report(api, reading, body, NAMESPACE)
        yield found


@pytest.mark.parametrize("reading", READINGS, ids=str)
def test_each_state_that_the_operator_reports(
    cluster: Cluster,
    live: dict[str, Object],
    health: Health,
    kstatus: Health,
    reading: Reading,
) -> None:
    body = live[reading.name]
    found = health(body)
    assert (found["status"], kstatus(body)["status"]) == (reading.argo, reading.kstatus)
    assert reading.says in found["message"]
    ends = tuple(ends_waiting(cluster, reading.name, each) for each in ("Ready", "Stalled"))
    assert ends == (reading.ready, reading.stalled)


def ends_waiting(cluster: Cluster, name: str, condition: str) -> bool:
    """Whether `kubectl wait` for a condition ends now."""
    argv = cluster.kubectl_argv(
        *("wait", f"cnpgplugin/{name}", f"--namespace={NAMESPACE}"),
        *(f"--for=condition={condition}", "--timeout=0s"),
    )
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0 or "condition not met" in done.stderr, done.stderr
    return done.returncode == 0


def reported(status: str, reason: str, **more: Any) -> dict[str, Any]:
    """A resource with a condition Ready."""
    ready = {"type": "Ready", "status": status, "reason": reason, "message": "Words."}
    body = resource()
    body["status"] = {"observedGeneration": 1, "conditions": [ready], **more}
    return body


@pytest.mark.parametrize("reason", list(Reason))
@pytest.mark.parametrize(
    ("status", "expected"), [("True", "Healthy"), ("False", "Degraded"), ("Unknown", "Progressing")]
)
def test_each_reason(health: Health, reason: Reason, status: str, expected: str) -> None:
    found = health(reported(status, reason))
    waits = status == "Unknown" and reason is Reason.AWAITING_APPROVAL
    assert found["status"] == ("Suspended" if waits else expected)
    assert found["message"] == f"{reason}: Words."


@pytest.mark.parametrize("reason", list(Reason))
@pytest.mark.parametrize("status", list(Status))
def test_tools_stop_waiting_only_where_a_person_has_to_act(
    kstatus: Health, reason: Reason, status: Status
) -> None:
    verdicts = {kind: yes(Reason.ACCEPTED, "fine") for kind in SUMMED_UP}
    verdicts[Type.REGISTERED] = Verdict(status, reason, "Words.")
    body = resource()
    conditions = merge((), verdicts, generation=1, now=NOW)
    body["status"] = {"observedGeneration": 1, "conditions": list(conditions)}
    final = "Failed" if reason in FINAL else "InProgress"
    expected = {Status.TRUE: "Current", Status.UNKNOWN: "InProgress", Status.FALSE: final}
    assert kstatus(body)["status"] == expected[status]


def test_what_only_a_person_can_change_is_degraded(health: Health) -> None:
    body = reported("Unknown", "Issuing")
    body["status"]["conditions"].append({"type": "Stalled", "status": "True", "reason": "Odd"})
    assert health(body)["status"] == "Degraded"


def test_after_a_change_the_last_verdict_does_not_count(health: Health) -> None:
    body = reported("True", "Ready")
    body["metadata"]["generation"] = 2
    assert health(body)["status"] == "Progressing"


def test_a_deletion_is_progress_whatever_the_status_says(health: Health) -> None:
    body = {**reported("False", "Deleting"), "spec": "unparsable"}
    body["metadata"]["deletionTimestamp"] = "2026-03-01T12:00:00Z"
    assert health(body)["status"] == "Progressing"


@pytest.mark.parametrize(
    "status",
    [
        None,
        "text",
        [],
        {},
        {"observedGeneration": -1},
        {"observedGeneration": 1, "conditions": None},
        {"observedGeneration": 1, "conditions": "text"},
        {"observedGeneration": 1, "conditions": ["text", 3, None, {}]},
        {"observedGeneration": 1, "conditions": [{"type": "Ready", "message": {"a": 1}}]},
        {"observedGeneration": "1", "conditions": [{"type": "Ready", "status": "True"}]},
    ],
    ids=json.dumps,
)
@pytest.mark.parametrize("spec", [None, "text", [], {"suspend": "yes"}], ids=json.dumps)
def test_what_cannot_be_parsed_is_progress_and_no_error(
    health: Health, status: Any, spec: Any
) -> None:
    assert health({**resource(), "spec": spec, "status": status})["status"] == "Progressing"


PAGE: Final = (ROOT / "docs" / "install" / "gitops.md").read_text()
EXAMPLES: Final = [
    document
    for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    for document in yaml.safe_load_all(block)
]
FLUX: Final = ("HelmRelease", "Kustomization")


def test_the_plain_manifests_of_the_documentation_can_be_applied(cluster: Cluster) -> None:
    plain = [each for each in EXAMPLES if each.get("kind") in ("CNPGPlugin", "Cluster")]
    waves = [each["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"] for each in plain]
    assert waves == ["1", "2"], "a Cluster comes after the plugin that it names"
    for each in plain:
        cluster.kubectl("apply", "--dry-run=server", "-f", "-", input=json.dumps(each))


def test_argo_cd_ignores_what_the_operator_writes_to_cloudnativepgs_deployment() -> None:
    [spec] = [each["spec"] for each in EXAMPLES if "ignoreDifferences" in each.get("spec", {})]
    [ignored] = spec["ignoreDifferences"]
    assert (ignored["group"], ignored["kind"]) == ("apps", "Deployment")
    managers = {names.managers.RESTART, names.managers.SIDECARS}
    assert set(ignored["managedFieldsManagers"]) == managers


def test_flux_creates_databases_after_the_plugins_that_they_name() -> None:
    flux = {
        each["metadata"]["name"]: each for each in EXAMPLES if "flux" in str(each.get("apiVersion"))
    }
    assert flux["databases"]["spec"]["dependsOn"] == [{"name": "plugins"}]
    assert flux["plugins"]["spec"]["wait"] is True, "and so until the plugins are Ready"


def test_the_documentation_shows_this_script() -> None:
    [shown] = re.findall(r"health\.cnpgplugin\.dev_CNPGPlugin: \|\n(.*?)```", PAGE, re.DOTALL)
    assert textwrap.dedent(shown).strip() == SCRIPT.read_text().strip()
