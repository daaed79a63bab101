"""The operator's process: without an API server it waits, with others it competes for the Lease."""

import asyncio
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from aiohttp import web

from tests.support import wait
from tests.support.loopback import free_port, write_kubeconfig
from tests.support.unit.lease_api import LeaseAPI


class Empty(BaseHTTPRequestHandler):
    """An API server that serves nothing."""

    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Process:
    """The operator's process, with an API server that may come later."""

    def __init__(self, directory: Path, api: int = 0, **variables: str) -> None:
        self.api, self.http = api or free_port(), free_port()
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(sys.path),
            "KUBECONFIG": str(write_kubeconfig(directory, self.api)),
            "CNPGP_HTTP_ADDRESS": f"127.0.0.1:{self.http}",
            **variables,
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


@pytest.fixture
def api() -> Iterator[tuple[LeaseAPI, int]]:
    """An API server with a Lease, in a thread."""
    served, port, loop = LeaseAPI(), free_port(), asyncio.new_event_loop()
    runner = web.AppRunner(served.build(), access_log=None, shutdown_timeout=0.1)
    loop.run_until_complete(runner.setup())
    loop.run_until_complete(web.TCPSite(runner, "127.0.0.1", port).start())
    thread = Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield served, port
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.run_until_complete(runner.cleanup())
    loop.close()


Start = Callable[[str], Process]


@pytest.fixture
def start(tmp_path: Path, api: tuple[LeaseAPI, int]) -> Iterator[Start]:
    started: list[Process] = []

    def start_one(identity: str) -> Process:
        lease = {
            "CNPGP_LEASE": "operators/plugins",
            "CNPGP_LEASE_IDENTITY": identity,
            "CNPGP_LEASE_DURATION": "3s",
            "CNPGP_LEASE_RENEW_DEADLINE": "2s",
            "CNPGP_LEASE_RETRY_PERIOD": "500ms",
        }
        directory = tmp_path / identity
        directory.mkdir()
        started.append(Process(directory, api[1], **lease))
        return started[-1]

    yield start_one
    for each in started:
        each.process.kill()
        each.process.communicate()


def leads(process: Process) -> bool:
    return "cnpg_plugin_operator_leader 1.0" in process.ask("/metrics")[1]


@pytest.mark.timeout(180)
def test_a_leader_hands_over_when_it_ends(start: Start, api: tuple[LeaseAPI, int]) -> None:
    first = start("a_1")
    wait.until("the first one leads", lambda: leads(first), within=60)
    second = start("b_2")
    second.until("/readyz", 200, "ok")
    assert not leads(second)
    assert "cnpg_plugin_operator_watching 0.0" in second.ask("/metrics")[1]
    first.process.send_signal(signal.SIGTERM)
    assert first.process.wait(30) == 0
    wait.until("the second one leads", lambda: leads(second), within=10)
    assert api[0].holders == ["a_1", "", "b_2"]


@pytest.mark.timeout(180)
def test_a_leader_that_was_paused_is_a_standby_when_it_wakes(
    start: Start, api: tuple[LeaseAPI, int]
) -> None:
    first = start("a_1")
    wait.until("the first one leads", lambda: leads(first), within=60)
    second = start("b_2")
    second.until("/readyz", 200, "ok")
    first.process.send_signal(signal.SIGSTOP)
    wait.until("the second one leads", lambda: leads(second), within=30)
    first.process.send_signal(signal.SIGCONT)
    first.until("/metrics", 200, "cnpg_plugin_operator_leader 0.0")
    first.until("/readyz", 200, "ok")
    assert first.process.poll() is None, "the process starts over, but does not exit"
    assert api[0].holders == ["a_1", "b_2"]
