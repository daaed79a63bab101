"""The command line: each command loads only what it needs."""

import subprocess
import sys

import pytest

PROGRAM = """
import contextlib, sys
from cnpg_plugin_operator.__main__ import main
status = 0
try:
    main(sys.argv[1:])
except SystemExit as end:
    status = end.code
print(status, *sorted({name.partition(".")[0] for name in sys.modules}))
print(*sorted(name for name in sys.modules if name.startswith("cnpg_plugin_operator.")))
"""

HEAVY = {"aiohttp", "cryptography", "kopf", "kubernetes", "prometheus_client", "pydantic", "yaml"}


def loaded(*words: str) -> tuple[int, set[str], set[str]]:
    """Run the program; return its status, the packages it loaded, and the modules of ours."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words], capture_output=True, text=True, check=True
    )
    *_, packages, ours = done.stdout.splitlines()
    status, *names = packages.split()
    return int(status), set(names), set(ours.split())


@pytest.mark.parametrize(
    "words",
    [
        ("await-sockets", "--help"),
        (
            "await-sockets",
            "--deadline=0s",
            "--directory=/nowhere",
            "--termination-log=/dev/null",
            "a",
        ),
    ],
    ids=["its help", "a whole run"],
)
def test_the_gate_loads_no_large_package(words: tuple[str, ...]) -> None:
    status, packages, ours = loaded(*words)
    assert status == 0
    assert "grpc" in packages
    assert not packages & HEAVY
    assert "cnpg_plugin_operator.settings" not in ours


def test_no_command_loads_the_synchronous_client() -> None:
    _, packages, _ = loaded("run", "--help")
    assert not packages & {"requests", "urllib3", "websocket"}


def test_the_help_of_the_program_loads_no_command() -> None:
    status, packages, ours = loaded("--help")
    assert status == 0
    assert not packages & {"grpc", *HEAVY}
    assert not {name for name in ours if ".commands" in name}


@pytest.mark.parametrize("command", ["run", "handshake"])
def test_each_command_prints_its_help(command: str) -> None:
    status, packages, _ = loaded(command, "--help")
    assert status == 0
    assert "kubernetes" in packages


@pytest.mark.parametrize("words", [(), ("surprise",), ("run", "surprise"), ("--surprise", "run")])
def test_unknown_commands_are_refused(words: tuple[str, ...]) -> None:
    assert loaded(*words)[0] == 2


def test_only_commands_that_need_settings_read_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNPGP_LOG_LEVEL", "loud")
    words = ("await-sockets", "--deadline=0s", "--termination-log=/dev/null", "a")
    gate = subprocess.run(
        [sys.executable, "-m", "cnpg_plugin_operator", *words], capture_output=True, check=False
    )
    run = subprocess.run(
        [sys.executable, "-m", "cnpg_plugin_operator", "run"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (gate.returncode, gate.stderr) == (0, b"")
    assert run.returncode == 1
    assert "CNPGP_LOG_LEVEL is 'loud'" in run.stderr
