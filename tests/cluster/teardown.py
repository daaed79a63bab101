"""Removes a cluster completely, in any state of its programs.

Uses what the kernel reports (cgroup members, mounts, the namespace), never the answers of the
cluster's own programs: they may all be dead or hung.
"""

import shutil
import subprocess
from pathlib import Path

from tests.cluster import cgroups
from tests.cluster.errors import ClusterError
from tests.cluster.network import delete_network
from tests.cluster.paths import Layout, state_root
from tests.cluster.processes import Supervisor

_CNI_RESULTS = Path("/var/lib/cni/results")
_CONTAINER_LOG_LINKS = Path("/var/log/containers")


def remove_cluster(layout: Layout) -> None:
    """Stop its processes, then remove mounts, sockets, network, cgroups and files."""
    supervisor = Supervisor(layout)
    for name in supervisor.names():
        supervisor.stop(name, kill=True)
    cgroups.kill_members(layout)
    sockets = _shim_sockets(layout)
    _unmount_below(layout.state)
    delete_network(layout)
    cgroups.delete(layout)
    for leftover in [*sockets, *_foreign_files(layout)]:
        leftover.unlink(missing_ok=True)
    shutil.rmtree(layout.state)
    if not any(state_root().iterdir()):
        state_root().rmdir()


def _shim_sockets(layout: Layout) -> list[Path]:
    """Find the sockets of container shims, which are in one directory for the whole machine."""
    addresses = (layout.state / "containerd").glob("state/*/k8s.io/*/address")
    return [Path(path.read_text().removeprefix("unix://")) for path in addresses]


def _foreign_files(layout: Layout) -> list[Path]:
    """Find our files in directories that the programs which write them do not let us configure."""
    found = []
    for result in _CNI_RESULTS.glob(f"{layout.unique}-*-eth0"):
        sandbox = result.name.removeprefix(f"{layout.unique}-").removesuffix("-eth0")
        found += [result, _CNI_RESULTS / f"cni-loopback-{sandbox}-lo"]
    links = _CONTAINER_LOG_LINKS.glob("*.log")
    found += [
        link for link in links if link.is_symlink() and link.readlink().is_relative_to(layout.state)
    ]
    return found


def mounts_below(directory: Path) -> list[Path]:
    """Mount points inside directory, innermost first."""
    points = []
    for line in Path("/proc/self/mounts").read_text().splitlines():
        point = Path(line.split()[1].encode().decode("unicode_escape"))
        if point.is_relative_to(directory):
            points.append(point)
    return sorted(points, key=lambda point: len(point.parts), reverse=True)


def _unmount_below(directory: Path) -> None:
    # A directory can have several mounts: each iteration removes one layer.
    while points := mounts_below(directory):
        for point in points:
            done = subprocess.run(
                ["umount", "--lazy", str(point)], capture_output=True, text=True, check=False
            )
            if done.returncode != 0 and point in mounts_below(directory):
                raise ClusterError(f"cannot unmount {point}: {done.stderr.strip()}")
