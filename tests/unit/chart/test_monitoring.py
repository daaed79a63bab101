"""What the chart gives a Prometheus operator and a Grafana."""

import json
import re

from cnpg_plugin_operator.telemetry import Metrics
from tests.support.chart.rendering import ROOT, Manifest, of_kind, one, render
from tests.support.chart.value_sets import EVERYTHING
from tests.support.dashboard import alerts, panels
from tests.support.promtool import read_query


def rules(rendered: list[Manifest]) -> dict[str, Manifest]:
    """The alerts of the rendered rule by their names."""
    [group] = one(rendered, "PrometheusRule")["spec"]["groups"]
    return {rule["alert"]: rule for rule in group["rules"] if "alert" in rule}


def test_every_alert_says_how_severe_it_is_what_it_means_and_where_to_read_on() -> None:
    found = rules(render({"metrics": {"prometheusRule": {"enabled": True}}}))
    page = (ROOT / "docs" / "operate" / "monitoring.md").read_text()
    assert re.findall(r"^### (CNPGPlugin\w+)$", page, re.MULTILINE) == list(found)
    for name, rule in found.items():
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
        assert rule["annotations"]["runbook_url"].endswith(f"/monitoring/#{name.lower()}")
        assert rule["for"]
        assert "OPERATOR_NAMESPACE" not in rule["expr"]


def test_alerts_can_be_labelled_and_left_out() -> None:
    rendered = render(EVERYTHING)
    assert one(rendered, "PrometheusRule")["metadata"]["labels"]["release"] == "prometheus"
    found = rules(rendered)
    assert "CNPGPluginStaleWatch" not in found
    for name, rule in found.items():
        assert rule["labels"] == {"team": "databases", "severity": "page"}
        link = rule["annotations"]["runbook_url"]
        assert link == f"https://runbooks.example.org/{name.lower()}.html"


def test_the_dashboard_is_what_grafanas_sidecar_reads() -> None:
    [found] = [
        each
        for each in of_kind(render(EVERYTHING), "ConfigMap")
        if each["metadata"]["name"].endswith("-dashboard")
    ]
    assert found["metadata"]["namespace"] == "grafana"
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert found["metadata"]["annotations"]["grafana_folder"] == "CNPG"
    shown = json.loads(found["data"]["cnpg-plugin-operator.json"])["panels"]
    assert len({panel["id"] for panel in shown}) == len(shown)
    assert len({panel["title"] for panel in shown}) == len(shown)
    places = {
        (x, y)
        for each in (panel["gridPos"] for panel in shown)
        for x in range(each["x"], each["x"] + each["w"])
        for y in range(each["y"], each["y"] + each["h"])
    }
    sizes = [panel["gridPos"]["w"] * panel["gridPos"]["h"] for panel in shown]
    assert len(places) == sum(sizes), "no panel covers another one"


def test_each_query_is_about_metrics_and_labels_of_the_operator() -> None:
    registry = Metrics().registry
    known: dict[str, set[str]] = {
        sample.name: {*sample.labels} for family in registry.collect() for sample in family.samples
    }
    for name, collector in registry._names_to_collectors.items():
        known[name] = {*getattr(collector, "_labelnames", ())}
    added = {"instance", "le", "namespace"}  # the target's, and that of a histogram
    queries = [query for found in panels().values() for query in found]
    for query in (*queries, *alerts().values()):
        metrics, groups = read_query(query)
        assert metrics, query
        for name, selected in metrics.items():
            assert name in known, query
            assert selected <= known[name] | added, query
        assert groups <= set().union(added, *(known[name] for name in metrics)), query
