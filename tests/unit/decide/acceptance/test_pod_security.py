"""The Baseline table of the Pod Security Standards, control by control."""

from typing import Any

import pytest

from cnpg_plugin_operator.api.conditions import Reason, Status
from cnpg_plugin_operator.decide.acceptance.acceptance import decide_acceptance
from cnpg_plugin_operator.decide.acceptance.pod_security import CONTROLS, SHOWN
from cnpg_plugin_operator.decide.acceptance.pods import find_pod_problems
from cnpg_plugin_operator.desired.workload import build_pod_template
from tests.support.pod_security import ACCEPTED, REFUSED, SIDECARS_TOO
from tests.support.unit.builders import plugin
from tests.unit.decide.acceptance.test_acceptance import given
from tests.unit.decide.acceptance.test_sidecars import judge

BASELINE = {
    "HostProcess",
    "Host Namespaces",
    "Privileged Containers",
    "Capabilities",
    "HostPath Volumes",
    "Host Ports",
    "Host Probes / Lifecycle Hooks",
    "AppArmor",
    "SELinux",
    "/proc Mount Type",
    "Seccomp",
    "Sysctls",
}
"""The controls of the Baseline table, as its document names them (Kubernetes 1.34)."""

BEYOND = {"Volume Types", "Node Name"}
ROWS = {
    row[0]: (control, row[1], row[2]) for control, rows in REFUSED.items() for row in rows
}  # fmt: skip
GOOD = [
    pytest.param(control, spec, id=f"{control}: {name}")
    for control, rows in ACCEPTED.items()
    for name, spec in rows
]


def test_every_control_of_the_table_is_checked_and_has_its_rows() -> None:
    names = [control.name for control in CONTROLS]

    assert set(names) == BASELINE | BEYOND
    assert len(names) == len(set(names))
    assert list(REFUSED) == list(ACCEPTED) == names


def speaking(spec: dict[str, Any]) -> list[str]:
    """Which controls refuse a plugin with this spec."""
    template = build_pod_template(plugin(**spec))
    return [control.name for control in CONTROLS if list(control.check(template))]


@pytest.mark.parametrize("row", ROWS)
def test_a_forbidden_field_is_refused_by_its_control_alone(row: str) -> None:
    control, spec, words = ROWS[row]
    verdict = decide_acceptance(given(plugin(**spec)))

    assert (verdict.status, verdict.reason) == (Status.FALSE, Reason.INVALID_SPEC)
    assert words in verdict.message
    assert speaking(spec) == [control]


@pytest.mark.parametrize(("control", "spec"), GOOD)
def test_an_allowed_field_is_accepted(control: str, spec: dict[str, Any]) -> None:
    assert decide_acceptance(given(plugin(**spec))).status is Status.TRUE
    assert speaking(spec) == []


@pytest.mark.parametrize("row", SIDECARS_TOO)
def test_the_controls_apply_to_sidecars(row: str) -> None:
    _, spec, words = ROWS[row]
    found = judge(spec)

    assert found is not None
    assert found[0] is Reason.INVALID_SPEC
    assert words.partition(" (container")[0] in found[1]


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param({"podTemplate": {"spec": None}}, id="no pod at all"),
        pytest.param({"volumes": [{"name": ["x"], "hostPath": {}}]}, id="a name that is a list"),
        pytest.param({"securityContext": {"seccompProfile": "none"}}, id="a text as a profile"),
        pytest.param({"securityContext": {"procMount": {"a": 1}}}, id="an object as a value"),
        pytest.param(
            {"podTemplate": {"metadata": {"annotations": ["x"]}}}, id="a list of annotations"
        ),
        pytest.param(
            {"securityContext": {"capabilities": {"add": [["ALL"]]}}}, id="a list in a list"
        ),
        pytest.param(
            {"podTemplate": {"spec": {"ephemeralContainers": ["x"]}}}, id="a text as a container"
        ),
    ],
)
def test_a_malformed_pod_is_refused(spec: dict[str, Any]) -> None:
    verdict = decide_acceptance(given(plugin(**spec)))

    assert verdict.reason is Reason.INVALID_SPEC
    assert "is invalid" in verdict.message


def test_refused_values_are_repeated_only_in_part() -> None:
    long = "x" * 30_000
    subject = plugin(
        securityContext={"capabilities": {"add": [long]}, "procMount": long},
        podSecurityContext={"sysctls": [{"name": long, "value": "1"}]},
        volumes=[{"name": long, "hostPath": {}}, {"name": long, long: {}}],
    )
    problems = list(find_pod_problems(subject, build_pod_template(subject)))

    assert len(problems) == 5
    assert all(len(problem) < 3 * SHOWN for problem in problems)


@pytest.mark.parametrize(
    "field", [{"finalizers": ["example.com/never"]}, {"ownerReferences": [{}]}, {"name": "x"}]
)
def test_a_template_has_no_metadata_but_labels_and_annotations(
    field: dict[str, Any],
) -> None:
    verdict = decide_acceptance(given(plugin(podTemplate={"metadata": field})))

    assert verdict.reason is Reason.INVALID_SPEC
    assert f"metadata.{next(iter(field))}" in verdict.message


def test_an_exported_template_without_a_time_is_accepted() -> None:
    metadata = {"creationTimestamp": None, "labels": {"a": "b"}}
    assert decide_acceptance(given(plugin(podTemplate={"metadata": metadata}))).is_true
