"""A real Prometheus on this machine, or in a cluster's network, which scrapes as the chart's
monitors ask.
"""

import http.client
import json
import subprocess
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

from tests.cluster import Cluster, builds
from tests.cluster.network import call_inside
from tests.support import wait
from tests.support.loopback import HOST, free_port

EVERY: Final = {"scrape_interval": "1s", "evaluation_interval": "1s", "scrape_timeout": "1s"}
JOB: Final[dict[str, Any]] = {
    "job_name": "cnpg-plugin-operator",
    "honor_labels": True,
    # Each target has a plugin of the same name: it is called after its target.
    "metric_relabel_configs": [
        {
            "source_labels": ["state", "name"],
            "regex": "(.+);.+",
            "target_label": "name",
            "replacement": "$1",
        }
    ],
}
Target = Mapping[str, Any]
"""An address, and labels."""

Alert = tuple[str, str]
"""Its name without the prefix, and that of its plugin."""

Reach = Callable[[Callable[[], None]], None]
"""Connects where Prometheus runs."""


class Prometheus:
    """Asks a running Prometheus, and tells it whom to scrape."""

    def __init__(self, directory: Path, port: int, reach: Reach) -> None:
        self._targets = directory / "targets.json"
        self._port, self._reach = port, reach

    def scrape(self, targets: Sequence[Target]) -> None:
        """Scrape these from now on."""
        unfinished = self._targets.with_suffix(".partial")
        unfinished.write_text(json.dumps(targets))
        unfinished.replace(self._targets)

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Evaluate an expression now."""
        return self.ask("query", query=expression)

    def query_range(self, expression: str, start: float, end: float) -> list[dict[str, Any]]:
        """Evaluate an expression at each second from one time to another."""
        return self.ask("query_range", query=expression, start=start, end=end, step=1)

    def ask(self, path: str, **parameters: object) -> list[dict[str, Any]]:
        """Send a request to its API; return the series of the answer."""
        connection = http.client.HTTPConnection(HOST, self._port, timeout=10)
        try:
            self._reach(connection.connect)
            connection.request("GET", f"/api/v1/{path}?{urllib.parse.urlencode(parameters)}")
            response = connection.getresponse()
            text = response.read()
        finally:
            connection.close()
        if response.status == http.client.SERVICE_UNAVAILABLE:
            raise ConnectionError(text.decode())
        answer = json.loads(text)
        assert answer["status"] == "success", answer
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    def firing(self, state: str = "firing") -> set[Alert]:
        """The alerts that fire, with the names of their plugins."""
        return _alerts(self.query(f'ALERTS{{alertstate="{state}"}}'))

    def fired(self, since: float) -> set[Alert]:
        """The alerts that fire, or did at any moment since a time (`time.monotonic`)."""
        window = f"{max(1, round(time.monotonic() - since))}s"
        return _alerts(self.query(f'last_over_time(ALERTS{{alertstate="firing"}}[{window}])'))

    def answers(self) -> bool:
        """Whether it has started."""
        try:
            return bool(self.query("vector(1)"))
        except OSError:
            return False


def _alerts(found: Sequence[Mapping[str, Any]]) -> set[Alert]:
    labels = [each["metric"] for each in found]
    return {(e["alertname"].removeprefix("CNPGPlugin"), e.get("name", "")) for e in labels}


@contextmanager
def running(
    directory: Path,
    rules: Sequence[Mapping[str, Any]],
    targets: Sequence[Target] = (),
    *,
    cluster: Cluster | None = None,
) -> Iterator[Prometheus]:
    """Start Prometheus with these rules, in a cluster's network if there is one."""
    (directory / "rules.yml").write_text(json.dumps({"groups": [{"name": "x", "rules": [*rules]}]}))
    found_by = [{"files": ["targets.json"], "refresh_interval": "1s"}]
    config = {
        "global": EVERY,
        "rule_files": ["rules.yml"],
        "scrape_configs": [{**JOB, "file_sd_configs": found_by}],
    }
    (directory / "prometheus.yml").write_text(json.dumps(config))
    # In a cluster's network few ports are taken.
    port = free_port()
    argv = [
        builds.find(builds.PROMETHEUS),
        f"--config.file={directory / 'prometheus.yml'}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address={HOST}:{port}",
    ]
    reach: Reach = partial(call_inside, cluster.layout.netns) if cluster else _call
    found = Prometheus(directory, port, reach)
    found.scrape(targets)
    with (directory / "log").open("w") as log:
        started = cluster.in_namespace(argv) if cluster else argv
        process = subprocess.Popen(started, stdout=log, stderr=log)
        try:
            wait.until("Prometheus answers", found.answers, within=180)
            yield found
        finally:
            process.terminate()
            process.wait()


def _call(action: Callable[[], None]) -> None:
    action()
