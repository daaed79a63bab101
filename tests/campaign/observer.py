"""Watches a lane while a plan runs: messages, announcements, calls of the plugins, rolls.

The probe is the one of the end-to-end tests, once a second.
"""

import asyncio
import io
import json
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import aiohttp

from tests.campaign.admin import Object
from tests.campaign.lane import CNPG, Lane
from tests.campaign.oracle import Seen
from tests.support.e2e.api import APPS, PLUGINS, ApiError
from tests.support.e2e.probe_calls import NOT_READ, PLUGIN, Caller

LABEL: Final = "cnpg.io/pluginName"
RETIRED: Final = ".taken-over"
"""What a take-over adds to the name that the previous Service announces."""
Follow = Callable[[Lane, Seen], Coroutine[Any, Any, None]]

INTERVAL: Final = 1.0
"""Seconds between two calls of a plugin."""


@asynccontextmanager
async def observing(lane: Lane) -> AsyncIterator[Seen]:
    """Observe until the end."""
    seen = Seen()
    before = await _pods_template(lane)
    seen.services = await announced(lane)
    follow = (_conditions, _events, _services, _probe)
    tasks = [asyncio.create_task(_forever(each, lane, seen)) for each in follow]
    try:
        yield seen
        seen.rolls = max(await _pods_template(lane) - before, 0)
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def announced(lane: Lane) -> dict[str, str]:
    """The plugins that are announced, by their Services."""
    services = await lane.admin.list(lane.path("services"))
    return {each["metadata"]["name"]: name for each in services if (name := _name(each))}


async def _forever(follow: Follow, lane: Lane, seen: Seen) -> None:
    """Follow again where the API server was away."""
    while True:
        with suppress(aiohttp.ClientError, ApiError):
            await follow(lane, seen)
        await asyncio.sleep(0.5)


async def _pods_template(lane: Lane) -> int:
    """How many pod templates CloudNativePG's Deployment has had."""
    found = await lane.admin.find(f"{lane.path('deployments', APPS)}/{CNPG}")
    annotations = (found or {}).get("metadata", {}).get("annotations") or {}
    return int(annotations.get("deployment.kubernetes.io/revision", 0))


async def _conditions(lane: Lane, seen: Seen) -> None:
    async for _, body in lane.admin.watch(lane.path("cnpgplugins", PLUGINS)):
        found = body.get("status", {}).get("conditions") or ()
        seen.messages |= {condition["message"] for condition in found}


async def _events(lane: Lane, seen: Seen) -> None:
    async for _, body in lane.admin.watch(lane.path("events")):
        if body["involvedObject"].get("kind") == "CNPGPlugin":
            seen.messages.add(body.get("message", ""))


async def _services(lane: Lane, seen: Seen) -> None:
    """Call each plugin when it is announced."""
    async for kind, body in lane.admin.watch(lane.path("services")):
        name, service = _name(body), body["metadata"]["name"]
        if kind == "DELETED" or "deletionTimestamp" in body["metadata"] or not name:
            seen.services.pop(service, None)
            continue
        is_new = name not in seen.announced
        seen.services[service] = name
        failure = await call(lane, name) if is_new else None
        if failure is not None and await _is_still(lane, body):
            seen.unproven.append(f"{name}: {failure}")


def _name(service: Object) -> str:
    """The plugin that CloudNativePG sees in a Service and some Cluster may name, or nothing."""
    name: str = (service["metadata"].get("labels") or {}).get(LABEL, "")
    return "" if name.endswith(RETIRED) else name


async def _is_still(lane: Lane, body: Object) -> bool:
    """Whether a Service is as it was: else the plugin was being changed or deleted."""
    now = await lane.admin.find(f"{lane.path('services')}/{body['metadata']['name']}")
    version = "resourceVersion"
    return now is not None and now["metadata"][version] == body["metadata"][version]


async def _probe(lane: Lane, seen: Seen) -> None:
    """Call what is announced, as long as it is."""
    while True:
        due = time.monotonic() + INTERVAL
        for name in sorted(seen.announced):
            failure = await call(lane, name)
            seen.calls += 1
            if failure is not None and name in seen.announced:
                seen.failed.append(f"{name} at {time.strftime('%H:%M:%S')}: {failure}")
        await asyncio.sleep(max(due - time.monotonic(), 0.1))


async def call(lane: Lane, plugin: str) -> str | None:
    """Call a plugin as CloudNativePG does; give the reason if that fails."""
    output = io.StringIO()
    await Caller(lane.admin.session, lane.namespace, output).call(f"{PLUGIN}{plugin}")
    found = json.loads(output.getvalue())
    if found["ok"] or found["reason"] == NOT_READ:
        return None
    return f"{found['reason']}: {found['message']}"
