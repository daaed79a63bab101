"""Starts, finds and stops the cluster's own programs.

A record on disk identifies each program by pid *and* start time, so that a later run of this tool
can distinguish it from another program with the same pid. Nothing is ever found or stopped by name.
"""

import json
import os
import signal
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.cluster.errors import ClusterError
from tests.cluster.paths import Layout

_LOG_LINES = 20
_STOP_SECONDS = 10.0
# Go's garbage collector takes a fifth of an API server's time otherwise.
_RARELY_COLLECTING = {"GOGC": "800", "GOMEMLIMIT": "1200MiB"}

# Joins the cgroup named first, then becomes the program: the pid stays the one we recorded.
_LAUNCH = 'echo $$ > "$0" && exec "$@"'


@dataclass(frozen=True)
class Command:
    """A component's command line and its additional environment variables."""

    argv: list[str]
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Record:
    """A started program. `started` is the kernel's clock tick, unique for a pid and boot."""

    pid: int
    started: int
    boot: str
    argv: list[str]


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _start_tick(pid: int) -> int | None:
    """Read when pid started, or None if it does not run (a zombie does not run)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


class Supervisor:
    """The programs of one cluster, from the records in its state directory."""

    def __init__(self, layout: Layout, cgroup_procs: Path | None = None) -> None:
        self._layout = layout
        self._cgroup_procs = cgroup_procs

    def names(self) -> list[str]:
        if not self._layout.records.is_dir():
            return []
        return sorted(path.stem for path in self._layout.records.glob("*.json"))

    def record(self, name: str) -> Record | None:
        try:
            text = (self._layout.records / f"{name}.json").read_text()
        except FileNotFoundError:
            return None
        return Record(**json.loads(text))

    def is_running(self, name: str) -> bool:
        record = self.record(name)
        if record is None or record.boot != boot_id():
            return False
        return _start_tick(record.pid) == record.started

    def start(self, name: str, command: Command) -> None:
        """Start the program unless it runs; its output goes to its own log."""
        if self.is_running(name):
            return
        if self._cgroup_procs is None:
            raise ClusterError(f"{name} cannot start: the cluster has no cgroup; run `up` first")
        log = str(self.log(name))
        append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        argv = ["sh", "-c", _LAUNCH, str(self._cgroup_procs), *command.argv]
        pid = os.posix_spawn(
            "/bin/sh",
            argv,
            {**os.environ, **_RARELY_COLLECTING, **command.environment},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, log, append, 0o644),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
        )
        record = Record(pid, _start_tick(pid) or 0, boot_id(), command.argv)
        target = self._layout.records / f"{name}.json"
        partial = target.with_suffix(".new")
        partial.write_text(json.dumps(asdict(record)))
        partial.replace(target)

    def stop(self, name: str, *, kill: bool = False) -> None:
        """Stop the program, with SIGTERM first unless kill is true, and delete its record."""
        record = self.record(name)
        if record is not None and self.is_running(name):
            os.kill(record.pid, signal.SIGKILL if kill else signal.SIGTERM)
            deadline = time.monotonic() + _STOP_SECONDS
            while self.is_running(name):
                if time.monotonic() > deadline:
                    os.kill(record.pid, signal.SIGKILL)
                    deadline = time.monotonic() + _STOP_SECONDS
                time.sleep(0.05)
        if record is not None:
            _reap(record.pid)
        (self._layout.records / f"{name}.json").unlink(missing_ok=True)

    def forget_dead(self) -> list[str]:
        """Delete the records of programs that ended by themselves; return their names."""
        dead = [name for name in self.names() if not self.is_running(name)]
        for name in dead:
            self.stop(name)
        return dead

    def log(self, name: str) -> Path:
        return self._layout.logs / f"{name}.log"

    def require_running(self) -> None:
        """Raise an error for the first recorded program that died, with the end of its log."""
        for name in self.names():
            if not self.is_running(name):
                raise ClusterError(f"{name} is not running any more.\n{self.log_tail(name)}")

    def log_tail(self, name: str) -> str:
        path = self.log(name)
        if not path.exists():
            return f"It wrote no log ({path})."
        lines = path.read_text(errors="replace").splitlines()[-_LOG_LINES:]
        return "\n".join([f"The last lines of {path}:", *lines])


def _reap(pid: int) -> None:
    """Remove a dead child of this process from the process table."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return
