"""Argo CD's health check says for each state of a plugin what Argo CD should show.

It runs in Argo CD's own interpreter, with the libraries that Argo CD gives it.
"""

import json
import re
import subprocess
import textwrap
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from cnpg_plugin_operator.api.conditions import Reason
from cnpg_plugin_operator.cluster import kinds
from tests.cluster.builds import Program, build
from tests.support.unit.builders import resource
from tests.unit.reconcile import states
from tests.unit.reconcile.stage import Stage

ROOT = Path(__file__).resolve().parents[2]
SCRIPT: Final = ROOT / "config" / "argocd" / "health.lua"
INTERPRETER: Final = Program("lua", ROOT / "tests" / "plugins" / "lua")

Health = Callable[[Any], dict[str, str]]


@pytest.fixture(scope="module")
def health() -> Iterator[Health]:
    """Judges an object as Argo CD does."""
    build([INTERPRETER])
    argv = [INTERPRETER.binary, SCRIPT]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as lua:

        def judge(body: Any) -> dict[str, str]:
            assert lua.stdin is not None
            assert lua.stdout is not None
            lua.stdin.write(json.dumps(body) + "\n")
            lua.stdin.flush()
            answer: dict[str, str] = json.loads(lua.stdout.readline())
            assert answer["error"] == ""
            return answer

        yield judge
        assert lua.stdin is not None
        lua.stdin.close()


@pytest.mark.parametrize(
    ("make", "expected", "says"),
    [
        (states.newborn, "Progressing", "has not seen the last change yet"),
        (states.progressing, "Progressing", "Issuing: "),
        (states.ready, "Healthy", "Ready: "),
        (states.suspended, "Suspended", "spec.suspend is set"),
        (states.in_use, "Progressing", "InUse: "),
        (states.refused, "Degraded", "InvalidSpec: "),
        (states.another, "Degraded", "IdentityMismatch: "),
        (states.restarting, "Progressing", "RestartPending: "),
        (states.waiting, "Suspended", "AwaitingApproval: "),
        (states.quarantined, "Degraded", "CrashLoop: "),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
async def test_each_state_that_the_operator_reports(
    health: Health, make: Callable[[], Coroutine[Any, Any, Stage]], expected: str, says: str
) -> None:
    stage = await make()
    found = health(stage.client.the(kinds.PLUGIN, "hello"))
    assert found["status"] == expected
    assert says in found["message"]


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


def test_the_documentation_shows_this_script() -> None:
    page = (ROOT / "docs" / "install" / "gitops.md").read_text()
    [shown] = re.findall(r"health\.cnpgplugin\.dev_CNPGPlugin: \|\n(.*?)```", page, re.DOTALL)
    assert textwrap.dedent(shown).strip() == SCRIPT.read_text().strip()
