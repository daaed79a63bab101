"""What is watched: kinds, and where. No kopf, and nothing of what an event means.

Resources are watched in all namespaces, unless there is no right to that; children, and what may
take their place, only in the namespaces where the chart gives rights. Clusters have a watch of
their own (`feeds`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from cnpg_plugin_operator import errors
from cnpg_plugin_operator.cluster.kinds import (
    CERTIFICATE,
    CHILDREN,
    DEPLOYMENT,
    ISSUER,
    PLUGIN,
    POD,
    SECRET,
    SERVICE,
    Kind,
)
from cnpg_plugin_operator.cluster.scope import Scope

EVERYWHERE: Final = (PLUGIN,)
"""Watched in all namespaces, if the scope allows it: a resource in a wrong one gets a status that
says so."""

_WHOLE: Final = (DEPLOYMENT, SECRET, SERVICE)

OWN: Final = (POD, *(kind for kind in CHILDREN if kind not in _WHOLE))
"""Watched with a selector for objects that this operator created."""

MANAGED: Final = (*_WHOLE, *OWN)
"""Watched in the managed namespaces. Without a selector: one Deployment is CloudNativePG's, users
provide some of the Secrets, and a foreign Service may have a plugin's name."""

ALL: Final = (*EVERYWHERE, *MANAGED)

OPTIONAL: Final = frozenset({PLUGIN, CERTIFICATE, ISSUER})
"""Watched while they are served; every API server serves all others."""

ReadPlurals = Callable[[str], Awaitable[frozenset[str]]]
"""Reads which kinds of an API group are served, by their plurals."""


async def read_served(read_plurals: ReadPlurals) -> frozenset[Kind]:
    """Read which of the watched kinds are served now.

    Raises `ClusterError`; `KindMissingError` if the CRD is not installed yet.
    """
    groups = sorted({kind.api_version for kind in OPTIONAL})
    found = await asyncio.gather(*map(read_plurals, groups))
    plurals = dict(zip(groups, found, strict=True))
    absent = {kind for kind in OPTIONAL if kind.plural not in plurals[kind.api_version]}
    if PLUGIN in absent:
        raise errors.KindMissingError(f"CustomResourceDefinition {PLUGIN.plural} is not installed")
    return frozenset(ALL) - absent


def find_paths(served: Iterable[Kind], scope: Scope) -> frozenset[str]:
    """Return the URLs of the collections to watch."""
    return frozenset(
        kind.path(place)
        for kind in served
        for place in (scope.resources if kind in EVERYWHERE else scope.namespaces)
    )
