"""When the previous Deployment is scaled, by the row."""

from dataclasses import replace
from typing import Any

import pytest

from cnpg_plugin_operator.api.conditions import Reason, Verdict, no, unknown, yes
from cnpg_plugin_operator.decide.facts.take_over import Previous, PreviousDeployment, Scaling
from cnpg_plugin_operator.decide.workload.take_over import (
    ScalingInput,
    Step,
    decide_scaling,
    gave_way,
)
from tests.support.unit.builders import NOW, ago, plugin

TAKING: dict[str, Any] = {"takeOver": {"serviceName": "old"}}
CAUSE = "uid-of-hello/1"
SILENT = no(Reason.NOT_LISTENING, "nothing listens")
UNREACHABLE = no(Reason.UNREACHABLE, "refused")
READY = yes(Reason.AVAILABLE, "runs")
RUNNING = PreviousDeployment("old", 2)
DOWN = PreviousDeployment("old", 0, Scaling(ago(20), CAUSE, 2))
LONG_DOWN = PreviousDeployment("old", 0, Scaling(ago(60), CAUSE, 2))
BACK = PreviousDeployment("old", 2, Scaling(ago(90), CAUSE, 2, restored=True))
TRIED_BEFORE = PreviousDeployment("old", 2, Scaling(ago(90), "uid-of-hello/0", 2, restored=True))


def previous(deployment: PreviousDeployment, **facts: Any) -> Previous:
    usual = Previous(
        "old", published=True, foreign=True, deployments=(deployment,), leases=("lease",)
    )
    return replace(usual, **facts)


def decide(verdict: Verdict, deployment: PreviousDeployment, **facts: Any) -> Step | None:
    given = previous(deployment, **facts)
    return decide_scaling(ScalingInput(plugin(**TAKING), given, verdict, NOW))


@pytest.mark.parametrize("verdict", [SILENT, UNREACHABLE], ids=["not ready", "ready elsewhere"])
@pytest.mark.parametrize("deployment", [RUNNING, TRIED_BEFORE], ids=["first", "another spec"])
def test_a_leader_that_the_plugin_waits_for_is_scaled_down(
    verdict: Verdict, deployment: PreviousDeployment
) -> None:
    step = decide(verdict, deployment)
    assert step is not None
    assert step.scale == (("old", 0, Scaling(NOW, CAUSE, 2)),)
    assert step.verdict.status == "Unknown"


LEFT_ALONE: list[tuple[str, Verdict, dict[str, Any]]] = [
    ("the pods still start", unknown(Reason.ROLLOUT_IN_PROGRESS, "starts"), {}),
    ("the image cannot be pulled", no(Reason.IMAGE_PULL_ERROR, "no image"), {}),
    ("the pods exit", no(Reason.CRASH_LOOP, "exits"), {}),
    ("a first connection failed", unknown(Reason.UNREACHABLE, "refused"), {}),
    ("the plugin has another name", no(Reason.IDENTITY_MISMATCH, "another"), {}),
    ("the plugin is available", READY, {}),
    ("no previous pod holds a Lease", SILENT, {"leases": ()}),
    ("CloudNativePG has moved on", SILENT, {"published": False}),
]


@pytest.mark.parametrize(
    ("verdict", "facts"), [row[1:] for row in LEFT_ALONE], ids=[row[0] for row in LEFT_ALONE]
)
def test_the_previous_deployment_is_left_alone(verdict: Verdict, facts: dict[str, Any]) -> None:
    assert decide(verdict, RUNNING, **facts) is None


def test_nothing_is_scaled_before_the_status_says_what_there_was() -> None:
    step = decide(SILENT, RUNNING, recorded=False)
    assert step is not None
    assert not step.scale
    assert step.look is not None


def test_the_plugin_has_a_minute_to_serve() -> None:
    step = decide(SILENT, DOWN)
    assert step is not None
    assert (step.verdict.status, step.scale, step.look) == ("Unknown", (), ago(-40))
    assert decide(READY, DOWN) is None


def test_a_plugin_that_does_not_serve_gives_way() -> None:
    step = decide(SILENT, LONG_DOWN)
    assert step is not None
    assert step.scale == (("old", 2, Scaling(ago(60), CAUSE, 2, restored=True)),)
    assert step.verdict.reason is Reason.TAKE_OVER_FAILED


@pytest.mark.parametrize("verdict", [SILENT, READY], ids=["silent", "of no replicas"])
def test_a_plugin_that_gave_way_waits_for_another_spec(verdict: Verdict) -> None:
    step = decide(verdict, BACK)
    assert step is not None
    assert (step.verdict.reason, step.scale) == (Reason.TAKE_OVER_FAILED, ())
    assert gave_way(plugin(**TAKING), previous(BACK))


@pytest.mark.parametrize(
    "given", [None, previous(TRIED_BEFORE), previous(DOWN), previous(BACK, published=False)]
)
def test_a_plugin_runs_unless_it_gave_way(given: Previous | None) -> None:
    assert not gave_way(plugin(**TAKING), given)
