"""Alerts fire for their cause, within their time, and for nothing that a user intends.

Prometheus's own program evaluates the rules as the chart renders them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.chart.rendering import NAMESPACE, one, render
from tests.support.dashboard import panels
from tests.support.promtool import check_queries, check_rules, run_test

ENABLED = {"metrics": {"prometheusRule": {"enabled": True}, "dashboard": {"enabled": True}}}
RULES = one(render(ENABLED), "PrometheusRule")["spec"]["groups"][0]["rules"]
ALERTS = [rule for rule in RULES if "alert" in rule]

HELLO = 'namespace="cnpg-system",name="hello"'
BUILD = f'cnpg_plugin_operator_build_info{{namespace="{NAMESPACE}",version="1"}}'
WATCHING = f'cnpg_plugin_operator_watching{{namespace="{NAMESPACE}"}}'
SUSPENDED = f"cnpg_plugin_suspended{{{HELLO}}}"
QUARANTINED = f"cnpg_plugin_sidecar_quarantined{{{HELLO}}}"
EXPIRY = f'cnpg_plugin_certificate_expiry_timestamp_seconds{{{HELLO},role="server"}}'
USUAL = {
    BUILD: "1x240",
    WATCHING: "1x240",
    SUSPENDED: "0x240",
    QUARANTINED: "0x240",
    EXPIRY: "7776000x240",
}
"""A plugin about which nothing is special, and an operator that runs."""

Series = Mapping[str, str]


def state(status: str, reason: str, *, minutes: int = 240, kind: str = "") -> Series:
    """A plugin's condition Ready for some minutes, because of a condition; afterwards True."""
    found = {
        f'cnpg_plugin_ready_status{{{HELLO},status="{each}"}}': (
            f"{int(each == status)}x{minutes} {int(each == 'True')}x240"
        )
        for each in ("True", "False", "Unknown")
    }
    for each in filter(None, ("Ready", kind)):
        labels = f'{HELLO},type="{each}",status="{status}",reason="{reason}"'
        found[f"cnpg_plugin_condition{{{labels}}}"] = f"1x{minutes} stale"
    return found


def errors(controller: str, a_minute: float) -> Series:
    labels = f'namespace="{NAMESPACE}",controller="{controller}"'
    return {f"controller_runtime_reconcile_errors_total{{{labels}}}": f"0+{a_minute}x240"}


FIRES: list[tuple[str, Series, int, set[str]]] = [
    ("a plugin that crashes", state("False", "CrashLoop", kind="Available"), 17, {"NotReady"}),
    ("a refused spec", state("False", "InvalidSpec", kind="Accepted"), 17, {"NotReady"}),
    ("progress without end", state("Unknown", "Issuing"), 62, {"NotProgressing"}),
    (
        "a certificate that was not renewed",
        state("True", "Expiring", kind="CertificatesReady"),
        17,
        {"CertificateExpiring"},
    ),
    ("a certificate that has expired", {EXPIRY: "600x240"}, 12, {"CertificateExpired"}),
    (
        "a handshake that fails",
        state("False", "TLSRejected", kind="HandshakeSucceeded"),
        12,
        {"HandshakeFailing"},
    ),
    (
        "a restart that is stuck",
        state("False", "RestartStuck", kind="Registered"),
        7,
        {"RestartStuck"},
    ),
    (
        "a restart that is reverted",
        state("False", "RestartReverted", kind="Registered"),
        7,
        {"RestartStuck"},
    ),
    (
        "a restart that is forbidden",
        state("False", "RestartForbidden", kind="Registered"),
        7,
        {"RestartStuck"},
    ),
    ("a sidecar in quarantine", {QUARANTINED: "1x240"}, 7, {"SidecarQuarantined"}),
    (
        "a write loop",
        state("False", "WriteLoopStopped", kind="Available"),
        7,
        {"WriteLoopStopped"},
    ),
    ("passes that fail each minute", errors("cnpgplugins", 1), 30, {"ReconcileErrors"}),
    ("passes of a namespace that fail", errors("namespaces", 1), 30, {"ReconcileErrors"}),
    ("a watch that is missing", {WATCHING: "0x240"}, 12, {"StaleWatch"}),
    ("an operator that does not run", {BUILD: "_x240"}, 12, {"OperatorDown"}),
]
"""Causes, the minute at which the alert has to fire, and the only alerts that may."""

SILENT: list[tuple[str, Series, int]] = [
    ("nothing at all", {}, 200),
    ("a plugin that is Ready", state("True", "Ready"), 200),
    ("a new plugin", state("Unknown", "NotYetReported"), 10),
    ("a rollout", state("Unknown", "RolloutInProgress", kind="Available"), 30),
    ("a crash that is short", state("False", "CrashLoop", minutes=10, kind="Available"), 14),
    ("a crash that is over", state("False", "CrashLoop", minutes=10, kind="Available"), 60),
    ("CNPG's own upgrade", state("False", "CNPGUnavailable", minutes=8, kind="Registered"), 20),
    ("a restart that waits", state("Unknown", "RestartPending", kind="Registered"), 55),
    ("a restart that runs", state("Unknown", "Restarting", kind="Registered"), 30),
    (
        "a handshake that fails once",
        state("False", "NoAnswer", minutes=5, kind="HandshakeSucceeded"),
        30,
    ),
    ("an approval that a user has not given yet", state("Unknown", "AwaitingApproval"), 200),
    ("a deletion", state("False", "Deleting", kind="Accepted"), 200),
    ("a deletion that waits for Clusters", state("False", "InUse", kind="Accepted"), 200),
    (
        "a suspended plugin that was broken",
        {
            **state("False", "TLSRejected", kind="HandshakeSucceeded"),
            SUSPENDED: "1x240",
            QUARANTINED: "1x240",
        },
        200,
    ),
    (
        "a suspended plugin whose restart was stuck",
        {**state("False", "RestartStuck", kind="Registered"), SUSPENDED: "1x240"},
        200,
    ),
    ("a renewal", {EXPIRY: "600x5 7776000x240"}, 200),
    ("the operator's own upgrade", {BUILD: "1x10 _x8 1x240", WATCHING: "1x10 _x8 0x2 1x240"}, 24),
    ("a plugin that is deleted", {SUSPENDED: "0x10 stale", EXPIRY: "7776000x10 stale"}, 60),
    ("a few failed passes", errors("cnpgplugins", 0.2), 200),
    (
        "failed passes of another operator",
        {key.replace(NAMESPACE, "other"): "0+9x240" for key in errors("namespaces", 9)},
        200,
    ),
    (
        "a standby that does not watch",
        {WATCHING: "1x240", WATCHING.replace("}", ',pod="standby"}'): "0x240"},
        200,
    ),
]
"""What happens every day, and the minute until which no alert may fire."""


def firing(series: Series, minute: int, expected: set[str], directory: Path) -> str:
    """Compare the alerts that fire at a minute with those that should."""
    given = {**USUAL, **series}
    samples = [
        {"labels": f'{{alertname="CNPGPlugin{name}"}}', "value": 1} for name in sorted(expected)
    ]
    query = {
        "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
        "eval_time": f"{minute}m",
        "exp_samples": samples,
    }
    inputs = [{"series": name, "values": values} for name, values in given.items()]
    return run_test(directory, RULES, {"input_series": inputs, "promql_expr_test": [query]})


@pytest.mark.parametrize(
    ("series", "minute", "alerts"), [row[1:] for row in FIRES], ids=[row[0] for row in FIRES]
)
def test_an_alert_fires_for_its_cause(
    tmp_path: Path, series: Series, minute: int, alerts: set[str]
) -> None:
    assert firing(series, minute, alerts, tmp_path) == ""


@pytest.mark.parametrize(
    ("series", "minute"), [row[1:] for row in SILENT], ids=[row[0] for row in SILENT]
)
def test_no_alert_fires_for_what_is_intended_or_passes(
    tmp_path: Path, series: Series, minute: int
) -> None:
    assert firing(series, minute, set(), tmp_path) == ""


def test_every_alert_has_a_cause_in_this_table() -> None:
    fired = {f"CNPGPlugin{name}" for row in FIRES for name in row[3]}
    assert {rule["alert"] for rule in ALERTS} == fired


def test_an_alert_names_the_plugin_its_reason_and_its_runbook(tmp_path: Path) -> None:
    [rule] = [each for each in ALERTS if each["alert"] == "CNPGPluginNotReady"]
    description = (
        "The reason is CrashLoop. CloudNativePG may not reconcile Clusters that use the plugin, "
        "failover included. Look at kubectl cnpg-plugin status hello -n cnpg-system."
    )
    expected: dict[str, Any] = {
        "exp_labels": {"namespace": "cnpg-system", "name": "hello", "severity": "critical"},
        "exp_annotations": {
            "summary": "Plugin cnpg-system/hello is not Ready.",
            "description": description,
            "runbook_url": rule["annotations"]["runbook_url"],
        },
    }
    assert rule["annotations"]["runbook_url"].endswith("/monitoring/#cnpgpluginnotready")
    given = {**USUAL, **state("False", "CrashLoop", kind="Available")}
    test = {
        "input_series": [{"series": name, "values": values} for name, values in given.items()],
        "alert_rule_test": [
            {"eval_time": "20m", "alertname": "CNPGPluginNotReady", "exp_alerts": [expected]}
        ],
    }
    assert run_test(tmp_path, RULES, test) == ""


def test_prometheus_reads_the_rules_without_complaint(tmp_path: Path) -> None:
    assert check_rules(tmp_path, RULES) == ""


def test_prometheus_reads_each_query_of_the_dashboard(tmp_path: Path) -> None:
    queries = [query for queries in panels().values() for query in queries]
    assert len(queries) >= 20
    assert check_queries(tmp_path, queries) == ""
