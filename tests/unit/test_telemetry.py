"""A log line is one line, whatever text it contains; metrics follow the status."""

import json
import logging

import pytest

from cnpg_plugin_operator.api.untrusted import TEXT_LIMIT
from cnpg_plugin_operator.endpoints.application import build_application
from cnpg_plugin_operator.telemetry import (
    JSONFormatter,
    Metrics,
    Readiness,
    TextFormatter,
)

EVIL = "\x1b[31mred\r\nsecond\u2028third" + "x" * 50_000


def record(message: str, *, failing: bool = False, **extra: object) -> logging.LogRecord:
    error = (ValueError, ValueError(EVIL), None) if failing else None
    made = logging.makeLogRecord({"msg": message, "exc_info": error, **extra})
    made.levelname = "INFO"
    return made


@pytest.mark.parametrize("failing", [False, True])
def test_a_text_line_is_printable(failing: bool) -> None:  # noqa: FBT001
    lines = TextFormatter().format(record(EVIL, failing=failing, plugin=EVIL)).split("\n")

    assert all(line.isprintable() for line in lines)
    assert len(lines) == 1 or failing
    assert all(len(line.encode()) <= 3 * TEXT_LIMIT for line in lines)


def test_a_json_line_contains_printable_texts() -> None:
    found = json.loads(JSONFormatter().format(record(EVIL, failing=True, plugin=EVIL, wait=0.5)))

    assert found["msg"].isprintable()
    assert found["plugin"].isprintable()
    assert len(found["msg"].encode()) <= TEXT_LIMIT
    assert all(line.isprintable() for line in found["error"].split("\n"))
    assert found["wait"] == 0.5


def condition(kind: str, status: str, reason: str) -> dict[str, str]:
    return {"type": kind, "status": status, "reason": reason}


def series(metrics: Metrics) -> dict[str, float]:
    """The series of plugins, written short."""
    return {
        ",".join([sample.name.removeprefix("cnpg_plugin_"), *sample.labels.values()]): sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.labels.get("name") == "hello"
    }


def test_the_state_of_a_plugin_is_a_fixed_set_of_series() -> None:
    metrics = Metrics()
    ready = condition("Ready", "Unknown", "Issuing")
    metrics.states.set("ns", "hello", {"conditions": [ready]})
    assert series(metrics) == {
        "ready_status,ns,hello,True": 0,
        "ready_status,ns,hello,False": 0,
        "ready_status,ns,hello,Unknown": 1,
        "condition,ns,hello,Ready,Unknown,Issuing": 1,
        "suspended,ns,hello": 0,
        "sidecar_quarantined,ns,hello": 0,
    }
    conditions = [condition("Ready", "True", "Ready"), condition("Suspended", "True", "Suspended")]
    quarantine = {"reason": "CrashLoop"}
    metrics.states.set(
        "ns", "hello", {"conditions": conditions, "sidecar": {"quarantine": quarantine}}
    )
    found = series(metrics)
    assert "condition,ns,hello,Ready,Unknown,Issuing" not in found, "the last state is gone"
    assert found["ready_status,ns,hello,True"] == 1
    assert (found["suspended,ns,hello"], found["sidecar_quarantined,ns,hello"]) == (1, 1)


def test_the_series_of_a_deleted_plugin_go() -> None:
    metrics = Metrics()
    metrics.ready.labels("ns", "hello").set(1)
    metrics.states.set("ns", "hello", {"conditions": [condition("Ready", "True", "Ready")]})
    metrics.states.set("ns", "other", {})
    metrics.forget("ns", "hello")
    assert series(metrics) == {}
    other = {"namespace": "ns", "name": "other"}
    assert metrics.registry.get_sample_value("cnpg_plugin_suspended", other) == 0


def test_whether_everything_is_watched_is_a_metric_as_well() -> None:
    metrics, readiness = Metrics(), Readiness()
    build_application(metrics, readiness)
    watching = "cnpg_plugin_operator_watching"
    assert metrics.registry.get_sample_value(watching) == 0
    readiness.gain()
    assert metrics.registry.get_sample_value(watching) == 1
    readiness.lose("a watch broke", "Pods")
    assert metrics.registry.get_sample_value(watching) == 0


def test_requests_are_counted_under_the_names_of_client_go() -> None:
    metrics = Metrics()
    metrics.requests.count("200", "get", "api:6443", 0.01)
    labels = {"code": "200", "method": "GET", "host": "api:6443"}
    assert metrics.registry.get_sample_value("rest_client_requests_total", labels) == 1
    verb = {"verb": "GET", "host": "api:6443"}
    name = "rest_client_request_duration_seconds_count"
    assert metrics.registry.get_sample_value(name, verb) == 1
