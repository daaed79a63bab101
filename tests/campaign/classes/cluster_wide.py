"""Classes that disturb the whole cluster, and so run alone; and the end of a lane's namespace."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Final

from tests.campaign.lane import Lane
from tests.campaign.plans import Disturb, Plan, Recordings
from tests.campaign.workloads import create
from tests.cluster import builds
from tests.cluster.cgroups import signal_pod
from tests.support.e2e.api import CORE
from tests.support.e2e.installation import apply_crd

_CRDS: Final = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_AWAY: Final = 8.0
"""Seconds for which something is missing."""

COMPONENTS: Final = (
    *("kube-apiserver", "etcd", "kube-controller-manager", "kube-scheduler"),
    *("kubelet", "containerd", "kube-proxy", "coredns", "cert-manager"),
)
"""Programs of the node, each killed and started again."""


async def _until_gone(lane: Lane, path: str, *, within: float = 120) -> None:
    async def is_gone() -> bool:
        return await lane.admin.find(path) is None

    await lane.until(is_gone, f"{path} is gone", within=within)


@asynccontextmanager
async def without_cert_manager(lane: Lane) -> AsyncIterator[asyncio.Event]:
    """Remove cert-manager's CRDs, with all Certificates, and install them again."""
    reached = asyncio.Event()
    names = [each["metadata"]["name"] for each in await lane.admin.list(_CRDS)]
    removed = [name for name in names if name.endswith("cert-manager.io")]
    for name in removed:
        await lane.admin.delete(f"{_CRDS}/{name}")
    for name in removed:
        await _until_gone(lane, f"{_CRDS}/{name}")
    reached.set()
    yield reached
    await asyncio.sleep(_AWAY)
    flags = ("apply", "--server-side", "--force-conflicts", "-f")
    crds = str(builds.CERT_MANAGER.asset("crds"))
    await asyncio.to_thread(lane.cluster.kubectl, *flags, crds)


@asynccontextmanager
async def without_crd(lane: Lane) -> AsyncIterator[asyncio.Event]:
    """Remove the operator's own CRD, with all resources; install it, and create them again."""
    reached = asyncio.Event()
    name = "cnpgplugins.cnpgplugin.dev"
    await lane.admin.delete(f"{_CRDS}/{name}")
    await _until_gone(lane, f"{_CRDS}/{name}")
    reached.set()
    yield reached
    await asyncio.sleep(_AWAY)
    await asyncio.to_thread(apply_crd, lane.cluster)
    await create()(lane)


def crds(recordings: Recordings) -> Iterator[Plan]:
    """cert-manager's kinds and our own, removed and restored."""
    for workload in ("steady", "create", "image"):
        if (found := recordings.get(workload)) is not None:
            for name, disturb in (("cert-manager", without_cert_manager), ("own", without_crd)):
                if name == "cert-manager" or workload == "steady":
                    what = f"crds/{name}"
                    yield Plan(
                        *("crds", found.about, what, disturb),
                        interrupts=True,
                        alone=True,
                        within=300,
                    )


@asynccontextmanager
async def without_namespace(lane: Lane) -> AsyncIterator[asyncio.Event]:
    """Delete the namespace, with CloudNativePG and the operator's rights; create all again.

    Without its rights the operator cannot remove the finalizers: a person does, as
    docs/operate/troubleshooting.md says.
    """
    reached = asyncio.Event()
    path = f"{CORE}/namespaces/{lane.namespace}"
    await lane.admin.delete(path)
    with suppress(TimeoutError):
        await _until_gone(lane, path, within=20)
    await lane.clear()
    reached.set()
    yield reached
    await lane.fill()
    await create()(lane)


def namespace(recordings: Recordings) -> Iterator[Plan]:
    """The namespace is deleted and created again."""
    if (found := recordings.get("steady")) is not None:
        what = "namespace/deleted"
        yield Plan(
            "namespace", found.about, what, without_namespace, interrupts=True, rolls=1, within=300
        )


def killed(component: str) -> Disturb:
    """Kill one of the node's programs, and start it again."""

    @asynccontextmanager
    async def disturb(lane: Lane) -> AsyncIterator[asyncio.Event]:
        reached = asyncio.Event()
        await asyncio.to_thread(lane.cluster.stop_component, component, kill=True)
        await asyncio.sleep(_AWAY / 2)
        await asyncio.to_thread(lane.cluster.start_component, component)

        async def is_ready() -> bool:
            return await asyncio.to_thread(lambda: lane.cluster.status().node_ready)

        await lane.until(is_ready, f"{component} works again", within=120)
        reached.set()
        yield reached

    return disturb


@asynccontextmanager
async def rebooted(lane: Lane) -> AsyncIterator[asyncio.Event]:
    """Kill the processes of every pod of the lane, and the kubelet, as a reboot does."""
    reached = asyncio.Event()
    pods = await lane.admin.list(lane.path("pods"))
    cluster = lane.cluster
    await asyncio.to_thread(cluster.stop_component, "kubelet")
    for pod in pods:
        uid = pod["metadata"]["uid"]
        await asyncio.to_thread(signal_pod, cluster.layout, uid, signal.SIGKILL)
    lane.kill()
    await asyncio.to_thread(cluster.start_component, "kubelet")
    await lane.start_again()
    reached.set()
    yield reached


def node(recordings: Recordings) -> Iterator[Plan]:
    """Each program of the node is killed; all pods die at once."""
    for workload in ("steady", "sidecar"):
        if (found := recordings.get(workload)) is not None:
            ways = {component: killed(component) for component in COMPONENTS}
            for name, disturb in {**ways, "rebooted": rebooted}.items():
                yield Plan(
                    *("node", found.about, f"node/{name}", disturb),
                    interrupts=True,
                    alone=True,
                    within=300,
                )
