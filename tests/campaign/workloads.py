"""What users do while something disturbs the operator."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from tests.campaign.admin import Object
from tests.campaign.lane import Lane, path_of
from tests.support.e2e.api import APPS, CERT_MANAGER, PLUGINS
from tests.support.e2e.previous import installation
from tests.support.e2e.renewal import REQUEST, renewing, timestamp
from tests.support.resources import NEWER_IMAGE, behaviour, plugin

Act = Callable[[Lane], Awaitable[None]]

NAME: Final = "p"


async def nothing(lane: Lane) -> None:
    """Do nothing."""


@dataclass(frozen=True)
class Workload:
    """What is there before, and what a user does."""

    name: str
    prepare: Act
    """Run and settled before the disturbance begins."""
    act: Act
    ready: int = 1
    """How many resources are Ready in the end."""
    resources: int = 1
    """How many there are in the end."""
    interrupts: bool = False
    """Whether calls may fail: a change of a plugin's only pod replaces it."""
    undo: Act = nothing
    """Deletes what is not the operator's, once the resources are gone."""


def create(*names: str, **spec: Any) -> Act:
    """Create resources of the sample plugin."""

    async def act(lane: Lane) -> None:
        for name in names or (NAME,):
            body = plugin(name, lane.namespace, **spec)
            if len(names) > 1:
                body["spec"]["env"] = behaviour(name)
            await lane.admin.create(lane.path("cnpgplugins", PLUGINS), body)

    return act


def change(**spec: Any) -> Act:
    """Change fields of the resource."""

    async def act(lane: Lane) -> None:
        path = f"{lane.path('cnpgplugins', PLUGINS)}/{NAME}"
        await lane.admin.patch(path, {"spec": spec})

    return act


async def delete(lane: Lane) -> None:
    """Delete the resource."""
    await lane.admin.delete(f"{lane.path('cnpgplugins', PLUGINS)}/{NAME}")


async def restart(lane: Lane) -> None:
    """End the operator, and start it again."""
    await lane.end_operator()
    # A plan may keep the API server away for five minutes meanwhile.
    await lane.start(within=420)


async def renew(lane: Lane) -> None:
    """Renew both certificates, as `cmctl renew` does."""
    for role in ("server", "client"):
        path = f"{lane.path('certificates', CERT_MANAGER)}/{NAME}-{role}-tls"
        found = await lane.admin.get(path)
        await lane.admin.patch(f"{path}/status", {"status": {"conditions": renewing(found)}})


async def renew_own(lane: Lane) -> None:
    """Ask the operator to renew what it has issued."""
    path = f"{lane.path('cnpgplugins', PLUGINS)}/{NAME}"
    await lane.admin.patch(path, {"metadata": {"annotations": {REQUEST: timestamp()}}})


def _previous(lane: Lane) -> list[Object]:
    objects = installation(_PREVIOUS, NAME)
    for each in objects:
        each["metadata"]["namespace"] = lane.namespace
    return objects


async def install_previous(lane: Lane) -> None:
    """Install the plugin by hand, as its users do, and wait until it serves."""
    await lane.apply(*_previous(lane))

    async def serves() -> bool:
        found = await lane.admin.get(f"{lane.path('deployments', APPS)}/{_PREVIOUS}")
        return bool(found.get("status", {}).get("availableReplicas") == 1)

    await lane.until(serves, "the previous installation serves", within=240)


async def remove_previous(lane: Lane) -> None:
    """Delete what a take-over leaves."""
    for each in _previous(lane):
        await lane.admin.delete(path_of(each))
    for role in ("server", "client"):
        await lane.admin.delete(f"{lane.path('secrets')}/{_PREVIOUS}-{role}-tls")


_PREVIOUS: Final = "by-hand"
_TWENTY: Final = tuple(f"p{number}" for number in range(20))
_OWN: Final = {"tls": {"provider": "SelfManaged"}}

WORKLOADS: Final = {
    each.name: each
    for each in (
        Workload("create", nothing, create()),
        Workload("create-own", nothing, create(**_OWN)),
        Workload(
            "create-broken",
            nothing,
            create(env=behaviour(NAME, SAMPLE_MISBEHAVE="failing-capability")),
            ready=0,
        ),
        Workload("steady", create(), nothing),
        Workload("steady-own", create(**_OWN), nothing),
        Workload("image", create(), change(image=NEWER_IMAGE), interrupts=True),
        Workload("port", create(), change(port=9191), interrupts=True),
        Workload("provider", create(), change(**_OWN), interrupts=True),
        Workload("mode", create(), change(mode="Sidecar"), interrupts=True),
        Workload("delete", create(), delete, ready=0, resources=0),
        Workload("restart", create(), restart),
        Workload("sidecar", nothing, create(mode="Sidecar")),
        Workload("renewal", create(), renew),
        Workload("renewal-own", create(**_OWN), renew_own),
        Workload(
            "take-over",
            install_previous,
            create(takeOver={"serviceName": _PREVIOUS}),
            undo=remove_previous,
        ),
        Workload("two", nothing, create("a", "b"), ready=2, resources=2),
        Workload("twenty", nothing, create(*_TWENTY), ready=20, resources=20),
    )
}
"""Everything that plans run."""
