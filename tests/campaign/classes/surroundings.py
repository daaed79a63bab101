"""Classes in which the operator lacks what it needs: rights, room, addresses, CloudNativePG."""

import asyncio
import copy
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Final

from tests.campaign.admin import JSON_PATCH, Object
from tests.campaign.classes.requests import disturbing
from tests.campaign.faults import EveryWrite
from tests.campaign.lane import CNPG, Lane, path_of
from tests.campaign.plans import Disturb, Plan, Recording, Recordings
from tests.campaign.rights import render
from tests.support.e2e.api import APPS

_LACKING: Final = 8.0
"""Seconds for which something is missing."""

_OVER: Final = ("create", "image", "delete")
"""Workloads meanwhile."""


def _of(recordings: Recordings, *names: str) -> Iterator[Recording]:
    return (recordings[name] for name in names if name in recordings)


def without(role: Object, index: int, verb: str) -> Disturb:
    """Take one verb of one rule away for a while; watches begin again meanwhile."""

    @asynccontextmanager
    async def disturb(lane: Lane) -> AsyncIterator[asyncio.Event]:
        [live] = (each for each in lane.rights if each["kind"] == role["kind"])
        rules = copy.deepcopy(live["rules"])
        rules[index]["verbs"].remove(verb)
        rules = [rule for rule in rules if rule["verbs"]]
        path, reached = path_of(live), asyncio.Event()
        await lane.admin.patch(path, _rules(rules), JSON_PATCH)
        try:
            lane.proxy.cut()
            reached.set()
            yield reached
            await asyncio.sleep(_LACKING)
        finally:
            await lane.admin.patch(path, _rules(live["rules"]), JSON_PATCH)

    return disturb


def _rules(rules: object) -> list[Object]:
    return [{"op": "replace", "path": "/rules", "value": rules}]


def rights(recordings: Recordings) -> Iterator[Plan]:
    """Each verb of each rule of the chart, removed and restored."""
    rendered, _ = render("campaign-0")
    roles = [each for each in rendered if each["kind"] in ("Role", "ClusterRole")]
    for recording in _of(recordings, *_OVER):
        for role in roles:
            for index, rule in enumerate(role["rules"]):
                for verb in rule["verbs"]:
                    subject = ",".join(rule["resources"]).replace("/", ".")
                    what = f"rights/{role['kind']}.{subject}.{verb}"
                    disturb = without(role, index, verb)
                    yield Plan("rights", recording.about, what, disturb, within=240)


QUOTAS: Final = {
    "pods": "count/pods",
    "secrets": "count/secrets",
    "services": "count/services",
    "deployments": "count/deployments.apps",
    "serviceaccounts": "count/serviceaccounts",
    "certificates": "count/certificates.cert-manager.io",
    "memory": "limits.memory",
}


def limited(resource: str) -> Disturb:
    """Let no more of something be created for a while."""

    @asynccontextmanager
    async def disturb(lane: Lane) -> AsyncIterator[asyncio.Event]:
        quota = {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "campaign", "namespace": lane.namespace},
            "spec": {"hard": {resource: "0"}},
        }
        reached = asyncio.Event()
        await lane.apply(quota)
        try:
            await asyncio.sleep(1)
            reached.set()
            yield reached
            await asyncio.sleep(_LACKING)
        finally:
            await lane.admin.delete(path_of(quota))

    return disturb


def quotas(recordings: Recordings) -> Iterator[Plan]:
    """Each kind that the operator, or what it starts, creates."""
    for recording in _of(recordings, "create", "create-own", "image"):
        for name, resource in QUOTAS.items():
            disturb = limited(resource)
            yield Plan(
                "quota", recording.about, f"quota/{name}", disturb, interrupts=True, within=300
            )


@asynccontextmanager
async def exhausted(lane: Lane) -> AsyncIterator[asyncio.Event]:
    """Refuse every write of a Service, as the API server does without a free address."""
    fault = EveryWrite("services", "500")
    async with disturbing(lane, fault):
        yield fault.reached
        await asyncio.sleep(_LACKING)


def addresses(recordings: Recordings) -> Iterator[Plan]:
    """No address is left."""
    for recording in _of(recordings, "create", "create-own", "port", "two"):
        yield Plan("address", recording.about, "address/exhausted", exhausted)


@asynccontextmanager
async def recreated(lane: Lane) -> AsyncIterator[asyncio.Event]:
    """Delete CloudNativePG's Deployment, and install it again."""
    path, reached = f"{lane.path('deployments', APPS)}/{CNPG}", asyncio.Event()
    await lane.admin.delete(path)
    reached.set()
    yield reached
    await asyncio.sleep(_LACKING)
    await lane.install_cnpg()


@asynccontextmanager
async def scaled(lane: Lane) -> AsyncIterator[asyncio.Event]:
    """Scale CloudNativePG to nothing, and back."""
    path, reached = f"{lane.path('deployments', APPS)}/{CNPG}", asyncio.Event()
    await lane.admin.patch(path, {"spec": {"replicas": 0}})
    reached.set()
    yield reached
    await asyncio.sleep(_LACKING)
    await lane.admin.patch(path, {"spec": {"replicas": 1}})


@asynccontextmanager
async def replaced(lane: Lane) -> AsyncIterator[asyncio.Event]:
    """Delete CloudNativePG's pods."""
    reached = asyncio.Event()
    for pod in await lane.admin.list(lane.path("pods")):
        if pod["metadata"]["name"].startswith(CNPG):
            await lane.admin.delete(f"{lane.path('pods')}/{pod['metadata']['name']}")
    reached.set()
    yield reached


@asynccontextmanager
async def bereft(lane: Lane) -> AsyncIterator[asyncio.Event]:
    """Delete CloudNativePG's Lease."""
    reached = asyncio.Event()
    root = "/apis/coordination.k8s.io/v1"
    await lane.admin.delete(f"{lane.path('leases', root)}/db9c8771.cnpg.io")
    reached.set()
    yield reached


@asynccontextmanager
async def rolled_later(lane: Lane) -> AsyncIterator[asyncio.Event]:
    """Record the operator's last roll of CloudNativePG in the future: its clock was ahead."""
    reached = asyncio.Event()
    record = {"cnpgplugin.dev/sidecars-rolled-at": "2099-01-01T00:00:00Z"}
    path = f"{lane.path('deployments', APPS)}/{CNPG}"
    await lane.admin.patch(path, {"metadata": {"annotations": record}})
    reached.set()
    yield reached


def cnpg(recordings: Recordings) -> Iterator[Plan]:
    """CloudNativePG is deleted, scaled to nothing, or replaced; a roll has a wrong time."""
    for recording in _of(recordings, "sidecar", "mode"):
        what = "cnpg/rolled-in-the-future"
        yield Plan("cnpg", recording.about, what, rolled_later)
    ways = {"recreated": recreated, "scaled": scaled, "replaced": replaced, "lease-deleted": bereft}
    for recording in _of(recordings, "create", "image", "delete", "steady", "sidecar", "mode"):
        for name, disturb in ways.items():
            yield Plan(
                "cnpg",
                recording.about,
                f"cnpg/{name}",
                disturb,
                rolls=2,
                recounts=name == "recreated",
                within=300,
            )
