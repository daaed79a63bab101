"""A real Prometheus scrapes operators whose plugins are in each state, and the right alerts fire.

The passes run in memory, and each operator serves its real metrics. The rules are the chart's, sped
up. Promtool's tests say what fires at which minute; here names, labels and values are real.
"""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp import web

from cnpg_plugin_operator.endpoints.application import build_application
from cnpg_plugin_operator.telemetry import Readiness
from tests.alerts.dashboard import PICTURE, draw, read_panels
from tests.alerts.prometheus import Prometheus, Target, running
from tests.alerts.scaling import seconds, speed_up
from tests.support import wait
from tests.support.chart.rendering import NAMESPACE, one, render
from tests.support.dashboard import panels
from tests.support.promtool import read_query
from tests.support.unit.stage.readings import READINGS
from tests.support.unit.stage.stage import Stage

GROUPS: Final = one(render({"metrics": {"prometheusRule": {"enabled": True}}}), "PrometheusRule")
RULES: Final = speed_up(GROUPS["spec"]["groups"][0]["rules"])
TIMES: Final = {
    rule["alert"].removeprefix("CNPGPlugin"): seconds(rule) for rule in RULES if "alert" in rule
}
PATIENCE: Final = 120.0
"""Seconds beyond an alert's time, on a busy machine."""

EXPECTED: Final = {(alert, each.name) for each in READINGS for alert in each.alerts}


class Operators:
    """One process for each state, with its plugin; all serve their metrics."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.stages: dict[str, Stage] = {}
        self.targets: list[Target] = []
        self.watching = Readiness()
        self.watching.gain()
        self._runners: list[web.AppRunner] = []

    async def start(self) -> None:
        """Bring each plugin into its state, and serve."""
        for reading in READINGS:
            stage = self.stages[reading.name] = await reading.make()
            runner = web.AppRunner(build_application(stage.metrics, self.watching))
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self._runners.append(runner)
            host, port = runner.addresses[0][:2]
            labels = {"namespace": NAMESPACE, "state": reading.name}
            self.targets.append({"targets": [f"{host}:{port}"], "labels": labels})

    async def stop(self) -> None:
        """Stop serving."""
        for runner in self._runners:
            await runner.cleanup()
        self._runners.clear()

    def run(self, coroutine: Any) -> Any:
        """Run something in the thread of the servers."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result()


@contextmanager
def serving() -> Iterator[Operators]:
    operators = Operators()
    thread = threading.Thread(target=operators.loop.run_forever)
    thread.start()
    try:
        operators.run(operators.start())
        yield operators
        operators.run(operators.stop())
    finally:
        operators.loop.call_soon_threadsafe(operators.loop.stop)
        thread.join()
        operators.loop.close()


@pytest.fixture(scope="module")
def operators() -> Iterator[Operators]:
    with serving() as found:
        yield found


@pytest.fixture(scope="module")
def prometheus(
    operators: Operators, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    directory: Path = tmp_path_factory.mktemp("prometheus")
    with running(directory, RULES, operators.targets) as found:
        yield found


def until(prometheus: Prometheus, expected: set[tuple[str, str]]) -> None:
    """Wait until exactly these alerts fire, and no other is about to."""

    def explain() -> str:
        firing = prometheus.firing()
        return f"missing: {sorted(expected - firing)}, in addition: {sorted(firing - expected)}"

    wait.until(
        "the right alerts fire",
        lambda: prometheus.firing() == expected and not prometheus.firing("pending"),
        within=max(TIMES.values()) + PATIENCE,
        explain=explain,
    )


def test_exactly_the_alerts_of_each_state_fire(prometheus: Prometheus) -> None:
    """Also after the time of all others: what is still pending is waited for."""
    until(prometheus, EXPECTED)


def test_the_dashboard_can_be_looked_at(prometheus: Prometheus) -> None:
    """The documentation shows this picture."""
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_bytes(asyncio.run(draw(read_panels(prometheus))))


def test_suspending_a_plugin_resolves_its_alerts(
    operators: Operators, prometheus: Prometheus
) -> None:
    for name in ("another", "quarantined"):
        stage = operators.stages[name]
        stage.edit(suspend=True)
        operators.run(stage.settle(passes=2))
    until(prometheus, {each for each in EXPECTED if each[1] not in ("another", "quarantined")})


def test_a_watch_that_is_missing_everywhere_is_told_and_resolves(
    operators: Operators, prometheus: Prometheus
) -> None:
    before = prometheus.firing()
    operators.watching.lose("Clusters are forbidden")
    until(prometheus, before | {("StaleWatch", "")})
    operators.watching.gain()
    until(prometheus, before)


def test_every_expression_names_series_that_were_scraped(prometheus: Prometheus) -> None:
    """In any operator and at any time; what only failures count has none yet."""
    rare = {"controller_runtime_reconcile_errors_total"}
    for rule in RULES:
        for metric in read_query(rule["expr"])[0].keys() - rare:
            assert prometheus.query(f"last_over_time({metric}[1h])"), rule


def test_every_query_of_the_dashboard_is_answered(prometheus: Prometheus) -> None:
    """Some metrics are set only on a cluster, where the end-to-end tests look for those of all."""
    answered = {title for title, queries in panels().items() if any(map(prometheus.query, queries))}
    assert answered >= {
        "Ready",
        "Not Ready",
        "In progress",
        "Suspended",
        "Quarantined sidecars",
        "First expiry",
        "Conditions that are not True",
        "Plugins",
        "Time until certificates expire",
        "Operator watches and runs",
        "Memory and CPU",
    }


def test_only_operator_down_fires_where_nothing_is_scraped(
    operators: Operators, prometheus: Prometheus
) -> None:
    """Runs last. Alerts about plugins end with their series, and one says why."""
    operators.run(operators.stop())
    until(prometheus, {("OperatorDown", "")})
