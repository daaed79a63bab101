"""The operator's process without an API server: it waits, and reports for what."""

import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.support import wait

KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: test
contexts: [{name: test, context: {cluster: test, user: test}}]
clusters: [{name: test, cluster: {server: "http://127.0.0.1:%d"}}]
users: [{name: test, user: {token: none}}]
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Empty(BaseHTTPRequestHandler):
    """An API server that serves nothing."""

    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Process:
    """The operator's process, with an API server that may come later."""

    def __init__(self, directory: Path) -> None:
        self.api, self.http = free_port(), free_port()
        kubeconfig = directory / "kubeconfig"
        kubeconfig.write_text(KUBECONFIG % self.api)
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(sys.path),
            "KUBECONFIG": str(kubeconfig),
            "CNPGP_HTTP_ADDRESS": f"127.0.0.1:{self.http}",
        }
        argv = [sys.executable, "-m", "cnpg_plugin_operator", "run"]
        self.process = subprocess.Popen(argv, env=environment, stderr=subprocess.PIPE, text=True)

    def ask(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http}{path}") as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def until(self, path: str, status: int, text: str) -> None:
        wait.until(
            f"{path} says {status} {text}",
            lambda: (said := self.ask(path))[0] == status and text in said[1],
            within=60,
            explain=lambda: f"{self.ask(path)}, exit status {self.process.poll()}",
        )


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    running = Process(tmp_path)
    yield running
    running.process.kill()
    running.process.communicate()


@pytest.mark.timeout(180)
def test_an_operator_that_starts_before_the_api_server_waits_for_it(process: Process) -> None:
    process.until("/readyz", 503, "Cannot connect to host 127.0.0.1")
    assert process.ask("/healthz") == (200, "ok\n")
    server = HTTPServer(("127.0.0.1", process.api), Empty)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        process.until("/readyz", 503, "CustomResourceDefinition cnpgplugins is not installed")
        assert process.process.poll() is None
        process.process.send_signal(signal.SIGTERM)
        assert process.process.wait(30) == 0
    finally:
        server.shutdown()
        server.server_close()
