"""A named cluster for tests and the demo: one small typed object.

`Cluster("test").up()` starts it, `.kubectl("get", "nodes")` talks to it, `.down()` removes it.
"""

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import (
    addons,
    api,
    builds,
    dockerfiles,
    firewall,
    images,
    machine,
    network,
    node,
    storage,
)
from tests.cluster.cgroups import create as create_cgroups
from tests.cluster.errors import ClusterError
from tests.cluster.paths import DEFAULT_NAME, Layout, cache_directory
from tests.cluster.processes import Supervisor
from tests.cluster.progress import lock_file, say
from tests.cluster.startup import Startup, expected_components, is_from_another_boot
from tests.cluster.teardown import remove_cluster

DEFAULT_CNPG = "1.30.0"
DEFAULT_KUBERNETES = builds.KUBERNETES_VERSIONS[0]


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Let no other cluster start meanwhile: each of them would take twice its time or more."""
    with (cache_directory() / "starting.lock").open("w") as lock:
        lock_file(lock.fileno(), "another cluster to start")
        yield


@dataclass(frozen=True)
class Status:
    """What `status` shows. `state` is absent, partial or running."""

    name: str
    state: str
    components: dict[str, bool]
    node_ready: bool
    cnpg_version: str | None
    cnpg_available: bool
    kubeconfig: str
    netns: str
    state_directory: str
    audit_log: str
    resolv_conf: str


class Cluster:
    """One single-node cluster in a network namespace and a state directory of its own."""

    def __init__(self, name: str = DEFAULT_NAME) -> None:
        self.name = name
        self.layout = Layout(name)

    @property
    def kubeconfig(self) -> Path:
        """The administrator's; its server address is valid only inside the network namespace."""
        return self.layout.kubeconfig()

    @property
    def netns(self) -> str:
        """The network namespace's name, as in `ip netns exec NAME`."""
        return self.layout.unique

    @property
    def audit_log(self) -> Path:
        """Every request but reads of its own stage, one JSON object per line."""
        return self.layout.audit_log

    def up(
        self,
        cnpg: str = DEFAULT_CNPG,
        *,
        kubernetes: str = DEFAULT_KUBERNETES,
        addons: bool = True,
    ) -> None:
        """Build and start what is missing, and wait until everything is ready."""
        if cnpg not in builds.CNPG_VERSIONS:
            known = ", ".join(builds.CNPG_VERSIONS)
            raise ClusterError(f"CloudNativePG {cnpg} is not among the versions to build: {known}")
        machine.require_rights()
        machine.allow_many_clusters()
        machine.install_debian_packages()
        version = cnpg if addons else None
        builds.build([builds.kubernetes(kubernetes), *builds.NODE_PROGRAMS])
        if addons:
            builds.build([builds.CERT_MANAGER])
        for image in images.always_loaded(version):
            image.make()
        with self._alone():
            if is_from_another_boot(self.layout):
                say(f"cluster {self.name} is from before this machine's last boot: recreating it")
                remove_cluster(self.layout)
                self.layout.state.mkdir(parents=True)
            # A cluster that runs already does not wait for those that start.
            running = self.status().state == "running"
            with nullcontext() if running else _one_at_a_time():
                Startup(self.layout, self.kubectl, version, kubernetes).run()
        say(f"cluster {self.name} is up")

    def down(self) -> None:
        """Remove the cluster completely: processes, mounts, network, cgroups, files."""
        machine.require_rights()
        with self._alone():
            remove_cluster(self.layout)
        say(f"cluster {self.name} is removed")

    def status(self) -> Status:
        """Read its state from its processes and, if it answers, from its API server."""
        supervisor = Supervisor(self.layout)
        names = expected_components(self.layout) if self.layout.state.exists() else []
        components = {name: supervisor.is_running(name) for name in names}
        answers = (
            components.get("kube-apiserver", False)
            and self.layout.netns.exists()
            and api.is_ready(self.layout)
        )
        if not self.layout.state.exists():
            state = "absent"
        else:
            state = "running" if answers and all(components.values()) else "partial"
        return Status(
            name=self.name,
            state=state,
            components=components,
            node_ready=answers and api.has_condition(self.layout, node.NODE_PATH, "Ready"),
            cnpg_version=addons.cnpg_version(self.layout) if answers else None,
            cnpg_available=answers and addons.cnpg_is_available(self.layout),
            kubeconfig=str(self.kubeconfig),
            netns=self.netns,
            state_directory=str(self.layout.state),
            audit_log=str(self.audit_log),
            resolv_conf=str(self.layout.resolv_conf),
        )

    def kubectl(self, *arguments: str, input: str | None = None) -> str:  # noqa: A002
        """Run kubectl as the administrator; return its output, or raise with its error."""
        return self._run(self.kubectl_argv(*arguments), input)

    def helm(self, *arguments: str) -> str:
        """Run helm as the administrator; return its output, or raise with its error."""
        return self._run(self.helm_argv(*arguments), None)

    def kubectl_argv(self, *arguments: str) -> list[str]:
        """Build the full command line of a kubectl inside the cluster's network."""
        self._require_existence()
        program = str(self.layout.programs / "kubectl")
        kubeconfig = f"--kubeconfig={self.kubeconfig}"
        return network.inside(self.layout, [program, kubeconfig, *arguments])

    def helm_argv(self, *arguments: str) -> list[str]:
        """Build the full command line of a helm inside the cluster's network."""
        self._require_existence()
        program = str(self.layout.programs / "helm")
        return network.inside(self.layout, [program, f"--kubeconfig={self.kubeconfig}", *arguments])

    def in_namespace(self, argv: list[str]) -> list[str]:
        """Build the command line that runs argv in the cluster's network, with its DNS."""
        self._require_existence()
        return network.inside(self.layout, argv, dns=True)

    def enter_network(self) -> None:
        """Move the calling thread, and what it starts from now on, into the cluster's network.

        Addresses work from then on, but names do not: the process keeps its own /etc/resolv.conf.
        """
        self._require_existence()
        network.enter_network(self.layout.netns)

    def build_image(
        self, context: Path, tag: str, build_args: Mapping[str, str] | None = None
    ) -> None:
        """Build context's Dockerfile as tag and load it on the node."""
        dockerfiles.build_image(context, tag, build_args or {})
        self.load_image(tag)

    def load_image(self, reference: str | Path) -> None:
        """Load an OCI archive, or an image that was built on this machine, on the node."""
        self._require_existence()
        images.load(self.layout, str(reference))

    def add_volume(self, name: str, size: str = "1Gi") -> None:
        """Create an empty PersistentVolume of the default storage class for one claim."""
        self._require_existence()
        storage.add_volume(self.layout, self.kubectl, name, size)

    @contextmanager
    def enforcing_network_policies(self) -> Iterator[None]:
        """Enforce NetworkPolicies meanwhile; the network admits every packet otherwise."""
        self._require_existence()
        with firewall.enforcing(self.layout):
            yield

    def stop_component(self, name: str, *, kill: bool = False) -> None:
        """End a component (`status` lists them) until `start_component` or `up`."""
        self._require_component(name)
        Supervisor(self.layout).stop(name, kill=kill)

    def start_component(self, name: str) -> None:
        """Start a component that was stopped; no effect if it runs."""
        self._require_component(name)
        supervisor = Supervisor(self.layout, create_cgroups(self.layout))
        supervisor.start(name, node.commands(self.layout)[name])

    def log(self, component: str) -> Path:
        """Find the file with a component's output."""
        self._require_component(component)
        return Supervisor(self.layout).log(component)

    def _require_component(self, name: str) -> None:
        self._require_existence()
        known = sorted(node.commands(self.layout))
        if name not in known:
            raise ClusterError(f"unknown component {name!r}; the components are {', '.join(known)}")

    def _require_existence(self) -> None:
        if not self.layout.netns.exists() or not self.layout.programs.exists():
            raise ClusterError(f"cluster {self.name!r} does not exist; create it with `up`")

    def _run(self, argv: list[str], text: str | None) -> str:
        # Both programs end long before a garbage collection pays: it is a third of their time.
        environment = {**os.environ, "GOGC": "off", "KUBECACHEDIR": str(self.layout.discovery)}
        done = subprocess.run(
            argv, input=text, capture_output=True, text=True, check=False, env=environment
        )
        if done.returncode != 0:
            words = " ".join(Path(part).name if "/" in part else part for part in argv[3:])
            raise ClusterError(f"{words} (exit {done.returncode}):\n{done.stderr.strip()}")
        return done.stdout

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Lock the cluster against other runs of this tool."""
        while True:
            self.layout.state.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.layout.state, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                lock_file(descriptor, f"another run on cluster {self.name}")
                # The run that we waited for may have been a `down`, which removed the directory.
                if os.fstat(descriptor).st_nlink > 0:
                    yield
                    return
            finally:
                os.close(descriptor)
