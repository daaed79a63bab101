"""The gate before CloudNativePG: it waits for late plugins, no longer than necessary, and always
exits with status 0 and a verdict.
"""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import grpc
import pytest

from cnpg_plugin_operator.api.conditions import Reason
from cnpg_plugin_operator.commands import await_sockets
from cnpg_plugin_operator.commands.await_sockets import Watch
from cnpg_plugin_operator.decide.facts.plugin import HandshakeOutcome, Identity
from cnpg_plugin_operator.decide.sidecar.gate import decode_verdicts
from tests.support.tls.servers import IDENTITY, Answer, Plugin, socket_plugin

NAME = Plugin().name
OTHER = "other.example.com"
METADATA = f"{IDENTITY}/GetPluginMetadata"
PROBE = f"{IDENTITY}/Probe"
WAL = "/cnpgi.wal.v1.WAL/GetCapabilities"
COMMAND = (sys.executable, "-m", "cnpg_plugin_operator", "await-sockets")
IDENTIFIED = Identity(
    NAME, "1.2.3", "Hello", "Example", "Apache-2.0", "beta", "https://example.com/hello"
)
"""The identity of the plugin in these tests."""

LONG = 60.0
"""A deadline in seconds that no test reaches."""


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory with a short name: a socket's path has 107 bytes."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> "asyncio.Queue[str]":
    """The lines that the gate prints."""
    lines: asyncio.Queue[str] = asyncio.Queue()
    monkeypatch.setattr(await_sockets, "say", lines.put_nowait)
    return lines


@contextlib.asynccontextmanager
async def running(watch: Watch) -> AsyncIterator["asyncio.Task[None]"]:
    """Run the gate beside the test."""
    task = asyncio.create_task(watch.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


async def printed(lines: "asyncio.Queue[str]", *parts: str) -> str:
    """Wait for a line with these parts."""
    async with asyncio.timeout(10):
        while True:
            line = await lines.get()
            if all(part in line for part in parts):
                return line


async def watched(
    directory: Path, *names: str, deadline: float = LONG
) -> dict[str, HandshakeOutcome]:
    watch = Watch(directory, names, deadline)
    async with asyncio.timeout(20):
        await watch.run()
    return watch.outcomes


async def test_running_plugins_cause_no_delay(directory: Path) -> None:
    async with (
        socket_plugin(Plugin(), directory / NAME),
        socket_plugin(Plugin(OTHER), directory / OTHER),
    ):
        started = time.monotonic()
        outcomes = await watched(directory, NAME, OTHER)
    assert [outcome.reason for outcome in outcomes.values()] == [Reason.IDENTIFIED] * 2
    assert time.monotonic() - started < 5


async def test_the_gate_waits_for_a_late_socket(
    directory: Path, said: "asyncio.Queue[str]"
) -> None:
    watch = Watch(directory, (NAME,), LONG)
    async with running(watch) as task:
        await printed(said, NAME, "waiting", "SocketMissing")
        async with socket_plugin(Plugin(), directory / NAME):
            await printed(said, NAME, "ok", "Identified")
            await task
    assert watch.outcomes[NAME].succeeded


async def test_the_gate_waits_until_the_socket_of_an_earlier_run_is_replaced(
    directory: Path, said: "asyncio.Queue[str]"
) -> None:
    with socket.socket(socket.AF_UNIX) as previous:
        previous.bind(str(directory / NAME))
    watch = Watch(directory, (NAME,), LONG)
    async with running(watch) as task:
        await printed(said, "waiting", "Unreachable", "nothing listens")
        (directory / NAME).unlink()
        async with socket_plugin(Plugin(), directory / NAME):
            await task
    assert watch.outcomes[NAME].succeeded


class Once(dict[str, Answer]):
    """Answers that are given once, before the plugin's own."""

    def __getitem__(self, method: str) -> Answer:
        return self.pop(method)


NOT_YET = [
    ("is not ready", {PROBE: b"\x08\x00"}, Reason.NOT_SERVING),
    ("is not available", {METADATA: grpc.StatusCode.UNAVAILABLE}, Reason.NO_ANSWER),
    ("ends while it is asked", {WAL: grpc.StatusCode.UNAVAILABLE}, Reason.CAPABILITY_FAILED),
    ("knows nothing", {METADATA: grpc.StatusCode.UNIMPLEMENTED}, Reason.NOT_A_PLUGIN),
]


@pytest.mark.parametrize(
    ("answers", "reason"), [row[1:] for row in NOT_YET], ids=[row[0] for row in NOT_YET]
)
async def test_the_gate_retries_a_plugin_that_at_first(
    answers: dict[str, Answer], reason: Reason, directory: Path, said: "asyncio.Queue[str]"
) -> None:
    async with socket_plugin(Plugin(services=(2,), answers=Once(answers)), directory / NAME):
        outcomes = await watched(directory, NAME)
    await printed(said, "waiting", reason)
    assert outcomes[NAME].succeeded


async def test_a_silent_plugin_delays_the_verdict_on_no_other(
    directory: Path, said: "asyncio.Queue[str]"
) -> None:
    watch = Watch(directory, (NAME, OTHER), LONG)
    async with (
        socket_plugin(Plugin(answers={METADATA: None}), directory / NAME),
        socket_plugin(Plugin(OTHER), directory / OTHER),
        running(watch),
    ):
        await printed(said, OTHER, "ok", "Identified")
        assert NAME not in watch.outcomes


FAULTS = [
    ("another name", Plugin("moon.example.com"), Reason.IDENTITY_MISMATCH),
    (
        "a capability that fails",
        Plugin(services=(2,), answers={WAL: grpc.StatusCode.UNIMPLEMENTED}),
        Reason.CAPABILITY_FAILED,
    ),
    (
        "no identity service",
        Plugin(answers={METADATA: grpc.StatusCode.UNIMPLEMENTED}),
        Reason.NOT_A_PLUGIN,
    ),
]


@pytest.mark.parametrize(
    ("plugin", "reason"), [row[1:] for row in FAULTS], ids=[row[0] for row in FAULTS]
)
async def test_the_gate_does_not_wait_for_the_deadline_with(
    plugin: Plugin, reason: Reason, directory: Path, said: "asyncio.Queue[str]"
) -> None:
    async with socket_plugin(plugin, directory / NAME):
        outcomes = await watched(directory, NAME)
    await printed(said, NAME, "FAILED", reason)
    assert outcomes[NAME].reason is reason


@pytest.mark.usefixtures("said")
class TestAtTheDeadline:
    async def test_the_verdict_on_a_silent_plugin_names_its_longest_attempt(
        self, directory: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(await_sockets, "ATTEMPT", 0.3)
        monkeypatch.setattr(await_sockets, "LAST_ATTEMPT", 0.1)
        async with socket_plugin(Plugin(answers={METADATA: None}), directory / NAME):
            outcomes = await watched(directory, NAME, deadline=0.6)
        assert outcomes[NAME].reason is Reason.NO_ANSWER
        assert "within 0.3 s" in outcomes[NAME].message

    async def test_the_message_about_a_missing_socket_names_other_files(
        self, directory: Path
    ) -> None:
        async with (
            socket_plugin(Plugin(OTHER), directory / OTHER),
            socket_plugin(Plugin("expected"), directory / "expected"),
            socket_plugin(Plugin("moon"), directory / "moon"),
        ):
            outcomes = await watched(directory, NAME, "expected", deadline=0.3)
        assert outcomes["expected"].succeeded
        assert outcomes[NAME].reason is Reason.SOCKET_MISSING
        for part in (str(directory / NAME), "within 0.3 s", f"moon, {OTHER}"):
            assert part in outcomes[NAME].message
        assert "expected," not in outcomes[NAME].message

    async def test_an_empty_directory_gives_another_hint(self, directory: Path) -> None:
        outcomes = await watched(directory, NAME, OTHER, deadline=0.3)
        assert {outcome.reason for outcome in outcomes.values()} == {Reason.SOCKET_MISSING}
        assert "--plugin-path" in outcomes[NAME].message

    async def test_a_missing_directory_is_reported(self, directory: Path) -> None:
        outcomes = await watched(directory / "nowhere", NAME, deadline=0.3)
        assert outcomes[NAME].reason is Reason.SOCKET_MISSING
        assert "is the volume mounted?" in outcomes[NAME].message

    async def test_a_single_unexpected_socket_is_asked_for_its_name(self, directory: Path) -> None:
        async with (
            socket_plugin(Plugin("moon"), directory / "moon"),
            socket_plugin(Plugin("expected"), directory / "expected"),
        ):
            outcomes = await watched(directory, NAME, "expected", deadline=0.3)
        assert outcomes[NAME].reason is Reason.IDENTITY_MISMATCH
        assert outcomes[NAME].identity == replace(IDENTIFIED, name="moon")
        assert f"{directory / 'moon'}, where it calls itself 'moon'" in outcomes[NAME].message

    async def test_the_right_plugin_on_a_socket_with_another_name_is_a_mismatch(
        self, directory: Path
    ) -> None:
        async with socket_plugin(Plugin(), directory / "plugin.sock"):
            outcomes = await watched(directory, NAME, deadline=0.3)
        assert outcomes[NAME].reason is Reason.IDENTITY_MISMATCH
        assert "answers under its own name" in outcomes[NAME].message

    async def test_a_silent_unexpected_socket_is_only_named(self, directory: Path) -> None:
        with socket.socket(socket.AF_UNIX) as previous:
            previous.bind(str(directory / "moon"))
        outcomes = await watched(directory, NAME, deadline=0.3)
        assert outcomes[NAME].reason is Reason.SOCKET_MISSING
        assert "Its directory has moon" in outcomes[NAME].message


# The links


@pytest.fixture
def links(directory: Path) -> Path:
    """Where CloudNativePG looks."""
    found = directory / "l"
    found.mkdir()
    return found


def own(directory: Path, *names: str) -> list[Path]:
    """Sockets in directories of their own, as sidecars open them."""
    paths = [directory / name[0] / name for name in names]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
    return paths


def linked(links: Path) -> dict[str, str]:
    return {path.name: str(path.readlink()) for path in links.iterdir()}


async def shown(directory: Path, links: Path, *declared: str) -> Watch:
    """Run the gate for a moment, including its last steps."""
    watch = Watch(directory, declared, 0.3, links)
    async with asyncio.timeout(20):
        await watch.run()
    watch.show()
    return watch


@pytest.mark.usefixtures("said")
class TestLinks:
    async def test_lead_to_declared_plugins_in_their_own_directories(
        self, directory: Path, links: Path
    ) -> None:
        first, second = own(directory, NAME, OTHER)
        async with (
            socket_plugin(Plugin(), first),
            socket_plugin(Plugin(OTHER), second),
            socket_plugin(Plugin(OTHER), first.parent / OTHER),
            socket_plugin(Plugin("ghost"), first.parent / "ghost"),
        ):
            watch = await shown(directory, links, f"{NAME[0]}/{NAME}", f"{OTHER[0]}/{OTHER}")
            assert linked(links) == {NAME: str(first), OTHER: str(second)}
            async with asyncio.timeout(5):
                outcome = await watch._handshaker.shake(links / OTHER, OTHER, 5)
        assert outcome.succeeded
        assert all(outcome.succeeded for outcome in watch.outcomes.values())

    async def test_survive_a_restart_of_the_plugin(self, directory: Path, links: Path) -> None:
        (path,) = own(directory, NAME)
        async with socket_plugin(Plugin(), path):
            watch = await shown(directory, links, f"{NAME[0]}/{NAME}")
        path.unlink(missing_ok=True)
        async with socket_plugin(Plugin(version="2.0.0"), path):
            outcome = await watch._handshaker.shake(links / NAME, NAME, 5)
        assert outcome.identity is not None
        assert outcome.identity.version == "2.0.0"

    async def test_of_an_earlier_run_are_replaced(self, directory: Path, links: Path) -> None:
        (path,) = own(directory, NAME)
        (links / NAME).symlink_to(directory / "nowhere")
        (links / OTHER).symlink_to(path)
        (links / "plain").write_text("")
        async with socket_plugin(Plugin(), path):
            await shown(directory, links, f"{NAME[0]}/{NAME}")
            assert linked(links) == {NAME: str(path)}
            await shown(directory, links, f"{NAME[0]}/{NAME}")
            assert linked(links) == {NAME: str(path)}

    async def test_are_not_created_for_a_plugin_with_another_name(
        self, directory: Path, links: Path
    ) -> None:
        (path,) = own(directory, NAME)
        async with socket_plugin(Plugin(OTHER), path):
            watch = await shown(directory, links, f"{NAME[0]}/{NAME}")
        assert watch.outcomes[NAME].reason is Reason.IDENTITY_MISMATCH
        assert linked(links) == {}

    async def test_are_created_for_a_late_plugin(self, directory: Path, links: Path) -> None:
        silent, unready = own(directory, NAME, OTHER)
        with socket.socket(socket.AF_UNIX) as previous:
            previous.bind(str(silent))
            async with socket_plugin(Plugin(OTHER, answers={PROBE: b"\x08\x00"}), unready):
                watch = await shown(directory, links, f"{NAME[0]}/{NAME}", f"{OTHER[0]}/{OTHER}")
        reasons = {name: outcome.reason for name, outcome in watch.outcomes.items()}
        assert reasons == {NAME: Reason.UNREACHABLE, OTHER: Reason.NOT_SERVING}
        assert linked(links) == {NAME: str(silent), OTHER: str(unready)}

    @pytest.mark.parametrize("kind", ["nothing", "a file", "a directory", "a link"])
    async def test_are_created_only_to_sockets(
        self, kind: str, directory: Path, links: Path
    ) -> None:
        path, other = own(directory, NAME, OTHER)
        async with socket_plugin(Plugin(), other):
            match kind:
                case "a file":
                    path.write_text("")
                case "a directory":
                    path.mkdir()
                case "a link":
                    path.symlink_to(other)
                case _:
                    pass
            await shown(directory, links, f"{NAME[0]}/{NAME}")
        assert linked(links) == {}

    async def test_that_cannot_be_created_are_reported(self, directory: Path) -> None:
        (path,) = own(directory, NAME)
        async with socket_plugin(Plugin(), path):
            watch = await shown(directory, directory / "nowhere", f"{NAME[0]}/{NAME}")
        outcome = watch.outcomes[NAME]
        assert outcome.reason is Reason.UNREACHABLE
        assert "cannot be linked for CloudNativePG: No such file or directory" in outcome.message

    async def test_give_sockets_the_paths_that_their_plugins_know(
        self, directory: Path, links: Path
    ) -> None:
        (path,) = own(directory, NAME)
        async with socket_plugin(Plugin("moon"), path.parent / "moon"):
            watch = await shown(directory, links, f"{NAME[0]}/{NAME}", f"o/{OTHER}")
        assert f"open the socket {links / NAME} within" in watch.outcomes[NAME].message
        assert f"but {links / 'moon'}, where" in watch.outcomes[NAME].message
        assert str(links / OTHER) in watch.outcomes[OTHER].message


def test_the_program_creates_links_even_if_its_own_code_blocks(directory: Path) -> None:
    log, links = directory / "termination-log", directory / "l"
    links.mkdir()
    (path,) = own(directory, NAME)
    program = f"""
import sys, time
from cnpg_plugin_operator import __main__
from cnpg_plugin_operator.commands import await_sockets

await_sockets.find_sockets = lambda *_: time.sleep(50)
await_sockets.STUCK = 1
arguments = ["--directory", {str(directory)!r}, "--termination-log", {str(log)!r}]
arguments += ["--links", {str(links)!r}, "--deadline", "0s"]
names = [{f"{NAME[0]}/{NAME}"!r}, "nowhere/other"]
sys.exit(__main__.main(["await-sockets", *arguments, *names]))
"""
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(path))
        subprocess.run([sys.executable, "-c", program], timeout=40, check=True)
    assert linked(links) == {NAME: str(path)}


# The whole program


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=50,
        check=False,
    )


async def test_the_program_writes_a_verdict_and_prints_what_it_waits_for(directory: Path) -> None:
    log = directory / "termination-log"
    async with socket_plugin(Plugin(), directory / NAME):
        arguments = ("--directory", directory, "--termination-log", log, "--deadline", "300ms")
        done = await asyncio.to_thread(run, *arguments, NAME, OTHER, NAME)
    assert done.returncode == 0, done.stderr
    verdicts = decode_verdicts(log.read_text())
    assert verdicts[NAME].succeeded
    assert verdicts[NAME].identity == IDENTIFIED
    assert verdicts[OTHER].reason is Reason.SOCKET_MISSING
    lines = done.stdout.splitlines()
    assert lines[0] == f"waiting at most 0.3 s for {NAME}, {OTHER} in {directory}"
    assert sum(line.startswith(f"{NAME}: ok. Identified: ") for line in lines) == 1
    assert sum(line.startswith(f"{OTHER}: FAILED. SocketMissing: ") for line in lines) == 1
    assert done.stderr == ""


MISUSE = [
    ("no name", ()),
    ("an option it does not know", ("--surprise", NAME)),
    ("a deadline that is none", ("--deadline", "soon", NAME)),
    ("a deadline beyond all clocks", ("--deadline", f"{'9' * 30}h", NAME)),
]


@pytest.mark.parametrize("arguments", [row[1] for row in MISUSE], ids=[row[0] for row in MISUSE])
def test_the_exit_status_is_0_even_with(arguments: tuple[str, ...]) -> None:
    done = run(*arguments)
    assert done.returncode == 0
    assert "error: " in done.stderr


def test_a_deadline_beyond_all_timers_is_no_error(directory: Path) -> None:
    log = directory / "termination-log"
    names = ("--directory", directory, "--termination-log", log, "--deadline", "5000000000h")
    (directory / NAME).touch()
    with subprocess.Popen(
        [*COMMAND, *map(str, names), NAME], stdout=subprocess.PIPE, text=True
    ) as gate:
        assert gate.stdout is not None
        assert "waiting" in gate.stdout.readline()
        assert "is not a socket" in gate.stdout.readline()
        gate.send_signal(signal.SIGTERM)
        gate.communicate(timeout=50)
    assert gate.returncode == 0


STRANGE = ["x" * 300, "", "..", "a/b", "ü", b"\xff".decode("utf-8", "surrogateescape")]


def test_each_name_without_a_plugin_gets_a_verdict(directory: Path) -> None:
    log = directory / "termination-log"
    arguments = ("--directory", directory / "nowhere", "--termination-log", log)
    done = run(*arguments, "--deadline", "0s", *STRANGE)
    assert done.returncode == 0
    assert set(decode_verdicts(log.read_text())) == {"x" * 300, "..", "b", "ü", "?"}


def test_verdicts_that_cannot_be_written_are_printed(directory: Path) -> None:
    log = directory / "nowhere" / "termination-log"
    done = run("--directory", directory, "--termination-log", log, "--deadline", "0s", NAME)
    assert f"the verdicts cannot be written to {log} (No such file or directory)" in done.stdout
    assert decode_verdicts(done.stdout)[NAME].reason is Reason.SOCKET_MISSING


def test_a_closed_output_does_not_fail_the_program(directory: Path) -> None:
    log = directory / "termination-log"
    reading, writing = os.pipe()
    os.close(reading)
    arguments = ("--directory", directory, "--termination-log", log, "--deadline", "0s", NAME)
    done = subprocess.run([*COMMAND, *map(str, arguments)], stdout=writing, timeout=50, check=False)
    os.close(writing)
    assert done.returncode == 0
    assert NAME in decode_verdicts(log.read_text())


def test_a_stopped_gate_still_writes_its_verdicts(directory: Path) -> None:
    log = directory / "termination-log"
    arguments = ("--directory", directory, "--termination-log", log, NAME, OTHER)
    command = [*COMMAND, *map(str, arguments)]
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(directory / OTHER))
        silent.listen()
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as gate:
            assert gate.stdout is not None
            for line in gate.stdout:
                if "SocketMissing" in line:
                    break
            gate.send_signal(signal.SIGTERM)
            rest = gate.communicate(timeout=50)[0]
    assert gate.returncode == 0
    assert "asked to stop" in rest
    verdicts = decode_verdicts(log.read_text())
    assert verdicts[NAME].reason is Reason.SOCKET_MISSING
    assert verdicts[OTHER] == await_sockets.UNSEEN


BROKEN = [
    ("fails", "raise RuntimeError('surprise')", True),
    ("blocks the program", "import time; time.sleep(50)", False),
]


@pytest.mark.parametrize(
    ("body", "tells"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN]
)
def test_the_exit_status_is_0_even_if_its_own_code(
    body: str,
    tells: bool,  # noqa: FBT001 - a column of the table
    directory: Path,
) -> None:
    log = directory / "termination-log"
    program = f"""
import sys
from cnpg_plugin_operator import __main__
from cnpg_plugin_operator.commands import await_sockets

def broken(*_):
    {body}

await_sockets.find_sockets = broken
await_sockets.STUCK = 1
arguments = ["--directory", {str(directory)!r}, "--termination-log", {str(log)!r}]
sys.exit(__main__.main(["await-sockets", *arguments, "--deadline", "0s", {NAME!r}]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=40, check=False
    )
    assert done.returncode == 0, done.stderr
    assert decode_verdicts(log.read_text())[NAME].reason is Reason.SOCKET_MISSING
    assert ("surprise" in done.stderr) is tells
