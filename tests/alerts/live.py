"""A real cluster whose operator a real Prometheus scrapes, with the chart's rules sped up."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from tests.alerts.prometheus import Alert, Prometheus, Target, running
from tests.alerts.scaling import seconds, speed_up
from tests.support import wait
from tests.support.chart.rendering import CHART, one, render
from tests.support.e2e.installation import OPERATOR_NAMESPACE
from tests.support.e2e.meanwhile import meanwhile
from tests.support.e2e.operator import Operator
from tests.support.e2e.plugins import Plugins

FACTOR: Final = 10
"""Plugins and the operator keep their own times: what is too short for an alert here is far from
one with the chart's times."""

PATIENCE: Final = 240.0
"""Seconds for what has no time of its own, on a busy machine."""

VALUES: Final = {
    "metrics": {"prometheusRule": {"enabled": True}},
    "namespaceOverride": OPERATOR_NAMESPACE,
}
ALERTS: Final[Mapping[str, dict[str, Any]]] = {
    rule["alert"].removeprefix("CNPGPlugin"): rule
    for rule in yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())
    if "alert" in rule
}
"""As the chart has them, without a run of Helm."""

AFTER: Final = {alert: str(rule["for"]) for alert, rule in ALERTS.items()}
"""How long each alert waits for its cause to last, with the chart's times."""

TIMES: Final = {alert: seconds(speed_up([rule], FACTOR)[0]) for alert, rule in ALERTS.items()}


@dataclass
class World:
    """What the tests act on."""

    operator: Operator
    plugins: Plugins
    prometheus: Prometheus

    def until_ready(self, name: str) -> None:
        """Wait until a plugin is Ready, and Prometheus knows."""
        self.plugins.until_ready(name, within=PATIENCE)
        query = f'cnpg_plugin_ready_status{{name="{name}",status="True"}} == 1'
        wait.until("Prometheus knows", lambda: self.prometheus.query(query), within=PATIENCE)

    def until_fired(self, alert: Alert, since: float) -> None:
        """Wait until an alert has fired."""
        wait.until(
            f"{alert} fires",
            lambda: alert in self.prometheus.fired(since),
            within=TIMES[alert[0]] + PATIENCE,
            explain=lambda: self._explain(alert),
            pause=1,
        )

    def until_resolved(self, alert: Alert) -> None:
        """Wait until an alert does not fire any more."""
        wait.until(
            f"{alert} resolves",
            lambda: alert not in self.prometheus.firing(),
            within=PATIENCE,
            explain=lambda: self._explain(alert),
            pause=1,
        )

    def until_nothing_is_about_to_fire(self) -> None:
        """Wait until no alert is pending."""
        wait.until(
            "no alert is pending",
            lambda: not self.prometheus.firing("pending"),
            within=max(TIMES.values()) + PATIENCE,
            explain=lambda: str(self.prometheus.firing("pending")),
            pause=1,
        )

    def _explain(self, alert: Alert) -> str:
        states = {state: self.prometheus.firing(state) for state in ("firing", "pending")}
        name = alert[1]
        return f"{states}\n{self.plugins.explain(name) if name else self.operator.log_tail()}"


@contextmanager
def watched(operator: Operator, directory: Path) -> Iterator[World]:
    """Let a Prometheus follow the operator's pods from now on, ready or not, as monitors do."""
    plugins = Plugins(operator)
    (group,) = one(render(VALUES), "PrometheusRule")["spec"]["groups"]
    rules = speed_up(group["rules"], FACTOR)
    with running(directory, rules, cluster=operator.cluster) as prometheus:
        follow = _Following(operator, prometheus)
        with meanwhile(follow, every=0.5):
            yield World(operator, plugins, prometheus)
    plugins.clean_up()


class _Following:
    """Tells Prometheus the addresses of the operator's pods, whenever they change."""

    def __init__(self, operator: Operator, prometheus: Prometheus) -> None:
        self._operator, self._prometheus = operator, prometheus
        self._told: list[str] = []

    def __call__(self) -> None:
        found = sorted(address for pod in self._operator.pods() if (address := _address(pod)))
        if found != self._told:
            self._prometheus.scrape([_target(address) for address in found])
            self._told = found


def _address(pod: Mapping[str, Any]) -> str:
    return "" if "deletionTimestamp" in pod["metadata"] else pod["status"].get("podIP", "")


def _target(address: str) -> Target:
    return {"targets": [f"{address}:8080"], "labels": {"namespace": OPERATOR_NAMESPACE}}
