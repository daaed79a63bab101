"""Where the files are: the cache that outlives clusters, and the state of one cluster.

We own nothing outside these two trees, except the few things that a kernel has only in one place
(named network namespaces, cgroups). Their names are defined here, too, so that `down` and `up`
agree about what is ours.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.errors import ClusterError

PACKAGE = Path(__file__).resolve().parent
PEERS = PACKAGE / "peers"
MANIFESTS = PACKAGE / "manifests"
SAMPLE_PLUGIN = PACKAGE.parent / "plugins" / "sample"

CACHE_VARIABLE = "CNPGP_CACHE"
STATE_VARIABLE = "CNPGP_STATE"
NAME_VARIABLE = "CNPGP_CLUSTER"
DEFAULT_NAME = "dev"

# A network namespace, a cgroup and a directory have this name.
NAME_PATTERN = re.compile(r"[a-z][a-z0-9-]{0,20}")


def cache_directory() -> Path:
    """Find the directory of built programs and images: safe to delete, slow to rebuild."""
    default = Path.home() / ".cache" / "cnpg-plugin-operator"
    return Path(os.environ.get(CACHE_VARIABLE) or default)


def state_root() -> Path:
    """Find the parent of every cluster's state directory."""
    return Path(os.environ.get(STATE_VARIABLE) or "/var/lib/cnpg-plugin-operator")


@dataclass(frozen=True)
class Layout:
    """The names and paths of one cluster."""

    name: str

    def __post_init__(self) -> None:
        if not NAME_PATTERN.fullmatch(self.name):
            raise ClusterError(
                f"cluster name {self.name!r}: lower-case letters, digits and dashes, 21 at most"
            )

    @property
    def state(self) -> Path:
        return state_root() / self.name

    @property
    def unique(self) -> str:
        """The name in places that all clusters share: network namespaces, cgroups, CNI caches."""
        return f"cnpgp-{self.name}"

    @property
    def netns(self) -> Path:
        return Path("/run/netns") / self.unique

    @property
    def programs(self) -> Path:
        """Links to the built programs, under the names by which they are called."""
        return self.state / "bin"

    @property
    def logs(self) -> Path:
        return self.state / "log"

    @property
    def records(self) -> Path:
        """One file per running component."""
        return self.state / "run"

    @property
    def pki(self) -> Path:
        return self.state / "pki"

    @property
    def config(self) -> Path:
        return self.state / "config"

    @property
    def containerd_socket(self) -> Path:
        return self.state / "containerd" / "containerd.sock"

    @property
    def resolv_conf(self) -> Path:
        """Name resolution for programs that run inside the network namespace."""
        return self.config / "resolv.conf"

    @property
    def discovery(self) -> Path:
        """What kubectl and helm remember of the API server's kinds, which all have one address."""
        return self.state / "discovery"

    @property
    def audit_log(self) -> Path:
        return self.logs / "audit.log"

    def kubeconfig(self, user: str = "admin") -> Path:
        return self.config / f"{user}.kubeconfig"


def write_if_changed(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Write text unless it is there already: some components restart when their file changes."""
    if path.exists() and path.read_text() == text:
        return
    path.touch(mode=mode)
    path.write_text(text)
