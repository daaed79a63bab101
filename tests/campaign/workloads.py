"""What users do while something disturbs the operator."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from tests.campaign.lane import Lane
from tests.support.e2e.api import PLUGINS
from tests.support.resources import NEWER_IMAGE, behaviour, plugin

Act = Callable[[Lane], Awaitable[None]]

NAME: Final = "p"


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


async def nothing(lane: Lane) -> None:
    """Do nothing."""


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
    await lane.stop()
    await lane.start()


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
        Workload("two", nothing, create("a", "b"), ready=2, resources=2),
        Workload("twenty", nothing, create(*_TWENTY), ready=20, resources=20),
    )
}
"""Everything that plans run."""
