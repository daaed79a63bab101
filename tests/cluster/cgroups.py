"""The cluster's control groups, which contain kubelet's pods and our own processes.

By their members `down` finds every process that the cluster ever started, shims and containers
included, even after every process that kept records of them was killed.
"""

import errno
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from tests.cluster.errors import ClusterError
from tests.cluster.paths import Layout

ROOT = Path("/sys/fs/cgroup")
# The group of our own programs; pods are in kubelet's `kubepods` beside it.
SYSTEM = "system"
_KILL_SECONDS = 20.0


def _is_unified() -> bool:
    return (ROOT / "cgroup.controllers").exists()


def _hierarchies() -> list[Path]:
    """Find every mounted hierarchy: one in cgroup v2, one per controller in v1."""
    if _is_unified():
        return [ROOT]
    candidates = [entry for entry in ROOT.iterdir() if entry.is_dir() and not entry.is_symlink()]
    return [entry for entry in candidates if (entry / "cgroup.procs").exists()]


def _tracking_hierarchy() -> Path:
    return ROOT if _is_unified() else ROOT / "pids"


def create(layout: Layout) -> Path:
    """Create the cluster's groups; return the file to which a starting program writes its pid."""
    for hierarchy in _hierarchies():
        group = hierarchy / layout.unique
        group.mkdir(exist_ok=True)
        if _is_unified():
            _delegate(hierarchy, group)
        for setting in ("cpuset.cpus", "cpuset.mems"):
            if not _is_unified() and (group / setting).exists():
                (group / setting).write_text((hierarchy / setting).read_text())
    tracking = _tracking_hierarchy() / layout.unique / SYSTEM
    tracking.mkdir(exist_ok=True)
    return tracking / "cgroup.procs"


def _delegate(hierarchy: Path, group: Path) -> None:
    """In cgroup v2 a group has a controller only if its parent enables it."""
    for controller in (hierarchy / "cgroup.controllers").read_text().split():
        for parent in (hierarchy, group):
            try:
                (parent / "cgroup.subtree_control").write_text(f"+{controller}")
            except OSError as failure:
                if failure.errno not in (errno.EBUSY, errno.EINVAL, errno.ENOENT):
                    raise


def members(layout: Layout) -> set[int]:
    """Find the pids of every process of this cluster, containers included."""
    found: set[int] = set()
    for hierarchy in _hierarchies():
        for directory, _, files in os.walk(hierarchy / layout.unique):
            if "cgroup.procs" in files:
                try:
                    text = (Path(directory) / "cgroup.procs").read_text()
                except OSError:  # the group was removed meanwhile
                    continue
                found.update(int(line) for line in text.split())
    return found - {0, os.getpid()}


def kill_members(layout: Layout) -> None:
    """End every process of this cluster and wait until none is left."""
    deadline = time.monotonic() + _KILL_SECONDS
    while remaining := members(layout):
        if time.monotonic() > deadline:
            raise ClusterError(f"processes {sorted(remaining)} are still running after SIGKILL")
        for pid in remaining:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.05)


def signal_pod(layout: Layout, uid: str, number: signal.Signals) -> None:
    """Send a signal to the processes of one pod, its containers and its sandbox."""
    for pid in members(layout):
        with suppress(OSError):  # it has ended meanwhile
            if uid in Path(f"/proc/{pid}/cgroup").read_text():
                os.kill(pid, number)


def delete(layout: Layout) -> None:
    """Remove the groups; they must be empty of processes."""
    for hierarchy in _hierarchies():
        _remove_tree(hierarchy / layout.unique)


def _remove_tree(group: Path) -> None:
    deepest_first = [Path(found) for found, _, _ in os.walk(group, topdown=False)]
    for directory in deepest_first:
        _remove_group(directory)


def _remove_group(directory: Path) -> None:
    deadline = time.monotonic() + _KILL_SECONDS
    while directory.exists():
        try:
            directory.rmdir()
        except FileNotFoundError:
            return
        except OSError as failure:  # the kernel releases a dead process a moment later
            if failure.errno != errno.EBUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
