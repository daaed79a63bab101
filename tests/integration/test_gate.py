"""The gate before CloudNativePG and a plugin in Go, on a unix socket as in CloudNativePG's pod.

The plugin is built on the library of all published plugins, which opens the socket. No cluster is
needed.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cnpg_plugin_operator.api.conditions import Reason
from cnpg_plugin_operator.decide.facts.plugin import HandshakeOutcome, Identity
from cnpg_plugin_operator.decide.sidecar.gate import decode_verdicts
from tests.cluster.builds import SAMPLE_VERSIONS, build, sample_plugin

VERSION = SAMPLE_VERSIONS[0]
NAME = "sample.cnpgplugin.dev"
IDENTITY = Identity(
    name=NAME,
    version=VERSION,
    display_name="Sample plugin",
    vendor="cnpgplugin.dev",
    license="Apache-2.0",
    maturity="alpha",
    url="https://cnpgplugin.dev",
    capabilities=("LIFECYCLE_SERVICE", "OPERATOR_SERVICE", "RECONCILER_HOOKS"),
)


@pytest.fixture
def directory() -> Iterator[Path]:
    """The directory of the sockets; its name is short, for a socket's path has 107 bytes."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@contextlib.contextmanager
def plugin(directory: Path, **variables: str) -> Iterator[None]:
    """Start the sample plugin like a sidecar."""
    program = sample_plugin(VERSION)
    build([program])
    with subprocess.Popen(
        [program.binary, "plugin", "--plugin-path", directory],
        env={**os.environ, **variables},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            yield
        finally:
            process.kill()


def verdict(directory: Path, deadline: str, name: str = NAME) -> HandshakeOutcome:
    """Run the gate, and read its verdicts."""
    log = directory / "termination-log"
    options = ["--directory", directory, "--deadline", deadline, "--termination-log", log]
    command = [sys.executable, "-m", "cnpg_plugin_operator", "await-sockets"]
    done = subprocess.run(
        [*command, *map(str, options), name],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return decode_verdicts(log.read_text())[name]


def test_the_gate_reports_the_identity_of_a_go_plugin(directory: Path) -> None:
    with plugin(directory, SAMPLE_START_DELAY="1s"):
        outcome = verdict(directory, "30s")
    assert outcome.succeeded, outcome.message
    assert outcome.identity == IDENTITY


def test_a_service_that_a_go_plugin_lacks_delays_nothing(directory: Path) -> None:
    with plugin(directory, SAMPLE_MISBEHAVE="failing-capability"):
        outcome = verdict(directory, "10m")
    assert outcome.reason is Reason.CAPABILITY_FAILED
    assert "cnpgi.wal.v1.WAL/GetCapabilities returns UNIMPLEMENTED" in outcome.message


DEFECTS = [
    ("hangs", {"SAMPLE_MISBEHAVE": "hang"}, Reason.NO_ANSWER),
    ("opens no socket", {"SAMPLE_MISBEHAVE": "no-listen"}, Reason.SOCKET_MISSING),
    ("serves no more", {"SAMPLE_HEALTH": "not-serving"}, Reason.NOT_SERVING),
]


@pytest.mark.parametrize(
    ("variables", "reason"), [row[1:] for row in DEFECTS], ids=[row[0] for row in DEFECTS]
)
def test_the_gate_opens_at_its_deadline_for_a_go_plugin_that(
    variables: dict[str, str], reason: Reason, directory: Path
) -> None:
    with plugin(directory, **variables):
        outcome = verdict(directory, "3s")
    assert outcome.reason is reason, outcome.message


def test_a_go_plugin_with_another_name_is_identified_by_its_socket(directory: Path) -> None:
    with plugin(directory):
        outcome = verdict(directory, "2s", "other.cnpgplugin.dev")
    assert outcome.reason is Reason.IDENTITY_MISMATCH
    assert outcome.identity is not None
    assert (outcome.identity.name, outcome.identity.version) == (NAME, VERSION)
