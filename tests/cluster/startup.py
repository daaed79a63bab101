"""Starts a cluster from any state: absent, partly killed, or running.

Every step checks first and does only what is missing, so that a second `up` takes a second.
"""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from tests.cluster import addons, api, builds, cgroups, images, node
from tests.cluster.addons import Kubectl
from tests.cluster.network import create_network
from tests.cluster.paths import Layout
from tests.cluster.pki import create_pki
from tests.cluster.processes import Supervisor, boot_id
from tests.cluster.progress import say, wait_until

_NODE_LEASE = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/node"


class Startup:
    """One run of `up` for one cluster."""

    def __init__(self, layout: Layout, kubectl: Kubectl, cnpg: str | None, kubernetes: str) -> None:
        self._layout = layout
        self._kubectl = kubectl
        self._cnpg = cnpg
        self._kubernetes = kubernetes
        self._begun = datetime.now(UTC)
        self._supervisor = Supervisor(layout)

    def run(self) -> None:
        layout = self._layout
        stamps = _stamp(layout, "any").parent
        for directory in (layout.programs, layout.logs, layout.records, layout.config, stamps):
            directory.mkdir(parents=True, exist_ok=True)
        (layout.state / "boot").write_text(boot_id())
        self._supervisor = Supervisor(layout, cgroups.create(layout))
        if dead := self._supervisor.forget_dead():
            say(f"not running any more: {', '.join(dead)}")
        create_network(layout)
        create_pki(layout)
        node.link_programs(layout, self._kubernetes)
        node.write_configuration(layout)
        fresh = not self._supervisor.is_running("kubelet")
        self._start(*node.FIRST)
        with ThreadPoolExecutor(max_workers=3) as side_work:
            loading = side_work.submit(self._load_images)
            self._wait_for_api_server()
            self._start(*node.SECOND)
            tasks = [loading]
            if self._cnpg is not None:
                tasks.append(side_work.submit(self._install_cert_manager))
                tasks.append(side_work.submit(self._install_cnpg, self._cnpg))
            for task in tasks:
                task.result()
        self._wait_for_node(fresh=fresh)
        if self._cnpg is not None:
            self._wait_for_cnpg(self._cnpg)
        self._supervisor.require_running()

    def _start(self, *names: str) -> None:
        """Start the components that do not run."""
        lacking = [name for name in names if not self._supervisor.is_running(name)]
        commands = node.commands(self._layout)
        for name in lacking:
            self._supervisor.start(name, commands[name])
        if lacking:
            say(f"started {', '.join(lacking)}")

    def _is_done(self, what: str, how: str) -> bool:
        stamp = _stamp(self._layout, what)
        return stamp.exists() and stamp.read_text() == how

    def _mark_done(self, what: str, how: str) -> None:
        _stamp(self._layout, what).write_text(how)

    def _load_images(self) -> None:
        socket = self._layout.containerd_socket
        wait_until("containerd's socket", socket.exists, timeout=300, check=self._check)
        for image in images.always_loaded(self._cnpg):
            name, key = image.tag.rpartition("/")[2], image.archive.stem
            if not self._is_done(name, key):
                images.import_archive(self._layout, image.archive)
                self._mark_done(name, key)
                say(f"loaded {image.tag}")

    def _check(self) -> None:
        self._supervisor.require_running()

    def _wait_for_api_server(self) -> None:
        wait_until(
            "the API server",
            lambda: api.is_ready(self._layout),
            timeout=300,
            check=self._check,
            explain=lambda: self._supervisor.log_tail("kube-apiserver"),
        )
        say("the API server is ready")

    def _install_cert_manager(self) -> None:
        key = builds.CERT_MANAGER.directory.name
        if not self._is_done(node.CERT_MANAGER, key):
            addons.apply_cert_manager(self._kubectl)
            wait_until(
                "cert-manager's resource types",
                lambda: addons.cert_manager_is_served(self._layout),
                timeout=300,
                check=self._check,
            )
            self._mark_done(node.CERT_MANAGER, key)
        self._start(node.CERT_MANAGER)

    def _install_cnpg(self, version: str) -> None:
        key = builds.cnpg(version).directory.name
        if not self._is_done("cnpg", key):
            addons.apply_cnpg(self._kubectl, version)
            self._mark_done("cnpg", key)
            say(f"applied CloudNativePG {version}")

    def _wait_for_node(self, *, fresh: bool) -> None:
        def ready() -> bool:
            if fresh and not api.renewed_since(self._layout, _NODE_LEASE, self._begun):
                return False  # the API server still has the state from before kubelet was killed
            return api.has_condition(self._layout, node.NODE_PATH, "Ready")

        wait_until(
            "the node",
            ready,
            timeout=300,
            check=self._check,
            explain=lambda: self._supervisor.log_tail("kubelet"),
        )
        say("the node is Ready")

    def _wait_for_cnpg(self, version: str) -> None:
        wait_until(
            f"CloudNativePG {version}",
            lambda: addons.cnpg_is_available(self._layout) and addons.cnpg_answers(self._layout),
            timeout=300,
            check=self._check,
            explain=lambda: addons.explain_pods(self._kubectl),
        )
        say(f"CloudNativePG {version} is Available")


def _stamp(layout: Layout, what: str) -> Path:
    """Find the file that records which version of something the cluster contains."""
    return layout.state / "done" / what


def expected_components(layout: Layout) -> list[str]:
    """List the components that should run: cert-manager only if it is installed."""
    known = node.commands(layout)
    if not _stamp(layout, node.CERT_MANAGER).exists():
        del known[node.CERT_MANAGER]
    return sorted(known)


def is_from_another_boot(layout: Layout) -> bool:
    """Whether the machine was restarted since; such a cluster has to be recreated."""
    stamp = layout.state / "boot"
    return stamp.exists() and stamp.read_text() != boot_id()
