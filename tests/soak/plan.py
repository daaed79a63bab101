"""What happens in a soak: which plugins there are, and what disturbs them, by a seed. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import Any, Final

from tests.bench.plugins import name_of

OVERLAPPING: Final[dict[str, Any]] = {
    "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
    "podTemplate": {
        "spec": {
            "containers": [{"name": "plugin", "lifecycle": {"preStop": {"sleep": {"seconds": 5}}}}]
        }
    },
}
"""Pods of which the next one serves before the previous one ends: a rollout fails no call."""
SHORT_LIVED: Final = {"duration": "1h", "renewBefore": "50m"}
"""An hour is the shortest lifetime that cert-manager and the schema allow. So these certificates
are used for ten minutes of theirs."""


@dataclass(frozen=True)
class Kind:
    """Some plugins that are alike."""

    number: int
    spec: dict[str, Any] = field(hash=False)
    provider: str = ""
    """Empty for sidecars, which no probe can call."""
    overlaps: bool = False


KINDS: Final = (
    *(
        Kind(4, {"tls": {"provider": provider, **SHORT_LIVED}, **rollout}, provider, bool(rollout))
        for provider in ("CertManager", "SelfManaged")
        for rollout in (OVERLAPPING, {})
    ),
    Kind(2, {}, "Secrets"),
    Kind(2, {"mode": "Sidecar"}),
)


@dataclass(frozen=True)
class Soaked:
    """One of the plugins."""

    name: str
    kind: Kind


PLUGINS: Final = tuple(
    Soaked(name_of(place), kind)
    for place, kind in enumerate(kind for kind in KINDS for _ in range(kind.number))
)
CALLED: Final = tuple(each for each in PLUGINS if each.kind.provider)
USED: Final = 10
"""How many of them, the first ones, Clusters of the fleet use: these cannot be deleted."""


class Act(StrEnum):
    """What disturbs."""

    KILL = "a pod of a plugin ends"
    ROLL = "a plugin is changed"
    RECREATE = "a plugin is deleted and created again"
    RENEW = "the certificates of a plugin are renewed"
    RENEW_CHAIN = "an intermediate CA is renewed"
    RESTART_CNPG = "CloudNativePG's pod ends"
    BLIP = "the API server is away"
    REPLACE = "Clusters are deleted and created again"


WEIGHTS: Final = {
    Act.KILL: 4,
    Act.ROLL: 4,
    Act.RECREATE: 2,
    Act.RENEW: 2,
    Act.RENEW_CHAIN: 1,
    Act.RESTART_CNPG: 2,
    Act.BLIP: 2,
    Act.REPLACE: 3,
}
OF_A_PLUGIN: Final = (Act.KILL, Act.ROLL, Act.RECREATE, Act.RENEW)
PAUSES: Final = (10.0, 50.0)
"""The least and the most seconds between two disturbances."""
BLIPS: Final = (1.0, 8.0)
"""Seconds without an API server, beside those of its start."""


@dataclass(frozen=True)
class Disturbance:
    """One of them, once the previous one is over and some seconds have passed."""

    after: float
    act: Act
    plugin: Soaked | None = None
    """None where all plugins are concerned alike."""
    seconds: float = 0.0
    number: int = 0
    """Counts the disturbances."""


def disturbances(seed: int) -> Iterator[Disturbance]:
    """Give disturbances without an end, always the same for a seed."""
    random = Random(seed)
    number = 0
    while True:
        number += 1
        [act] = random.choices([*WEIGHTS], [*WEIGHTS.values()])
        after, seconds = random.uniform(*PAUSES), random.uniform(*BLIPS)
        subject = random.choice(_subjects(act)) if act in OF_A_PLUGIN else None
        yield Disturbance(after, act, subject, seconds, number)


def _subjects(act: Act) -> list[Soaked]:
    if act is Act.RENEW:
        return [each for each in CALLED if each.kind.provider != "Secrets"]
    return [*CALLED[USED:]] if act is Act.RECREATE else [*CALLED]
