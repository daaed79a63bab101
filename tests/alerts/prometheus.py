"""A real Prometheus on this machine, which scrapes as the chart's monitors ask."""

import http.client
import json
import subprocess
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.cluster import builds
from tests.support import wait

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


class Prometheus:
    """Asks a running Prometheus."""

    def __init__(self, port: int) -> None:
        self._port = port

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Evaluate an expression now."""
        return self.ask("query", query=expression)

    def query_range(self, expression: str, start: float, end: float) -> list[dict[str, Any]]:
        """Evaluate an expression at each second from one time to another."""
        return self.ask("query_range", query=expression, start=start, end=end, step=1)

    def ask(self, path: str, **parameters: object) -> list[dict[str, Any]]:
        """Send a request to its API; return the series of the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        try:
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

    def firing(self, state: str = "firing") -> set[tuple[str, str]]:
        """The alerts that fire, with the names of their plugins."""
        return {
            (each["metric"]["alertname"].removeprefix("CNPGPlugin"), each["metric"].get("name", ""))
            for each in self.query(f'ALERTS{{alertstate="{state}"}}')
        }

    def answers(self) -> bool:
        """Whether it has started."""
        try:
            return bool(self.query("vector(1)"))
        except OSError:
            return False


@contextmanager
def running(
    directory: Path, port: int, rules: Sequence[Mapping[str, Any]], targets: Sequence[Target]
) -> Iterator[Prometheus]:
    """Start Prometheus with these rules."""
    (directory / "rules.yml").write_text(json.dumps({"groups": [{"name": "x", "rules": [*rules]}]}))
    config = {
        "global": EVERY,
        "rule_files": ["rules.yml"],
        "scrape_configs": [{**JOB, "static_configs": [*targets]}],
    }
    (directory / "prometheus.yml").write_text(json.dumps(config))
    argv = [
        builds.find(builds.PROMETHEUS),
        f"--config.file={directory / 'prometheus.yml'}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (directory / "log").open("w") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log)
        try:
            found = Prometheus(port)
            wait.until("Prometheus answers", found.answers, within=180)
            yield found
        finally:
            process.terminate()
            process.wait()
